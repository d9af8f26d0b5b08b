package main

import (
	"github.com/spf13/cobra"

	"zimg/cmd/internal/cli"
	"zimg/cmd/internal/man"
)

// newManCommand writes the man pages. It is hidden: users get the pages installed.
func newManCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "man DIR",
		Short:  "write the man pages to DIR",
		Hidden: true,
		Args:   cli.ExactArgs("DIR"),
		RunE: func(_ *cobra.Command, args []string) error {
			return man.Write(newRootCommand(nil), args[0], man.Options{Version: buildVersion(), Date: stamp().Time})
		},
	}
}
