package main

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"zimg/cmd/internal/cli"
	"zimg/cmd/internal/report"
	"zimg/image"
	"zimg/image/disk"
	"zimg/image/foreign"
	"zimg/image/foreign/all"
	"zimg/image/transfer"
	"zimg/layout"
)

// ownFormat is the name of our own format where formats are named.
const ownFormat = "zimg"

// foreignOptions are the flags of commands that read any format.
type foreignOptions struct {
	flag     string // that names the format, if it is not --format
	format   string
	geometry string
	fs       disk.FS // nil for the operating system's
}

func (o *foreignOptions) addFlags(f *pflag.FlagSet) {
	f.StringVarP(&o.format, "format", "f", "", "read the file as foreign format `NAME`; needed for formats that cannot be detected")
	f.StringVar(&o.geometry, "geometry", "", "set the geometry that the foreign format does not record: `KEY=VALUE,...` (zone-size, zone-capacity, block-size, ...)")
}

// find is the format of path: nil for our own. It is recognized by a magic, or named by the user.
func (o *foreignOptions) find(path, sidecar string) (*foreign.Format, error) {
	switch {
	case o.format == ownFormat:
		return nil, nil
	case o.format != "":
		flag := o.flag
		if flag == "" {
			flag = "format"
		}
		return findFormat(flag, o.format)
	case image.Known(disk.OS, path, sidecar):
		return nil, nil
	}
	return foreign.Detect(all.Formats, disk.OS, path)
}

// findFormat is the format called name.
func findFormat(flag, name string) (*foreign.Format, error) {
	f, err := foreign.Find(all.Formats, name)
	if err != nil {
		return nil, cli.UsageError("--%s: %v", flag, err)
	}
	return f, nil
}

// transfer fills in what the flags say of a source.
func (o *foreignOptions) transfer(second string, ns uint32) (transfer.Options, error) {
	t := transfer.Options{FS: o.fs, Stamp: stamp(), Source: second, NS: layout.NSID(ns)}
	if o.geometry == "" {
		return t, nil
	}
	var g geometry
	if err := g.parseList(o.geometry); err != nil {
		return t, cli.UsageError("--geometry %s: %v", o.geometry, err)
	}
	if g.kind == "nvm" {
		return t, cli.UsageError("--geometry %s: must be a zoned namespace", o.geometry)
	}
	counted := g.size != 0 || g.zones != 0
	if _, err := g.applyLike(); err != nil {
		return t, cli.UsageError("--geometry %s: %v", o.geometry, err)
	}
	if !counted {
		g.zones = 1 // as many as there are: the decoder counts
	}
	spec, err := g.spec()
	if err != nil {
		return t, cli.UsageError("--geometry %s: %v", o.geometry, err)
	}
	n := spec.Namespace
	if !counted {
		n.ZoneCount = 0
	}
	t.Geometry = &n
	t.Unsaid = foreign.Unsaid{BlockSize: g.block == 0, ZoneSize: g.zoneSize == 0, ZoneCap: g.zoneCap == 0, ExtSize: g.ext == 0}
	return t, nil
}

// open decodes a foreign file.
func (o *foreignOptions) open(path string, f *foreign.Format, second string, ns uint32, share bool) (*foreign.Decoded, func() error, error) {
	t, err := o.transfer(second, ns)
	if err != nil {
		return nil, nil, err
	}
	return transfer.Open(path, f, t, share)
}

// formatList names the formats for a help text, the ones that can be written first.
func formatList() string {
	var b strings.Builder
	for _, f := range all.Formats {
		note := ""
		if f.Encode == nil {
			note = "r"
		}
		if f.Probe == nil {
			note += "*"
		}
		fmt.Fprintf(&b, "  %-13s %-2s %s\n", f.Name, note, f.Title)
	}
	return b.String() + "\nr: read only. *: cannot be detected; use -f."
}

// unmarked are the formats that detection cannot find.
func unmarked() (names []string) {
	for _, f := range all.Formats {
		if f.Probe == nil {
			names = append(names, f.Name)
		}
	}
	return names
}

// ownSpace is a namespace of an image of ours.
func ownSpace(n *image.Namespace) *report.Namespace {
	return &report.Namespace{Namespace: n.Namespace, Zones: n, Alone: len(n.Image().Namespaces()) == 1}
}

// foreignSpaces are the namespaces of d, or the one with the given number.
func foreignSpaces(d *foreign.Decoded, id uint32) ([]*report.Namespace, error) {
	var list []*report.Namespace
	for _, c := range d.Contents {
		if id == 0 || c.NS.ID == layout.NSID(id) {
			list = append(list, &report.Namespace{Namespace: c.NS, Zones: c.Zones, Alone: len(d.Contents) == 1})
		}
	}
	if len(list) == 0 {
		_, err := d.Content(layout.NSID(id))
		return nil, err
	}
	return list, nil
}
