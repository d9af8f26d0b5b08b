// Package dump writes the metadata of an image as JSON for people and editors, and reads it back.
package dump

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math"

	"zimg/image"
	"zimg/layout"
)

// The format of a dump is in docs/JSON.md. It is written and read as a stream, zone by zone, so that
// a million zones need no memory; read.go reads it.
const (
	formatName = "zimg-dump"
	version    = 1
)

// zone is one zone, with the keys of a report. WP is an LBA of the namespace; Written counts blocks from the start of the
// zone.
type zone struct {
	Zone       uint64      `json:"zone"`
	State      string      `json:"state"`
	Capacity   layout.LBA  `json:"zcap"`
	WP         *layout.LBA `json:"wp"` // null where the state has none
	Written    layout.LBA  `json:"written"`
	Attributes []string    `json:"attributes,omitempty"`
	AttrsInfo  uint64      `json:"attributes-info,omitempty"`
	Extension  string      `json:"extension,omitempty"` // hexadecimal
}

// member is a key of a JSON object and its value.
type member struct {
	key   string
	value any // string, uint64 or bool
	// optional members are left out where the value is 0 or false.
	optional bool
	limit    uint64       // of the value
	set      func(uint64) // puts a value in its place; nil for those that have none of their own
}

// absent reports whether a dump leaves m out.
func (m *member) absent() bool { return m.optional && (m.value == uint64(0) || m.value == false) }

// geometryMembers are the keys that describe the geometry of n. A dump can be restored only to a namespace with the same
// values.
func geometryMembers(n *layout.Namespace) []member {
	flag := func(p *bool) func(uint64) { return func(v uint64) { *p = v == 1 } }
	limit := func(v uint64) uint64 {
		if !n.Zoned() { // its fields are 0, which in a zoned namespace is a limit of 1
			return 0
		}
		return v
	}
	zeroBased := func(p *uint32) func(uint64) {
		return func(v uint64) {
			if n.Zoned() {
				*p = layout.ZeroBased(uint32(v))
			}
		}
	}
	const count, blocks = math.MaxUint32, math.MaxInt64
	return []member{
		{key: "nsid", value: uint64(n.ID), limit: count, set: func(v uint64) { n.ID = layout.NSID(v) }},
		{key: "type", value: n.CSI.String()},
		{key: "block-size", value: uint64(n.BlockSize())},
		{key: "metadata-size", value: uint64(n.MS), limit: math.MaxUint16, set: func(v uint64) { n.MS = uint16(v) }},
		{key: "extended-lba", value: n.ExtLBA, optional: true, limit: 1, set: flag(&n.ExtLBA)},
		{key: "pi", value: uint64(n.PI), optional: true, limit: 3, set: func(v uint64) { n.PI = uint8(v) }},
		{key: "pi-first", value: n.PIFirst, optional: true, limit: 1, set: flag(&n.PIFirst)},
		{key: "pi-format", value: uint64(n.PIFormat), optional: true, limit: 2, set: func(v uint64) { n.PIFormat = uint8(v) }},
		{key: "blocks", value: uint64(n.Blocks), limit: blocks, set: func(v uint64) { n.Blocks = layout.LBA(v) }},
		{key: "zone-nr", value: n.ZoneCount, limit: layout.MaxZones, set: func(v uint64) { n.ZoneCount = v }},
		{key: "zone-size", value: uint64(n.ZoneSize), limit: blocks, set: func(v uint64) { n.ZoneSize = layout.LBA(v) }},
		{key: "zcap", value: uint64(n.ZoneCap), limit: blocks, set: func(v uint64) { n.ZoneCap = layout.LBA(v) }},
		{key: "zone-omax", value: limit(n.MaxOpen()), limit: count, set: zeroBased(&n.MOR)},
		{key: "zone-amax", value: limit(n.MaxActive()), limit: count, set: zeroBased(&n.MAR)},
		{key: "descr-ext-size", value: uint64(n.ExtSize()), limit: 255 * 64, set: func(v uint64) { n.ZDES = uint8(v / 64) }},
		{key: "cross-read", value: n.CrossRead, optional: true, limit: 1, set: flag(&n.CrossRead)},
		{key: "zrwas", value: uint64(n.ZRWAS), optional: true, limit: count, set: func(v uint64) { n.ZRWAS = uint32(v) }},
		{key: "zrwafg", value: uint64(n.ZRWAFG), optional: true, limit: count, set: func(v uint64) { n.ZRWAFG = uint32(v) }},
		{key: "numzrwa", value: uint64(n.NumZRWA), optional: true, limit: count, set: func(v uint64) { n.NumZRWA = uint32(v) }},
	}
}

// Write writes all metadata of im as JSON for people and editors. A zone that is not listed is
// Empty, with the namespace's capacity.
func Write(w io.Writer, im *image.Image) error {
	condition, err := im.Condition()
	if err != nil {
		return err
	}
	d := dumper{w: bufio.NewWriterSize(w, 1<<16)}
	d.print("{\n")
	d.members("  ", []member{
		{key: "format", value: formatName},
		{key: "version", value: uint64(version)},
		{key: "uuid", value: layout.FormatUUID(im.Header().UUID)},
		{key: "label", value: im.Header().Label},
		{key: "state", value: condition.String()},
	})
	d.print("  \"namespaces\": [")
	for i, n := range im.Namespaces() {
		d.separate(i > 0, "\n    ")
		d.print("{\n")
		d.members("      ", geometryMembers(n.Namespace))
		d.print("      \"zones\": [")
		listed, err := d.zones(n)
		if err != nil {
			return err
		}
		if listed {
			d.print("\n      ")
		}
		d.print("]\n    }")
	}
	d.print("\n  ]\n}\n")
	return d.w.Flush()
}

// dumper writes parts of a dump; a bufio.Writer keeps the first error until it is flushed.
type dumper struct{ w *bufio.Writer }

func (d *dumper) print(s string) { _, _ = d.w.WriteString(s) }

func (d *dumper) separate(comma bool, s string) {
	if comma {
		d.print(",")
	}
	d.print(s)
}

// members writes members that others follow.
func (d *dumper) members(indent string, list []member) {
	for _, m := range list {
		if m.absent() {
			continue
		}
		b, _ := json.Marshal(m.value) // strings, integers and booleans never fail
		fmt.Fprintf(d.w, "%s%q: %s,\n", indent, m.key, b)
	}
}

// zones writes the zones of n that are not Empty, and reports whether there are any.
func (d *dumper) zones(n *image.Namespace) (listed bool, err error) {
	var i uint64
	for z, err := range n.All(0, n.ZoneCount) {
		if err != nil {
			return listed, err
		}
		if z != n.EmptyZone(i) {
			dz, err := newZone(n, i, z)
			if err != nil {
				return listed, err
			}
			b, err := json.MarshalIndent(dz, "        ", "  ")
			if err != nil {
				return listed, err
			}
			d.separate(listed, "\n        ")
			if _, err := d.w.Write(b); err != nil {
				return listed, err
			}
			listed = true
		}
		i++
	}
	return listed, nil
}

func newZone(n *image.Namespace, i uint64, z layout.Zone) (*zone, error) {
	dz := &zone{Zone: i, State: z.State.Key(), Capacity: z.Cap, Written: z.Written - min(z.Start, z.Written), AttrsInfo: uint64(z.AttrsInfo)}
	if z.Attrs != 0 {
		dz.Attributes = z.Attrs.Names()
	}
	if z.WP != layout.NoWP {
		dz.WP = &z.WP
	}
	if z.Attrs&layout.ZDEV != 0 {
		ext, err := n.Extension(i)
		if err != nil {
			return nil, err
		}
		dz.Extension = hex.EncodeToString(ext)
	}
	return dz, nil
}
