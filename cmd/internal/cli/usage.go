package cli

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// MakeGroup makes c a command that is nothing without one of those below it.
func MakeGroup(c *cobra.Command) {
	c.Args = unknownCommand
	c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
}

// unknownCommand refuses what is no command, with the ones that are like it.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := UsageError("unknown command %q", strings.TrimPrefix(cmd.CommandPath()+" "+args[0], "zimg "))
	if cmd.SuggestionsMinimumDistance <= 0 {
		cmd.SuggestionsMinimumDistance = 2
	}
	if similar := slices.Sorted(slices.Values(cmd.SuggestionsFor(args[0]))); len(similar) > 0 {
		err.Hint = "did you mean " + strings.Join(similar, " or ") + "?"
	}
	return err
}

// FlagError says what is wrong with a flag in our words.
func FlagError(cmd *cobra.Command, err error) error {
	// What looks like a flag of ours may be one of the command that was misspelt.
	if cmd.HasSubCommands() {
		if err := unknownCommand(cmd, cmd.Flags().Args()); err != nil {
			return err
		}
	}
	var unknown *pflag.NotExistError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() == "":
		e := UsageError("unknown flag --%s", unknown.GetSpecifiedName())
		if similar := similarFlags(cmd, unknown.GetSpecifiedName()); len(similar) > 0 {
			e.Hint = "did you mean " + strings.Join(similar, " or ") + "?"
		}
		return e
	case errors.As(err, &unknown):
		return UsageError("unknown flag -%s", unknown.GetSpecifiedName())
	case errors.As(err, &invalid):
		flag := "--" + invalid.GetFlag().Name
		var number *strconv.NumError
		switch {
		case !errors.As(err, &number):
			return UsageError("%s: %v", flag, invalid.Unwrap())
		case errors.Is(err, strconv.ErrRange):
			return UsageError("%s: %s is too large", flag, invalid.GetValue())
		}
		return UsageError("invalid value %q for %s: must be a non-negative integer", invalid.GetValue(), flag)
	}
	return UsageError("%v", err)
}

// Similar are those of the names that name may be a misspelling of.
func Similar(name string, names []string) []string {
	var list []string
	for _, n := range names {
		if strings.HasPrefix(n, name) || distance(n, name) <= 2 {
			list = append(list, n)
		}
	}
	return list
}

// similarFlags are the flags of cmd that name may stand for.
func similarFlags(cmd *cobra.Command, name string) []string {
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	list := Similar(name, names)
	for i := range list {
		list[i] = "--" + list[i]
	}
	return list
}

// distance is how many letters are to be changed, added or left out to make a of b (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// NewHelpCommand is the help of another command.
func NewHelpCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND]",
		Short:   "show help for a command",
		Example: "  zimg help create\n  zimg help zone reset",
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			var list []string
			if c, rest, err := cmd.Root().Find(args); err == nil && len(rest) == 0 {
				for _, sub := range Visible(c) {
					list = append(list, sub.Name()+"\t"+sub.Short)
				}
			}
			return list, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			c, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				if c == nil {
					c, rest = cmd.Root(), args
				}
				return unknownCommand(c, rest)
			}
			c.InitDefaultHelpFlag() // as the flag --help would show it
			return c.Help()
		},
	}
}

// commandName is the name of cmd in an error, which begins with zimg already.
func commandName(cmd *cobra.Command) string { return strings.TrimPrefix(cmd.CommandPath(), "zimg ") }

// ExactArgs wants the arguments that names lists, separated by spaces.
func ExactArgs(names string) cobra.PositionalArgs {
	n := len(strings.Fields(names))
	return RangeArgs(n, n, names)
}

// RangeArgs wants at least low and at most high arguments.
func RangeArgs(low, high int, names string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		for _, a := range args {
			if a == "" {
				return UsageError("%s needs %s; an argument is empty", commandName(cmd), names)
			}
		}
		switch {
		case len(args) >= low && len(args) <= high:
			return nil
		case names == "":
			return UsageError("%s takes no argument, got %q", commandName(cmd), args[0])
		case len(args) < low:
			return UsageError("%s needs %s", commandName(cmd), names)
		}
		return UsageError("%s takes only %s; unexpected argument %q", commandName(cmd), names, args[high])
	}
}

// OneOf refuses a flag's value that is not allowed.
func OneOf(flag, value string, allowed ...string) error {
	for _, a := range allowed {
		if value == a {
			return nil
		}
	}
	return UsageError("invalid value %q for --%s: must be %s", value, flag, Alternatives(allowed))
}

// Alternatives lists values as text does: "a, b or c".
func Alternatives(values []string) string {
	last := len(values) - 1
	if last < 1 {
		return strings.Join(values, "")
	}
	return strings.Join(values[:last], ", ") + " or " + values[last]
}

// UsageError is a wrong command line.
func UsageError(format string, args ...any) *CodedError {
	return &CodedError{code: ExitUsage, err: fmt.Errorf(format, args...)}
}

// Visible lists the commands below c that its help shows.
func Visible(c *cobra.Command) []*cobra.Command {
	var subs []*cobra.Command
	for _, s := range c.Commands() {
		if !s.Hidden && s.Name() != "help" {
			subs = append(subs, s)
		}
	}
	return subs
}
