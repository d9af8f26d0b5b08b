package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"zimg/cmd/internal/cli"
	"zimg/fsck"
)

func newUndoCommand() *cobra.Command {
	var force, quiet bool
	var sidecar string
	c := &cobra.Command{
		Use:   "undo [flags] IMAGE",
		Short: "undo the last repair",
		Long: `Undo writes back the bytes that the last zimg check --repair saved in IMAGE.zundo, and
removes that file. It only writes to files of IMAGE. If the image has changed since the repair,
undo stops; with --force it discards those changes.`,
		Example: "  zimg check --repair disk.zimg\n  zimg undo disk.zimg",
		Args:    cli.ExactArgs("IMAGE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := fsck.Undo(args[0], fsck.Options{FS: files(cmd), Stamp: stamp(), Sidecar: sidecar}, force); err != nil {
				return err
			}
			if !quiet {
				fmt.Fprintf(cmd.OutOrStdout(), "'%s' is as it was before the repair.\n", args[0])
			}
			return nil
		},
	}
	c.Flags().BoolVar(&force, "force", false, "discard changes made since the repair")
	c.Flags().StringVar(&sidecar, "sidecar", "", "metadata `FILE`, if the repair was run with --sidecar")
	c.Flags().BoolVarP(&quiet, "quiet", "q", false, "print nothing")
	return c
}
