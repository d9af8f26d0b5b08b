package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"zimg/cmd/internal/cli"
	"zimg/image"
	"zimg/image/disk"
	"zimg/layout"
)

type zoneOptions struct {
	sidecar string
	ns      uint32
	file    string
	text    string
	wp      uint64
	written string
	wpF     bool // --wp was given
	quiet   bool

	extension []byte // for set-ext
}

// zoneAction is one verb of zimg zone.
type zoneAction struct {
	name, short string
	action      image.ZoneAction
	// selects says that the word all is the specification's Select All, which passes over
	// zones to which the action does not apply. Otherwise every zone is changed in turn.
	selects bool
}

var zoneActions = []zoneAction{
	{"reset", "make zones Empty and discard their data", image.ResetZones, true},
	{"open", "open zones explicitly and leave them open", image.OpenZones, true},
	{"close", "close open zones", image.CloseZones, true},
	{"finish", "make zones Full", image.FinishZones, true},
	{"offline", "set zones Offline, from any state (no drive offers this)", image.OfflineZones, false},
	{"read-only", "set zones Read Only, from any state except Offline (no drive offers this)", image.ReadOnlyZones, false},
	{"set-ext", "set the zone descriptor extension of Empty zones", image.SetZoneExtension, false},
	{"set-wp", "set the write pointer of zones (no drive offers this)", image.SetZoneWP, false},
}

// readExtension takes the extension from where the flags say.
func (o *zoneOptions) readExtension(cmd *cobra.Command) error {
	if (o.file == "") == (o.text == "") {
		return cli.UsageError("exactly one of --file and --text is required")
	}
	o.extension = []byte(o.text)
	if o.file == "" {
		return nil
	}
	in, err := cli.OpenInput(cmd, o.file)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	o.extension, err = io.ReadAll(io.LimitReader(in, 1<<16))
	return err
}

func newZoneCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "zone ACTION IMAGE ZONES",
		Short: "change the state of zones",
		Long: `Zone changes the state of zones. It has the actions of Zone Management Send (reset, open,
close, finish, set-ext), and three that no drive has: offline, read-only and set-wp. It prints
the number of zones that changed.

ZONES is a list of zone numbers and ranges, such as 0,3,7-9,12- (zone 12 and all after it), or
the word all. With reset, open, close and finish, all is the Select All of the specification:
zones to which the action does not apply are skipped. If the action is refused for one zone,
no zone is changed. Reset also frees the disk space of zones that are already Empty.

If the same user serves the image (zimg serve, or zimg run with zimg's own drive), the zones
of the live drive change, and its hosts are notified. Zones are then changed one by one: at
the first refusal the command stops, and the zones before it stay changed. set-ext needs an
image that is not in use.

To make an Offline or Read Only zone writable again, use zimg zone set-wp.`,
		Example: "  zimg zone reset disk.zimg 0-3\n  zimg zone finish disk.zimg all\n  zimg zone set-wp --written 50% disk.zimg 5-",
	}
	cli.MakeGroup(c)
	for _, a := range zoneActions {
		c.AddCommand(newZoneActionCommand(a))
	}
	return c
}

// example is how the action is called.
func (a *zoneAction) example() string {
	switch a.name {
	case "set-ext":
		return "set-ext --text journal disk.zimg 0"
	case "set-wp":
		return "set-wp --written 50% disk.zimg 0,5-7"
	}
	return a.name + " disk.zimg 4-9"
}

func newZoneActionCommand(a zoneAction) *cobra.Command {
	var o zoneOptions
	c := &cobra.Command{
		Use:     a.name + " [flags] IMAGE ZONES",
		Short:   a.short,
		Example: "  zimg zone " + a.example(),
		Args:    cli.ExactArgs("IMAGE ZONES"),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch a.name {
			case "set-wp":
				o.wpF = cmd.Flags().Changed("wp")
				if o.wpF == (o.written != "") {
					return cli.UsageError("exactly one of --wp and --written is required")
				}
			case "set-ext":
				if err := o.readExtension(cmd); err != nil {
					return err
				}
			}
			return o.run(cmd, a, args[0], args[1])
		},
	}
	c.Flags().Uint32Var(&o.ns, "ns", 0, "use namespace `N` (default: the only one, or the only zoned one)")
	c.Flags().BoolVarP(&o.quiet, "quiet", "q", false, "print nothing")
	c.Flags().StringVar(&o.sidecar, "sidecar", "", "use `FILE` as the metadata of a sidecar image")
	switch a.name {
	case "set-ext":
		c.Flags().StringVar(&o.file, "file", "", "read the extension from `FILE` (- for standard input)")
		c.Flags().StringVar(&o.text, "text", "", "use `TEXT` as the extension")
	case "set-wp":
		c.Flags().Uint64Var(&o.wp, "wp", 0, "set the write pointer of one zone to `LBA`")
		c.Flags().StringVar(&o.written, "written", "", "set the write pointer `AMOUNT` after the start of each zone: blocks, a size such as 1M, or a percentage of the capacity; +AMOUNT and -AMOUNT move it from where it is")
	}
	return c
}

func (o *zoneOptions) run(cmd *cobra.Command, a zoneAction, path, which string) (err error) {
	im, err := image.Open(path, image.Options{FS: files(cmd), Write: true, Sidecar: o.sidecar, Stamp: stamp()})
	change := (*image.Namespace).ChangeZones
	if errors.Is(err, disk.ErrLocked) {
		served, found := openControlled(path, o.sidecar)
		if !found {
			return err
		}
		im, err = served.im, nil
		change = func(n *image.Namespace, c image.ZoneChange) (uint64, error) { return served.changeZones(n, a, c) }
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, im.Close()) }()
	n, err := pickNamespace(im, o.ns)
	if err != nil {
		return err
	}
	c, err := o.change(n, a, which)
	if err != nil {
		return err
	}
	changed, err := change(n, c)
	if err != nil || o.quiet {
		return err
	}
	if changed == 1 {
		_, err = fmt.Fprintln(cmd.OutOrStdout(), "1 zone changed.")
	} else {
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d zones changed.\n", changed)
	}
	return err
}

// change is what the flags and the word which ask to be done to zones of n.
func (o *zoneOptions) change(n *image.Namespace, a zoneAction, which string) (c image.ZoneChange, err error) {
	if !n.Zoned() {
		return c, layout.Errorf(layout.ErrRange, "namespace %d has no zones", n.ID)
	}
	c = image.ZoneChange{Action: a.action, All: a.selects && which == "all", Extension: o.extension}
	if c.Zones, err = parseZones(which, n.Namespace); err != nil {
		return c, err
	}
	switch {
	case o.written != "":
		c.Pointer, err = parsePointer(o.written, n.Namespace)
	case o.wpF:
		c.Pointer, err = o.absolute(n, c.Zones)
	}
	return c, err
}

// absolute is the place of --wp, which is for one zone.
func (o *zoneOptions) absolute(n *image.Namespace, zones []image.ZoneRange) (image.Pointer, error) {
	zone := zones[0].First
	if len(zones) != 1 || zones[0].Last != zone {
		return image.Pointer{}, cli.UsageError("--wp is for one zone; use --written for several")
	}
	start := layout.LBA(zone) * n.ZoneSize
	if wp := layout.LBA(o.wp); wp < start || wp-start > n.ZoneSize {
		return image.Pointer{}, layout.Errorf(layout.ErrRange, "the write pointer of zone %d must be from %d to %d, not %d", zone, start, start+n.ZoneSize, wp)
	}
	return image.Pointer{Blocks: int64(layout.LBA(o.wp) - start)}, nil
}
