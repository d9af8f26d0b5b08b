package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"zimg/image"
	"zimg/layout"
)

type convertOptions struct {
	layout  string
	sidecar string
	source  string
	inPlace bool
	force   bool
	quiet   bool
	showBar bool
}

func newConvertCommand() *cobra.Command {
	var o convertOptions
	c := &cobra.Command{
		Use:   "convert [flags] SRC DST | convert --in-place --layout LAYOUT IMAGE",
		Short: "convert between the layouts, in place or to a new image",
		Long: `Convert makes a new image DST with the zones and data of SRC: by reflink where
the file system can, holes stay holes.

With --in-place only the metadata moves, out of the image into a sidecar or back, and
the data is not touched. An interruption leaves one or the other.`,
		Example: "  zimg convert disk.zimg copy.zimg\n  zimg convert --in-place --layout sidecar disk.zimg",
		Args:    rangeArgs(1, 2, "SRC DST, or IMAGE with --in-place"),
		RunE:    func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	f := c.Flags()
	f.StringVar(&o.layout, "layout", "", "`LAYOUT` of the result: trailing or sidecar (default: as the source)")
	f.StringVar(&o.sidecar, "sidecar", "", "`FILE` of the result's metadata (default DST.zmeta)")
	f.StringVar(&o.source, "source-sidecar", "", "`FILE` of the source's metadata")
	f.BoolVar(&o.inPlace, "in-place", false, "move the metadata of IMAGE, leave the data where it is")
	f.BoolVar(&o.force, "force", false, "overwrite existing files")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print nothing")
	f.BoolVarP(&o.showBar, "progress", "p", false, "show progress even if standard error is no terminal")
	return c
}

func (o *convertOptions) run(cmd *cobra.Command, args []string) error {
	opts := image.ConvertOptions{Sidecar: o.sidecar, Source: o.source, Force: o.force}
	switch o.layout {
	case "":
	case "trailing":
		opts.Layout = layout.Trailing
	case "sidecar":
		opts.Layout = layout.Sidecar
	default:
		return oneOf("layout", o.layout, "trailing", "sidecar")
	}
	if o.inPlace {
		if len(args) != 1 || opts.Layout == 0 {
			return usageError("--in-place takes one IMAGE, and --layout trailing or sidecar")
		}
		if err := image.ConvertInPlace(args[0], opts); err != nil {
			return err
		}
		o.say(cmd, "Converted '%s' to layout %v.\n", args[0], opts.Layout)
		return nil
	}
	if len(args) != 2 {
		return usageError("convert takes SRC and DST; --in-place --layout LAYOUT one IMAGE")
	}
	bar := newProgress(cmd, o.showBar)
	defer bar.done()
	opts.Progress = bar.update
	if err := image.Convert(args[0], args[1], opts); err != nil {
		return err
	}
	bar.done()
	o.say(cmd, "Converted '%s' to '%s'.\n", args[0], args[1])
	return nil
}

func (o *convertOptions) say(cmd *cobra.Command, format string, args ...any) {
	if !o.quiet {
		fmt.Fprintf(cmd.OutOrStdout(), format, args...)
	}
}
