package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"zimg/cmd/internal/cli"
	"zimg/fsck"
	"zimg/image"
	"zimg/image/dump"
)

// geometryFlags are the flags that describe what --from takes from a dump.
var geometryFlags = []string{
	"size", "zones", "zone-size", "zone-capacity", "block-size", "max-open", "max-active", "metadata-size", "pi", "descr-ext-size",
	"zrwas", "zrwafg", "numzrwa", "like", "ns", "options",
}

// load takes the namespaces, the zones and the label from the dump of --from, which is checked first.
func (o *createOptions) load(cmd *cobra.Command, opts *image.CreateOptions) error {
	in, err := cli.OpenWholeInput(cmd, o.from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	m, err := dump.Load(in)
	if err != nil {
		return fmt.Errorf("%s: %w", o.from, err)
	}
	opts.Namespaces, opts.Zones = nil, m.Zones
	for _, n := range m.Namespaces {
		opts.Namespaces = append(opts.Namespaces, image.NamespaceSpec{Namespace: *n})
	}
	if !cmd.Flags().Changed("label") {
		opts.Label = m.Label
	}
	if _, err := opts.Complete(); err != nil {
		return fmt.Errorf("%s: %w", o.from, err) // the zones cannot be judged by such a geometry
	}
	list := findings{w: cmd.ErrOrStderr(), path: o.from}
	report, err := fsck.CheckMetadata(m, fsck.Options{Found: list.add})
	list.end()
	if err != nil {
		return err
	}
	if report.ExitCode() != 0 {
		return fmt.Errorf("%s: the dump is inconsistent (see above); no image was created", o.from)
	}
	return nil
}

// checkFrom refuses flags that say what --from says.
func (o *createOptions) checkFrom(cmd *cobra.Command, args []string) error {
	if o.from == "" {
		return nil
	}
	if len(args) > 1 {
		return cli.UsageError("a size cannot be used with --from: the dump has the geometry")
	}
	for _, name := range geometryFlags {
		if cmd.Flags().Changed(name) {
			return cli.UsageError("--%s cannot be used with --from: the dump has the geometry", name)
		}
	}
	return nil
}

// namespaceKeys describe the keys of --ns and -o for people and for completion, which offers them with their values: one line
// for each key, QEMU's name for it, or none, and what it is.
var namespaceKeys = []struct{ key, qemu, about string }{
	{"type=zoned", "zoned=on", "a namespace with zones (the default)"},
	{"type=nvm", "zoned=off", "a namespace without zones"},
	{"size=", "", "size of the namespace"},
	{"zones=", "", "number of zones"},
	{"zone-size=", "zoned.zone_size=", "size of a zone"},
	{"zone-capacity=", "zoned.zone_capacity=", "writable part of a zone"},
	{"max-open=", "zoned.max_open=", "open zones at the same time, 0 for no limit"},
	{"max-active=", "zoned.max_active=", "active zones at the same time, 0 for no limit"},
	{"block-size=", "logical_block_size=", "size of a logical block"},
	{"metadata-size=", "ms=", "bytes of metadata per block"},
	{"pi=", "pi=", "type of protection information, 1 to 3"},
	{"mset=", "mset=", "1: metadata is part of the block"},
	{"pil=", "pil=", "1: protection information comes first in the metadata"},
	{"pif=", "pif=", "0: 16-bit guard, 2: 64-bit guard"},
	{"descr-ext-size=", "zoned.descr_ext_size=", "bytes of a zone descriptor extension, a multiple of 64"},
	{"zrwas=", "zoned.zrwas=", "size of a zone random write area"},
	{"zrwafg=", "zoned.zrwafg=", "its flush granularity"},
	{"numzrwa=", "zoned.numzrwa=", "zone random write areas at the same time"},
	{"cross-read=", "zoned.cross_read=", "on: reads may cross from one zone to the next"},
	{"like=", "", "geometry of a preset, an image or a device"},
	{"nsid=", "nsid=", "namespace ID"},
	{"uuid=", "uuid=", "UUID of the namespace"},
	{"nguid=", "nguid=", "NGUID of the namespace"},
	{"eui64=", "eui64=", "EUI-64 of the namespace"},
	{"file=", "", "data file of the namespace, beside the image"},
}

// unknownKey is the error of a key that --ns and -o do not have.
func unknownKey(key string) error {
	var names []string
	for _, k := range namespaceKeys {
		name, _, _ := strings.Cut(k.key, "=")
		names = append(names, name)
	}
	similar := cli.Similar(strings.ReplaceAll(key, "_", "-"), names)
	if len(similar) == 0 {
		return fmt.Errorf("unknown namespace property %q; 'zimg create -o help' lists them", key)
	}
	return fmt.Errorf("unknown namespace property %q; did you mean %s?", key, strings.Join(similar, " or "))
}

// printKeys lists the keys of --ns and -o, and the presets.
func printKeys(w io.Writer) error {
	var rows [][]string
	for _, k := range namespaceKeys {
		rows = append(rows, []string{k.key, k.qemu, k.about})
	}
	if err := cli.WriteTable(w, []cli.Column{cli.LeftColumn("KEY"), cli.LeftColumn("FROM QEMU"), cli.LeftColumn("MEANING")}, rows); err != nil {
		return err
	}
	fmt.Fprintln(w, "\nPresets of like=:")
	rows = nil
	for _, name := range likeNames() {
		for _, g := range likenesses[name] {
			s, err := g.spec()
			if err != nil {
				return err
			}
			rows = append(rows, []string{name, describeGeometry(&s.Namespace)})
			name = ""
		}
	}
	return cli.WriteTable(w, []cli.Column{cli.LeftColumn("NAME"), cli.LeftColumn("GEOMETRY")}, rows)
}
