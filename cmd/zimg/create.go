package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"zimg/cmd/internal/cli"
	"zimg/image"
	"zimg/layout"
)

type createOptions struct {
	geo        geometry
	namespaces []string
	properties []string
	label      string
	layout     string
	sidecar    string
	uuid       string
	prealloc   string
	force      bool
	quiet      bool
	showBar    bool
	from       string
	lines      []geometry // that -o and --ns describe
}

func newCreateCommand() *cobra.Command {
	var o createOptions
	c := &cobra.Command{
		Use:   "create [flags] IMAGE [SIZE]",
		Short: "create a new image",
		Long: `Create makes an image with one namespace, described by the flags, or with one namespace for
each --ns. If no size is given, it is --zones times --zone-size.

The data area is sparse unless --preallocation is given. Sizes are not rounded: if the size is
not a multiple of the zone size, create prints the nearest valid sizes and stops. Existing
files are not overwritten unless --force is given.

The keys of --ns are the names of the flags, and others such as type=nvm, nsid and file=PATH, which
gives the namespace its own data file. -o help lists them.

--from creates an image with the geometry, zones and label of a dump (see zimg dump), so a start
state can be kept as text. All data reads as zeros, also before the write pointers.

-o takes the argument of -device from a QEMU command line, for example
nvme-ns,drive=z0,zoned=on,... Missing properties have QEMU's defaults: 512-byte blocks and
128 MiB zones. Create lists the properties that do not describe the namespace and leaves them
out; it prints those of the controller (mdts, zoned.zasl, serial, ...) as an option of zimg
run. -o also accepts the zone.* options of qemu-img with zoned qcow2.`,
		Example: `  zimg create --zones 64 --zone-size 64M disk.zimg
  zimg create --like zn540 --zones 32 zn540.zimg
  zimg create --ns zones=64,zone-size=64M,zone-capacity=48M --ns type=nvm,size=1G two.zimg
  zimg dump disk.zimg start.json && zimg create --from start.json again.zimg
  zimg create -o nvme-ns,drive=z0,bus=nvme0,zoned=on,zoned.zone_size=64M,zoned.max_open=14 qemu.zimg 4G`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 && slices.Contains(o.properties, "help") {
				return nil
			}
			return cli.RangeArgs(1, 2, "IMAGE [SIZE]")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	o.addFlags(c)
	return c
}

func (o *createOptions) addFlags(c *cobra.Command) {
	f := c.Flags()
	for _, s := range []struct {
		name, usage string
		to          *uint64
	}{
		{"size", "set the namespace `SIZE`", &o.geo.size},
		{"zone-size", "set the zone `SIZE` (default 128M)", &o.geo.zoneSize},
		{"zone-capacity", "set the zone capacity to `SIZE` (default: the zone size)", &o.geo.zoneCap},
		{"block-size", "set the logical block `SIZE` (default 4096)", &o.geo.block},
		{"descr-ext-size", "set the size of zone descriptor extensions in `BYTES`, a multiple of 64", &o.geo.ext},
		{"zrwas", "set the `SIZE` of zone random write areas", &o.geo.zrwas},
		{"zrwafg", "set the flush granularity of zone random write areas to `SIZE`", &o.geo.zrwafg},
	} {
		f.Var(&cli.SizeFlag{To: s.to}, s.name, s.usage)
	}
	f.Uint64Var(&o.geo.zones, "zones", 0, "create `N` zones")
	f.Uint64Var(&o.geo.maxOpen, "max-open", 0, "allow at most `N` open zones (default 0: no limit)")
	f.Uint64Var(&o.geo.maxAct, "max-active", 0, "allow at most `N` active zones (default 0: no limit)")
	f.Uint64Var(&o.geo.ms, "metadata-size", 0, "set the metadata size of a logical block in `BYTES`")
	f.Uint64Var(&o.geo.pi, "pi", 0, "enable protection information of `TYPE` 1, 2 or 3")
	f.Uint64Var(&o.geo.numZRWA, "numzrwa", 0, "allow at most `N` zone random write areas")
	f.StringVar(&o.geo.like, "like", "", "use the geometry of `NAME`: "+strings.Join(likeNames(), ", ")+"; or of an image or zoned device")
	f.StringArrayVar(&o.namespaces, "ns", nil, "add a namespace described by `KEY=VALUE,...`; may be repeated")
	f.StringArrayVarP(&o.properties, "options", "o", nil, "take the geometry from a QEMU device line, `[nvme-ns,]KEY=VALUE,...`")
	f.StringVar(&o.from, "from", "", "take the geometry, zones and label from `FILE`, written by zimg dump (- for standard input)")
	f.StringVar(&o.label, "label", "", "set the label of the image to `TEXT`")
	f.StringVar(&o.layout, "layout", "trailing", "store the metadata as `LAYOUT`: trailing (end of the image) or sidecar (separate file)")
	f.StringVar(&o.sidecar, "sidecar", "", "write the metadata to `FILE` (default IMAGE.zmeta)")
	f.StringVar(&o.uuid, "uuid", "", "set the `UUID` of the image (default: random)")
	f.StringVar(&o.prealloc, "preallocation", "off", "preallocate the data area by `MODE`: off, falloc or full")
	f.BoolVar(&o.force, "force", false, "overwrite existing files")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print nothing")
	f.BoolVarP(&o.showBar, "progress", "p", false, "show progress even if standard error is not a terminal")
}

func (o *createOptions) run(cmd *cobra.Command, args []string) error {
	for _, name := range []string{"size", "zones", "zone-size", "zone-capacity", "block-size"} {
		if f := cmd.Flags().Lookup(name); f.Changed && (f.Value.String() == "0" || f.Value.String() == "") {
			return cli.UsageError("--%s must be greater than 0", name)
		}
	}
	if cmd.Flags().Changed("uuid") && o.uuid == "" {
		return cli.UsageError("--uuid is empty")
	}
	if slices.Contains(o.properties, "help") {
		return printKeys(cmd.OutOrStdout())
	}
	if err := o.checkFrom(cmd, args); err != nil {
		return err
	}
	if err := o.complete(args); err != nil {
		return err
	}
	opts, err := o.options()
	if err != nil {
		return err
	}
	if o.from != "" {
		if err := o.load(cmd, &opts); err != nil {
			return err
		}
	}
	opts.FS = files(cmd)
	plan, err := opts.Complete()
	if err != nil {
		return geometryUsage(err)
	}
	if note := noteLines(o.lines...); note != "" {
		cli.Warn(cmd, "%s", note)
	}
	for i := range opts.Namespaces {
		for _, w := range warnings(&opts.Namespaces[i]) {
			cli.Warn(cmd, "%s", w)
		}
	}
	bar := cli.NewProgress(cmd, o.showBar)
	defer bar.Done()
	opts.Progress = bar.Update
	if err := image.Create(args[0], opts); err != nil {
		return geometryUsage(err)
	}
	bar.Done()
	if !o.quiet {
		describeCreated(cmd.OutOrStdout(), args[0], o.sidecar, plan, controllerArgument(o.lines...))
	}
	return nil
}

// geometryUsage makes a mistake of the command line of an impossible geometry.
func geometryUsage(err error) error {
	if errors.Is(err, layout.ErrGeometry) {
		return cli.UsageError("%v", err)
	}
	return err
}

// complete merges the ways to say one thing.
func (o *createOptions) complete(args []string) error {
	if len(args) == 2 {
		n, err := cli.ParseSize(args[1])
		if err != nil {
			return cli.UsageError("%v", err)
		}
		if o.geo.size != 0 && o.geo.size != uint64(n) {
			return cli.UsageError("the sizes %s and --size %s differ", args[1], cli.FormatSize(int64(o.geo.size)))
		}
		o.geo.size = uint64(n)
	}
	if len(o.namespaces) > 0 && (o.geo.size != 0 || o.geo.zones != 0) {
		return cli.UsageError("a size cannot be used with --ns: set size= or zones= in each --ns")
	}
	for _, p := range o.properties {
		if err := o.geo.parseLine(p); err != nil {
			return cli.UsageError("-o %s: %v", p, err)
		}
	}
	if len(o.properties) > 0 && o.geo.block == 0 && o.geo.like == "" {
		o.geo.block = 512 // QEMU's default
	}
	o.lines = []geometry{o.geo}
	if err := cli.OneOf("preallocation", o.prealloc, "off", "falloc", "full"); err != nil {
		return err
	}
	return cli.OneOf("layout", o.layout, "trailing", "sidecar")
}

// options turns the flags into what package image wants.
func (o *createOptions) options() (image.CreateOptions, error) {
	opts := image.CreateOptions{
		Stamp:  stamp(),
		Layout: layout.Trailing, Sidecar: o.sidecar, Label: o.label,
		Preallocation: image.Preallocation(o.prealloc), Force: o.force,
	}
	if o.layout == "sidecar" {
		opts.Layout = layout.Sidecar
	}
	if o.uuid != "" {
		var err error
		if opts.UUID, err = parseUUID(o.uuid); err != nil {
			return opts, err
		}
	}
	if o.from != "" { // it has the namespaces
		return opts, nil
	}
	geometries := []geometry{o.geo}
	if len(o.namespaces) > 0 {
		geometries = nil
		for _, list := range o.namespaces {
			g, err := o.geo.derive(list)
			if err != nil {
				return opts, cli.UsageError("--ns %s: %v", list, err)
			}
			geometries = append(geometries, g)
		}
		o.lines = append(o.lines, geometries...)
	}
	for i := range geometries {
		beside, err := geometries[i].applyLike()
		if err != nil {
			return opts, cli.UsageError("%v", err)
		}
		if len(o.namespaces) == 0 {
			geometries = append(geometries, beside...)
		}
	}
	for i, g := range geometries {
		s, err := g.spec()
		if err != nil {
			if len(o.namespaces) > 0 {
				err = fmt.Errorf("namespace %d: %w", i+1, err)
			}
			return opts, cli.UsageError("%v", err)
		}
		opts.Namespaces = append(opts.Namespaces, s)
	}
	return opts, nil
}

// describeCreated says what was made, and how to go on: with a controller that has the properties of device.
func describeCreated(w io.Writer, path, sidecar string, plan *layout.Plan, device string) {
	cli.Fprintf(w, "Formatted '%s', layout %v\n", path, plan.Kind)
	for _, e := range plan.Entries {
		fmt.Fprintf(w, "  %s\n", describeNamespace(&e.Namespace))
	}
	where := cli.ShellWord(path)
	if sidecar != "" {
		where = "--sidecar " + cli.ShellWord(sidecar) + " " + where
	}
	if device != "" {
		where = "--device " + cli.ShellWord(device) + " " + where
	}
	fmt.Fprintf(w, "Boot it with: zimg run %s -- qemu-system-x86_64 ...\n", where)
}

// describeNamespace is a namespace in one line.
func describeNamespace(n *layout.Namespace) string {
	return fmt.Sprintf("namespace %d: %s", n.ID, describeGeometry(n))
}

// describeGeometry is the geometry of a namespace in one line.
func describeGeometry(n *layout.Namespace) string {
	if !n.Zoned() {
		return fmt.Sprintf("nvm, %s, %d-byte blocks", cli.FormatSize(int64(n.Size())), n.BlockSize())
	}
	s := fmt.Sprintf("zoned, %s, %d-byte blocks, %s of %s", cli.FormatSize(int64(n.Size())), n.BlockSize(), cli.Count(int(n.ZoneCount), "zone", "zones"), cli.FormatSize(int64(n.ByteOff(n.ZoneSize))))
	if n.ZoneCap != n.ZoneSize {
		s += fmt.Sprintf(", capacity %s", cli.FormatSize(int64(n.ByteOff(n.ZoneCap))))
	}
	if n.MAR != layout.NoLimit || n.MOR != layout.NoLimit {
		s += fmt.Sprintf(", max open %s, max active %s", limitText(n.MaxOpen()), limitText(n.MaxActive()))
	}
	if n.ZDES > 0 {
		s += fmt.Sprintf(", %d-byte extensions", n.ExtSize())
	}
	if n.ZRWAS > 0 {
		s += ", " + describeZRWA(n)
	}
	return s
}

// describeZRWA describes the zone random write areas of a namespace that has them.
func describeZRWA(n *layout.Namespace) string {
	return fmt.Sprintf("random write areas of %s in %s zones, flushed in units of %s",
		cli.FormatSize(int64(n.ByteOff(layout.LBA(n.ZRWAS)))), limitText(n.MaxZRWA()), cli.FormatSize(int64(n.ByteOff(layout.LBA(n.ZRWAFG)))))
}

// limitText is a limit for people.
func limitText(n uint64) string {
	if n == 0 {
		return "none"
	}
	return fmt.Sprint(n)
}
