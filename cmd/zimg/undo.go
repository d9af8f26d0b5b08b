package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"zimg/cmd/internal/cli"
	"zimg/fsck"
)

func newUndoCommand() *cobra.Command {
	var force, quiet bool
	c := &cobra.Command{
		Use:   "undo [flags] IMAGE",
		Short: "take back the last repair",
		Long: `Undo writes back the bytes that the last zimg check --repair saved in IMAGE.zundo, and
removes that file. It refuses if the image was changed since, unless forced.`,
		Example: "  zimg check --repair disk.zimg\n  zimg undo disk.zimg",
		Args:    cli.ExactArgs("IMAGE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := fsck.Undo(args[0], fsck.Options{}, force); err != nil {
				return err
			}
			if !quiet {
				fmt.Fprintf(cmd.OutOrStdout(), "'%s' is as it was before the repair.\n", args[0])
			}
			return nil
		},
	}
	c.Flags().BoolVar(&force, "force", false, "undo also what was changed since the repair")
	c.Flags().BoolVarP(&quiet, "quiet", "q", false, "print nothing")
	return c
}
