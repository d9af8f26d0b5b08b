package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"zimg/cmd/internal/cli"
	"zimg/fsck"
	"zimg/image"
	"zimg/image/dump"
)

func newDumpCommand() *cobra.Command {
	var share bool
	var sidecar string
	c := &cobra.Command{
		Use:   "dump [flags] IMAGE [FILE]",
		Short: "write all metadata as editable JSON",
		Long: `Dump writes the geometry, label, zones and extensions of an image to FILE, or to standard
output. Zones that are not listed are Empty. Zimg restore reads the dump back, also after an edit
or into another image with the same geometry. docs/JSON.md describes the format.`,
		Example: "  zimg dump disk.zimg zones.json\n  zimg restore disk.zimg zones.json",
		Args:    cli.RangeArgs(1, 2, "IMAGE [FILE]"),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			im, err := openZones(cmd, args[0], image.Options{FS: files(cmd), ForceShare: share, Sidecar: sidecar})
			if err != nil {
				return err
			}
			defer closeQuietly(im)
			out, err := cli.CreateOutput(cmd, cli.Second(args))
			if err != nil {
				return err
			}
			defer func() { err = out.Finish(err) }()
			return dump.Write(&stoppable{cmd.Context(), out}, im)
		},
	}
	c.Flags().StringVar(&sidecar, "sidecar", "", "use `FILE` as the metadata of a sidecar image")
	c.Flags().BoolVarP(&share, "force-share", "U", false, "read an image that is in use")
	return c
}

func newRestoreCommand() *cobra.Command {
	var quiet bool
	var sidecar string
	c := &cobra.Command{
		Use:   "restore [flags] IMAGE [FILE]",
		Short: "set all zones from a dump",
		Long: `Restore sets the zones, extensions and label of an image from FILE, or from standard input.
It checks the dump, as zimg check would, before it changes anything. Restore does not bring data
back: where a write pointer moves forward, zeros follow; data after the new write pointers is
discarded.`,
		Example: "  zimg dump disk.zimg | jq '.label = \"other\"' | zimg restore disk.zimg",
		Args:    cli.RangeArgs(1, 2, "IMAGE [FILE]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			in, err := cli.OpenWholeInput(cmd, cli.Second(args))
			if err != nil {
				return err
			}
			defer func() { _ = in.Close() }()
			if err := restore(cmd, args[0], sidecar, in, inputName(cli.Second(args))); err != nil {
				return err
			}
			if !quiet {
				fmt.Fprintf(cmd.OutOrStdout(), "Zones of '%s' restored.\n", args[0])
			}
			return nil
		},
	}
	c.Flags().StringVar(&sidecar, "sidecar", "", "use `FILE` as the metadata of a sidecar image")
	c.Flags().BoolVarP(&quiet, "quiet", "q", false, "print nothing")
	return c
}

// inputName is the name of an input in messages.
func inputName(path string) string {
	if path == "" || path == "-" {
		return "standard input"
	}
	return path
}

func restore(cmd *cobra.Command, path, sidecar string, in io.Reader, name string) (err error) {
	im, err := image.Open(path, image.Options{FS: files(cmd), Write: true, Sidecar: sidecar, Stamp: stamp()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, im.Close()) }()
	edit, err := dump.Read(in, im)
	if errors.Is(err, dump.ErrDump) {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err != nil {
		return err
	}
	list := findings{w: cmd.ErrOrStderr(), path: path}
	report, err := fsck.CheckMetadata(im.Metadata(), fsck.Options{Found: list.add})
	list.end()
	if err != nil {
		return err
	}
	if report.ExitCode() != 0 {
		return fmt.Errorf("%s: the dump is inconsistent (see above); %s was not changed", name, path)
	}
	return edit.Commit()
}

// stoppable is a writer that ends with the command.
type stoppable struct {
	ctx context.Context
	w   io.Writer
}

// Write writes b, until the command is to end.
func (s *stoppable) Write(b []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.w.Write(b)
}
