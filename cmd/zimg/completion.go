package main

import (
	"bytes"
	"io"
	"strings"

	"zimg/cmd/internal/cli"

	"github.com/spf13/cobra"
)

// completionShells are the shells that there is a completion for.
var completionShells = []string{"bash", "zsh", "fish", "powershell"}

func newCompletionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "print a shell completion script",
		Long: `Completion prints a completion script for SHELL: bash (needs the package bash-completion), zsh,
fish or powershell. It completes commands, flags and their values, formats, and the namespaces and
zones of the image. Make install and the Debian package install it.`,
		Example:   "  source <(zimg completion bash)\n  zimg completion zsh > ~/.zfunc/_zimg\n  zimg completion fish > ~/.config/fish/completions/zimg.fish",
		ValidArgs: completionShells,
		Args:      cli.ExactArgs("SHELL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			root, out := cmd.Root(), cmd.OutOrStdout()
			switch args[0] {
			case "bash":
				return bashCompletion(root, out)
			case "zsh":
				return root.GenZshCompletion(out)
			case "fish":
				return root.GenFishCompletion(out, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(out)
			}
			return cli.UsageError("invalid shell %q: must be %s", args[0], strings.Join(completionShells, ", "))
		},
	}
}

// bashCompletion writes cobra's script for bash, which puts a backslash before a comma: lists with commas could not be gone
// on with, and would look odd.
func bashCompletion(root *cobra.Command, out io.Writer) error {
	var b bytes.Buffer
	if err := root.GenBashCompletionV2(&b, true); err != nil {
		return err
	}
	const quote = `
# Like printf %q, but a comma stays as it is.
__zimg_quote() {
    local q
    printf -v q "%q\n" "$@"
    printf "%s" "${q//\\,/,}"
}
`
	script := strings.NewReplacer(
		`printf "%q\n" "${`, `__zimg_quote "${`,
		`$(printf "%q" "${`, `$(__zimg_quote "${`,
		`&>/dev/null || comp=$(printf "%q" "${compline%%$tab*}")`, `&>/dev/null || comp=$(printf "%q" "${compline%%$tab*}")
        comp=${comp//\\,/,}`,
	).Replace(b.String())
	head, rest, _ := strings.Cut(script, "\n\n")
	_, err := io.WriteString(out, head+"\n"+quote+"\n"+rest)
	return err
}
