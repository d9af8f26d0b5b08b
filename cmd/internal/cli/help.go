package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Usage writes the part of a command's help that follows its description: how it is called, examples, the commands below it and
// its flags.
func Usage(c *cobra.Command) error {
	var b strings.Builder
	below := "COMMAND"
	b.WriteString("Usage:\n")
	if !c.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "  %s\n", c.UseLine())
	} else if words := strings.Fields(c.Use); len(words) > 1 { // it says itself what the commands below it take
		below = words[1]
		fmt.Fprintf(&b, "  %s\n", strings.TrimSuffix(c.UseLine(), " [flags]"))
	} else {
		fmt.Fprintf(&b, "  %s %s\n", c.CommandPath(), below)
	}
	if c.HasExample() {
		fmt.Fprintf(&b, "\nExamples:\n%s\n", c.Example)
	}
	for _, g := range append(slices.Clone(c.Groups()), &cobra.Group{Title: "Commands:"}) {
		if g.ID == "" && len(c.Groups()) > 0 {
			g.Title = "Other commands:"
		}
		title := "\n" + g.Title + "\n"
		for _, sub := range c.Commands() {
			if sub.GroupID == g.ID && (sub.IsAvailableCommand() || sub.Name() == "help") {
				fmt.Fprintf(&b, "%s  %-*s %s\n", title, sub.NamePadding(), sub.Name(), sub.Short)
				title = ""
			}
		}
	}
	if c.HasAvailableLocalFlags() {
		fmt.Fprintf(&b, "\nFlags:\n%s\n", strings.TrimRight(flagUsages(c.LocalFlags()), " \n"))
	}
	if c.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "\nRun '%s %s --help' for more information about a command.\n", c.CommandPath(), below)
	}
	_, err := fmt.Fprint(c.OutOrStderr(), b.String())
	return err
}

// Describe gives c and the commands below it a description where they have none but a few words.
func Describe(c *cobra.Command) {
	if c.Long == "" && c.Short != "" {
		c.Long = strings.ToUpper(c.Short[:1]) + c.Short[1:] + "."
	}
	for _, sub := range c.Commands() {
		Describe(sub)
	}
}

// flagUsages are the lines of flags. A value that may be left out is shown as one: --repair[=MODE].
func flagUsages(flags *pflag.FlagSet) string {
	text := flags.FlagUsages()
	flags.VisitAll(func(f *pflag.Flag) {
		value, _ := pflag.UnquoteUsage(f)
		if f.NoOptDefVal == "" || f.Value.Type() != "string" {
			return
		}
		odd := fmt.Sprintf("--%s %s[=%q]", f.Name, value, f.NoOptDefVal)
		plain := fmt.Sprintf("--%s[=%s]", f.Name, value)
		text = strings.ReplaceAll(text, odd, plain+strings.Repeat(" ", max(0, len(odd)-len(plain))))
	})
	return text
}
