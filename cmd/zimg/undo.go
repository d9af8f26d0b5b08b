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
removes that file. It writes to no other files than those of IMAGE. If the image was
changed since the repair, --force is needed, and those changes are lost.`,
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
	c.Flags().BoolVar(&force, "force", false, "undo also what was changed since the repair")
	c.Flags().StringVar(&sidecar, "sidecar", "", "`FILE` of the metadata, if the repair was given one")
	c.Flags().BoolVarP(&quiet, "quiet", "q", false, "print nothing")
	return c
}
