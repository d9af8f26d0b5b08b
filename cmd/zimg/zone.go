package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"zimg/cmd/internal/cli"
	"zimg/image"
	"zimg/image/zns"
	"zimg/layout"
)

type zoneOptions struct {
	sidecar string
	ns      uint32
	file    string
	text    string
	wp      uint64
	quiet   bool

	extension []byte // for set-ext
}

// zoneAction is one verb of zimg zone.
type zoneAction struct {
	name, short string
	one         func(o *zoneOptions, m *zns.Machine, i uint64) error
	// all is the specification's Select All, which passes over zones that the
	// action does not apply to; nil: there is none, every zone is taken in turn.
	all zns.Action
}

var zoneActions = []zoneAction{
	{"reset", "make zones Empty and discard their data", func(_ *zoneOptions, m *zns.Machine, i uint64) error { return m.Reset(i) }, zns.ActionReset},
	{"open", "open zones explicitly, and leave them so in the image", func(_ *zoneOptions, m *zns.Machine, i uint64) error { return m.Open(i) }, zns.ActionOpen},
	{"close", "close opened zones", func(_ *zoneOptions, m *zns.Machine, i uint64) error { return m.Close(i) }, zns.ActionClose},
	{"finish", "make zones Full", func(_ *zoneOptions, m *zns.Machine, i uint64) error { return m.Finish(i) }, zns.ActionFinish},
	{"offline", "make zones Offline, from whatever state (no drive offers that)", func(_ *zoneOptions, m *zns.Machine, i uint64) error { return m.SetOffline(i) }, 0},
	{"read-only", "make zones Read Only, from whatever state (no drive offers that)", func(_ *zoneOptions, m *zns.Machine, i uint64) error { return m.SetReadOnly(i) }, 0},
	{"set-ext", "set the zone descriptor extension of an Empty zone", setExtension, 0},
	{"set-wp", "put the write pointer anywhere in the zone (no drive offers that)", setWP, 0},
}

func setExtension(o *zoneOptions, m *zns.Machine, i uint64) error {
	return m.SetExtension(i, o.extension)
}

// readExtension takes the extension from where the flags say.
func (o *zoneOptions) readExtension(cmd *cobra.Command) error {
	if (o.file == "") == (o.text == "") {
		return cli.UsageError("set-ext needs either --file FILE or --text TEXT")
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

func setWP(o *zoneOptions, m *zns.Machine, i uint64) error { return m.SetWP(i, layout.LBA(o.wp)) }

func newZoneCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "zone ACTION IMAGE ZONE",
		Short: "change the state of zones",
		Long: `Zone does what a drive's Zone Management Send does, and what no drive does: put
zones Offline or Read Only, and write pointers anywhere.

ZONE is a zone number from 0, a range like 4-9, or the word all. All is the drive's Select
All: it passes over zones that the action does not apply to.`,
		Example: "  zimg zone reset disk.zimg 0-3\n  zimg zone finish disk.zimg all\n  zimg zone set-wp --wp 81936 disk.zimg 5",
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
		return "set-wp --wp 81936 disk.zimg 5"
	}
	return a.name + " disk.zimg 4-9"
}

func newZoneActionCommand(a zoneAction) *cobra.Command {
	var o zoneOptions
	c := &cobra.Command{
		Use:     a.name + " [flags] IMAGE ZONE",
		Short:   a.short,
		Example: "  zimg zone " + a.example(),
		Args:    cli.ExactArgs("IMAGE ZONE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch a.name {
			case "set-wp":
				if !cmd.Flags().Changed("wp") {
					return cli.UsageError("set-wp needs --wp LBA")
				}
			case "set-ext":
				if err := o.readExtension(cmd); err != nil {
					return err
				}
			}
			return o.run(a, args[0], args[1])
		},
	}
	c.Flags().Uint32Var(&o.ns, "ns", 0, "namespace `N` (default: the only one, or the only zoned one)")
	c.Flags().BoolVarP(&o.quiet, "quiet", "q", false, "print nothing")
	c.Flags().StringVar(&o.sidecar, "sidecar", "", "`FILE` of the metadata")
	switch a.name {
	case "set-ext":
		c.Flags().StringVar(&o.file, "file", "", "take the extension from `FILE`, - for standard input")
		c.Flags().StringVar(&o.text, "text", "", "take `TEXT` as the extension")
	case "set-wp":
		c.Flags().Uint64Var(&o.wp, "wp", 0, "the write pointer as `LBA` of the namespace")
	}
	return c
}

func (o *zoneOptions) run(a zoneAction, path, which string) (err error) {
	im, err := image.Open(path, image.Options{Write: true, Sidecar: o.sidecar})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, im.Close()) }()
	n, err := pickNamespace(im, o.ns)
	if err != nil {
		return err
	}
	if !n.Zoned() {
		return fmt.Errorf("%s: namespace %d has no zones: %w", path, n.ID, layout.ErrRange)
	}
	first, last, err := parseZones(which, n.ZoneCount)
	if err != nil {
		return err
	}
	m := machine(n)
	var discard []uint64 // zones whose data goes, or part of it
	switch a.name {
	case "reset":
		if discard, err = written(n, first, last); err != nil {
			return err
		}
	case "set-wp":
		if first != last {
			return cli.UsageError("a write pointer is an LBA: set it in one zone at a time")
		}
		discard = []uint64{first}
	}
	if which == "all" && a.all != 0 {
		err = m.All(a.all)
	} else {
		for i := first; i <= last && err == nil; i++ {
			err = a.one(o, m, i)
		}
	}
	if err != nil {
		return err // nothing was committed
	}
	var shorter []image.Shortened
	for _, i := range discard {
		z, err := n.Zone(i)
		if err != nil {
			return err
		}
		shorter = append(shorter, image.Shortened{Namespace: n, Zone: i, Written: z.Written})
	}
	return commitDiscard(im, shorter)
}

// written lists the zones from first to last that are not Empty.
func written(n *image.Namespace, first, last uint64) ([]uint64, error) {
	var list []uint64
	i := first
	for z, err := range n.All(first, last-first+1) {
		if err != nil {
			return nil, err
		}
		if z.State != layout.Empty {
			list = append(list, i)
		}
		i++
	}
	return list, nil
}

// commitDiscard commits the zones as they are now, with the mark that the image is
// being changed; then it discards what lies beyond their write pointers and takes the
// mark off. A crash between leaves remains beyond write pointers, and the mark says
// that these are to go: the image is as it should be.
func commitDiscard(im *image.Image, zones []image.Shortened) error {
	if len(zones) == 0 {
		return im.Commit()
	}
	if err := im.BeginChange(); err != nil {
		return err
	}
	for _, z := range zones {
		if err := z.Namespace.DiscardZone(z.Zone, z.Written); err != nil {
			return err
		}
	}
	if err := im.SyncData(); err != nil {
		return err
	}
	return im.Commit()
}

// parseZones reads a zone number, a range or "all".
func parseZones(s string, count uint64) (first, last uint64, err error) {
	if s == "all" {
		return 0, count - 1, nil
	}
	a, b, isRange := strings.Cut(s, "-")
	if first, err = strconv.ParseUint(a, 0, 64); err == nil {
		last = first
		if isRange {
			last, err = strconv.ParseUint(b, 0, 64)
		}
	}
	switch {
	case err != nil:
		return 0, 0, cli.UsageError("%q is no zone: a number from 0, a range like 4-9, or all", s)
	case last < first:
		return 0, 0, cli.UsageError("the range %s ends before it begins", s)
	case last >= count:
		return 0, 0, fmt.Errorf("no zone %d, the namespace has zones 0 to %d: %w", last, count-1, layout.ErrRange)
	}
	return first, last, nil
}
