package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"zimg/cmd/internal/cli"
	"zimg/fsck"
)

func newUndoCommand() *cobra.Command {
	var force, discard, quiet bool
	var sidecar string
	c := &cobra.Command{
		Use:   "undo [flags] IMAGE",
		Short: "undo the last repair",
		Long: `Undo writes back the bytes that the last zimg check --repair saved in IMAGE.zundo, and
removes that file. It writes only to files of IMAGE. If the image has changed since the repair,
undo stops; with --force it discards those changes. --discard removes IMAGE.zundo without
undoing anything. zimg run and zimg serve also remove it when they change the image, unless it
holds data that the repair discarded.`,
		Example: "  zimg check --repair disk.zimg\n  zimg undo disk.zimg",
		Args:    cli.ExactArgs("IMAGE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if discard {
				if force {
					return cli.UsageError("--force cannot be used with --discard")
				}
				if err := fsck.DiscardUndo(args[0], fsck.Options{FS: files(cmd)}); err != nil {
					return err
				}
				if !quiet {
					fmt.Fprintf(cmd.OutOrStdout(), "The undo file of '%s' is removed.\n", args[0])
				}
				return nil
			}
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
	c.Flags().BoolVar(&discard, "discard", false, "remove the undo file, and undo nothing")
	c.Flags().StringVar(&sidecar, "sidecar", "", "use `FILE` as the metadata, if the repair was run with --sidecar")
	c.Flags().BoolVarP(&quiet, "quiet", "q", false, "print nothing")
	return c
}
