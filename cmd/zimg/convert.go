package main

import (
	"fmt"
	"reflect"

	"github.com/spf13/cobra"

	"zimg/cmd/internal/cli"
	"zimg/image"
	"zimg/image/disk"
	"zimg/image/foreign"
	"zimg/image/foreign/device"
	"zimg/image/transfer"
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
	foreign foreignOptions
	to      string
	ns      uint32
	lossy   bool
	open    bool
	uuid    string
}

func newConvertCommand() *cobra.Command {
	var o convertOptions
	c := &cobra.Command{
		Use:   "convert [flags] SRC DST | convert --in-place --layout LAYOUT IMAGE",
		Short: "copy an image, change its layout, or import and export other formats",
		Long: `Convert creates a new image DST with the zones and data of SRC. It uses reflinks where the
file system supports them, and keeps holes.

With --in-place, convert only moves the metadata, into a sidecar or back to the end of the
image; it does not touch the data. If it is interrupted, the image has either its old or its
new layout.

-f sets the format of SRC if it cannot be detected, -O that of DST. If DST cannot store
everything, convert lists what would be lost and stops, unless --lossy is given. Open zones
become Closed, as after a power cycle, unless --keep-open is given. Convert reads the result
back before it puts DST in place. SRC and DST name the data file, the directory, or the common
prefix of the file names. A second file is expected next to the first unless --sidecar or
--source-sidecar is given.

--geometry max-open=N,max-active=M gives the copy of an image of zimg's own other limits, as far as
its zones allow: 0 is no limit, and --ns names one of several namespaces. --uuid new makes the copy
another drive, with a UUID, a serial number and namespace identifiers of its own.

` + formatList(),
		Example: "  zimg convert disk.zimg copy.zimg\n  zimg convert --in-place --layout sidecar disk.zimg\n  zimg convert -f zone-file zns.raw zns.zimg\n  zimg convert -O zbd-dump disk.zimg dumps/disk",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 && o.help() {
				return nil
			}
			return cli.RangeArgs(1, 2, "SRC DST, or IMAGE with --in-place")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	f := c.Flags()
	f.StringVar(&o.layout, "layout", "", "use `LAYOUT` for the result: trailing or sidecar (default: the layout of the source)")
	f.StringVar(&o.sidecar, "sidecar", "", "write the metadata of DST to `FILE` (default DST.zmeta)")
	f.StringVar(&o.source, "source-sidecar", "", "read the metadata of SRC from `FILE`")
	f.BoolVar(&o.inPlace, "in-place", false, "move the metadata of IMAGE and leave its data in place")
	f.BoolVar(&o.force, "force", false, "overwrite existing files")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print nothing")
	f.BoolVarP(&o.showBar, "progress", "p", false, "show progress even if standard error is not a terminal")
	o.foreign.addFlags(f)
	f.StringVarP(&o.to, "output-format", "O", "", "write DST in format `NAME`, or list the formats if it is help (default zimg)")
	f.Uint32Var(&o.ns, "ns", 0, "import or export only namespace `N`")
	f.BoolVar(&o.lossy, "lossy", false, "leave out what the format of DST cannot store")
	f.BoolVar(&o.open, "keep-open", false, "keep open zones open")
	f.StringVar(&o.uuid, "uuid", "", "give the copy of an image the UUID `UUID`, or a random one: new (default: that of SRC)")
	return c
}

// help reports whether a list of the formats is asked for.
func (o *convertOptions) help() bool { return o.to == "help" || o.foreign.format == "help" }

func (o *convertOptions) run(cmd *cobra.Command, args []string) error {
	if o.help() {
		fmt.Fprintln(cmd.OutOrStdout(), formatList())
		return nil
	}
	o.foreign.fs = files(cmd)
	opts := image.ConvertOptions{FS: files(cmd), Stamp: stamp(), Sidecar: o.sidecar, Source: o.source, Force: o.force}
	switch o.layout {
	case "":
	case "trailing":
		opts.Layout = layout.Trailing
	case "sidecar":
		opts.Layout = layout.Sidecar
	default:
		return cli.OneOf("layout", o.layout, "trailing", "sidecar")
	}
	if cmd.Flags().Changed("uuid") {
		var err error
		if opts.UUID, err = parseUUID(o.uuid); err != nil {
			return err
		}
		if o.inPlace {
			return cli.UsageError("--uuid is for copies, not for --in-place")
		}
	}
	if o.inPlace && len(args) == 1 && (o.to != "" || o.foreign.format != "") {
		return o.transferInPlace(cmd, args[0], opts.Layout)
	}
	if o.inPlace {
		if len(args) != 1 || opts.Layout == 0 {
			return cli.UsageError("--in-place takes one IMAGE, and --layout trailing or sidecar")
		}
		if err := image.ConvertInPlace(args[0], opts); err != nil {
			return err
		}
		o.say(cmd, "Converted '%s' to layout %v.\n", args[0], opts.Layout)
		return nil
	}
	if len(args) != 2 {
		return cli.UsageError("convert takes SRC and DST, or one IMAGE with --in-place --layout LAYOUT")
	}
	from, err := o.foreign.find(args[0], o.source)
	if err != nil {
		return err
	}
	if o.to == "" && disk.IsZoned(args[1]) {
		o.to = device.Format.Name
	}
	bar := cli.NewProgress(cmd, o.showBar)
	defer bar.Done()
	if from == nil && (o.to == "" || o.to == ownFormat) {
		if o.lossy || o.open || o.ns != 0 && o.foreign.geometry == "" {
			return cli.UsageError("--ns, --lossy and --keep-open are for foreign formats")
		}
		if opts.Limits, err = o.limits(); err != nil {
			return err
		}
		opts.Progress = bar.Update
		err = image.Convert(args[0], args[1], opts)
	} else if o.uuid != "" {
		return cli.UsageError("--uuid is for copies of an image, not for foreign formats")
	} else {
		err = o.transfer(cmd, args[0], args[1], from, bar, opts.Layout)
	}
	if err != nil {
		return err
	}
	bar.Done()
	o.say(cmd, "Converted '%s' to '%s'.\n", args[0], args[1])
	return nil
}

// limits are what --geometry changes when one image of zimg's own becomes another.
func (o *convertOptions) limits() (*image.Limits, error) {
	if o.foreign.geometry == "" {
		return nil, nil
	}
	var g geometry
	if err := g.parseList(o.foreign.geometry); err != nil {
		return nil, cli.UsageError("--geometry %s: %v", o.foreign.geometry, err)
	}
	l := &image.Limits{NS: layout.NSID(o.ns)}
	if open := uint32(g.maxOpen); g.saidOpen {
		l.Open = &open
	}
	if active := uint32(g.maxAct); g.saidActive {
		l.Active = &active
	}
	only := geometry{maxOpen: g.maxOpen, maxAct: g.maxAct, saidOpen: g.saidOpen, saidActive: g.saidActive}
	if !reflect.DeepEqual(g, only) {
		return nil, cli.UsageError("--geometry %s: of an image of zimg's own only max-open and max-active can be changed", o.foreign.geometry)
	}
	return l, nil
}

// transfer converts from or to a foreign format.
func (o *convertOptions) transfer(cmd *cobra.Command, src, dst string, from *foreign.Format, bar *cli.Progress, kind layout.Kind) error {
	t, err := o.transferOptions(cmd, from, kind, bar)
	if err != nil {
		return err
	}
	return transfer.Copy(src, dst, t)
}

// transferInPlace turns a foreign second file into a sidecar, or the other way round.
func (o *convertOptions) transferInPlace(cmd *cobra.Command, path string, kind layout.Kind) error {
	from, err := o.foreign.find(path, o.source)
	if err != nil {
		return err
	}
	bar := cli.NewProgress(cmd, o.showBar)
	defer bar.Done()
	t, err := o.transferOptions(cmd, from, kind, bar)
	if err != nil {
		return err
	}
	if err := transfer.InPlace(path, t); err != nil {
		return err
	}
	name := ownFormat
	if t.To != nil {
		name = t.To.Name
	}
	o.say(cmd, "Converted '%s' to %s.\n", path, name)
	return nil
}

// transferOptions are what the flags say of a conversion from or to a foreign format.
func (o *convertOptions) transferOptions(cmd *cobra.Command, from *foreign.Format, kind layout.Kind, bar *cli.Progress) (transfer.Options, error) {
	t, err := o.foreign.transfer(o.source, o.ns)
	if err != nil {
		return t, err
	}
	t.From, t.Second, t.Layout, t.Force, t.Lossy, t.KeepOpen = from, o.sidecar, kind, o.force, o.lossy, o.open
	t.Progress = bar.Update
	if o.to != "" && o.to != ownFormat {
		if t.To, err = findFormat("output-format", o.to); err != nil {
			return t, err
		}
		if kind != 0 {
			return t, cli.UsageError("--layout is for images of zimg's own format")
		}
	}
	t.Say = func(format string, args ...any) { o.say(cmd, format+"\n", args...) }
	t.Note = func(format string, args ...any) {
		bar.Clear()
		cli.Warn(cmd, format, args...)
	}
	return t, nil
}

func (o *convertOptions) say(cmd *cobra.Command, format string, args ...any) {
	if !o.quiet {
		cli.Fprintf(cmd.OutOrStdout(), format, args...)
	}
}
