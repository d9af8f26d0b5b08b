package main

import (
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
				return root.GenBashCompletionV2(out, true)
			case "zsh":
				return root.GenZshCompletion(out)
			case "fish":
				return root.GenFishCompletion(out, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(out)
			}
			return cli.UsageError("no completion for %q: there is %s", args[0], strings.Join(completionShells, ", "))
		},
	}
}
