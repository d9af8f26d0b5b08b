package main

import (
	"bufio"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"zimg/cmd/internal/cli"
	"zimg/cmd/internal/report"
	"zimg/image"
	"zimg/layout"
)

type reportOptions struct {
	output  string
	sidecar string
	ns      uint32
	zone    string
	states  []string
	ext     bool
	share   bool
	foreign foreignOptions
}

func newReportCommand() *cobra.Command {
	var o reportOptions
	c := &cobra.Command{
		Use:   "report [flags] IMAGE",
		Short: "list zones with state, write pointer and capacity",
		Long: `Report lists the zones of an image, as a table, as JSON or CSV, or in the format of another
tool:

  table    for people; LBAs             json     docs/JSON.md; LBAs
  csv      for spreadsheets; LBAs       blkzone  blkzone report of util-linux 2.42; 512-byte sectors
  nvme     nvme zns report-zones -o json; LBAs
  zbd      zbd report; bytes            zbd-csv  zbd report -csv; bytes

For Full zones, blkzone prints N/A as the write pointer since version 2.42. The formats of other
tools hold one namespace; if the image has several, choose one with --ns.

--state takes states and three groups: open is implicitly or explicitly opened, active is open or
closed, nonempty is everything but empty.

Report also reads files in foreign formats (see zimg convert --help).`,
		Example: "  zimg report disk.zimg\n  zimg report --state active,full --zone 0-31,48- disk.zimg\n  zimg report --output blkzone --ns 1 disk.zimg",
		Args:    cli.ExactArgs("IMAGE"),
		RunE:    func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0]) },
	}
	f := c.Flags()
	f.StringVarP(&o.output, "output", "o", "table", "print the zones in `FORMAT`: table, json, csv, blkzone, nvme, zbd or zbd-csv")
	f.StringVar(&o.sidecar, "sidecar", "", "use `FILE` as the metadata of a sidecar image")
	f.Uint32Var(&o.ns, "ns", 0, "show only namespace `N`")
	f.StringVar(&o.zone, "zone", "all", "show only `ZONES`: a list of numbers and ranges, such as 0,3,7-9,12-")
	f.StringSliceVar(&o.states, "state", nil, "show only zones in these `STATES`: "+strings.Join(report.StateNames(), ", "))
	f.BoolVarP(&o.ext, "extensions", "e", false, "also print zone descriptor extensions (table, json)")
	f.BoolVarP(&o.share, "force-share", "U", false, "read an image that is in use")
	o.foreign.addFlags(f)
	return c
}

func (o *reportOptions) run(cmd *cobra.Command, path string) error {
	if o.output == "human" {
		o.output = "table"
	}
	if err := cli.OneOf("output", o.output, "table", "json", "csv", "blkzone", "nvme", "zbd", "zbd-csv"); err != nil {
		return err
	}
	wanted, err := parseStates(o.states)
	if err != nil {
		return err
	}
	all, state, closer, err := o.spaces(cmd, path)
	if err != nil {
		return err
	}
	defer func() { _ = closer() }()
	namespaces, err := o.choose(path, all)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(cmd.OutOrStdout(), 1<<16)
	r := report.Formats[o.output](w, report.Source{Path: path, State: state})
	r.Begin()
	for _, n := range namespaces {
		if err := o.report(cmd, r, n, wanted); err != nil {
			return err
		}
	}
	r.End()
	return w.Flush()
}

// parseStates is the set of states that the values of --state stand for.
func parseStates(names []string) (report.States, error) {
	set, unknown := report.ParseStates(names)
	if unknown != "" {
		return nil, cli.OneOf("state", unknown, report.StateNames()...)
	}
	return set, nil
}

// spaces are the namespaces of the image, ours or foreign, and the state that one of ours is in.
func (o *reportOptions) spaces(cmd *cobra.Command, path string) (list []*report.Namespace, state string, closer func() error, err error) {
	o.foreign.fs = files(cmd)
	f, err := o.foreign.find(path, o.sidecar)
	if err != nil {
		return nil, "", nil, err
	}
	if f != nil {
		d, closer, err := o.foreign.open(path, f, o.sidecar, o.ns, o.share)
		if err != nil {
			return nil, "", nil, err
		}
		list, err := foreignSpaces(d, o.ns)
		return list, "", closer, err
	}
	im, err := openZones(cmd, path, image.Options{FS: files(cmd), ForceShare: o.share, Sidecar: o.sidecar})
	if err != nil {
		return nil, "", nil, err
	}
	condition, err := im.Condition()
	if err != nil {
		return nil, "", nil, errors.Join(err, im.Close())
	}
	for _, n := range im.Namespaces() {
		if o.ns == 0 || n.ID == layout.NSID(o.ns) {
			list = append(list, ownSpace(n))
		}
	}
	if len(list) == 0 {
		_, err = im.Namespace(layout.NSID(o.ns))
	}
	return list, condition.String(), im.Close, err
}

// choose takes the zoned ones of all.
func (o *reportOptions) choose(path string, all []*report.Namespace) ([]*report.Namespace, error) {
	var zoned []*report.Namespace
	for _, n := range all {
		if n.Zoned() {
			zoned = append(zoned, n)
		} else if o.ns != 0 {
			return nil, layout.Errorf(layout.ErrRange, "%s: namespace %d has no zones", path, n.ID)
		}
	}
	switch {
	case len(zoned) == 0:
		return nil, layout.Errorf(layout.ErrRange, "%s has no zoned namespace", path)
	case len(zoned) > 1 && o.output != "table" && o.output != "json" && o.output != "csv":
		return nil, cli.UsageError("%s has %d zoned namespaces, but the %s format holds one; choose one with --ns", path, len(zoned), o.output)
	}
	return zoned, nil
}

func (o *reportOptions) report(cmd *cobra.Command, r report.Writer, n *report.Namespace, wanted report.States) error {
	ranges, err := parseZones(o.zone, n.Namespace)
	if err != nil {
		return err
	}
	var total uint64
	for _, zones := range ranges {
		total += zones.Last - zones.First + 1
	}
	if wanted != nil && o.output == "nvme" { // the only form that says beforehand how many
		total = 0
		err := each(cmd, n, ranges, func(_ uint64, z layout.Zone) error {
			if wanted.Has(z.State) {
				total++
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	r.Namespace(n, total)
	err = each(cmd, n, ranges, func(i uint64, z layout.Zone) (err error) {
		if !wanted.Has(z.State) {
			return nil
		}
		var ext []byte
		if o.ext && z.Attrs&layout.ZDEV != 0 {
			if ext, err = n.Zones.Extension(i); err != nil {
				return err
			}
		}
		r.Zone(n, i, z, ext)
		return nil
	})
	if err != nil {
		return err
	}
	r.EndNamespace()
	return nil
}

// each calls do with the zones of n in the ranges, until it or the command ends.
func each(cmd *cobra.Command, n *report.Namespace, ranges []image.ZoneRange, do func(i uint64, z layout.Zone) error) error {
	for _, zones := range ranges {
		i := zones.First
		for z, err := range n.Zones.All(zones.First, zones.Last-zones.First+1) {
			if err == nil {
				err = cmd.Context().Err()
			}
			if err == nil {
				err = do(i, z)
			}
			if err != nil {
				return err
			}
			i++
		}
	}
	return nil
}
