// Package dump writes the metadata of an image as JSON for people and editors, and reads it back.
package dump

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"

	"zimg/image"
	"zimg/layout"
)

// The form of a dump: docs/JSON.md. It is written and read as a stream, a zone at a time, so that
// a million zones need no memory; read.go reads it.
const (
	formatName = "zimg-dump"
	version    = 1
)

// zone is one zone. Positions are LBAs of the namespace.
type zone struct {
	Zone       uint64      `json:"zone"`
	State      string      `json:"state"`
	Capacity   layout.LBA  `json:"capacity"`
	WP         *layout.LBA `json:"write-pointer"` // null where the state has none
	Written    layout.LBA  `json:"written"`
	Attributes uint64      `json:"attributes,omitempty"`
	AttrsInfo  uint64      `json:"attributes-info,omitempty"`
	Extension  string      `json:"extension,omitempty"` // hexadecimal
}

// member is a key of a JSON object and its value.
type member struct {
	key   string
	value any // string or uint64
}

// geometryMembers are the keys that tell of n: a dump can go back only to a namespace of which they
// are true.
func geometryMembers(n *layout.Namespace) []member {
	return []member{
		{"nsid", uint64(n.ID)},
		{"type", n.CSI.String()},
		{"block-size", uint64(n.BlockSize())},
		{"metadata-size", uint64(n.MS)},
		{"blocks", uint64(n.Blocks)},
		{"zone-count", n.ZoneCount},
		{"zone-size", uint64(n.ZoneSize)},
		{"zone-capacity", uint64(n.ZoneCap)},
		{"max-open", uint64(n.MaxOpen())},
		{"max-active", uint64(n.MaxActive())},
		{"extension-size", uint64(n.ExtSize())},
	}
}

// Write writes all metadata of im as JSON for people and editors. A zone that is not listed is
// Empty, with the namespace's capacity.
func Write(w io.Writer, im *image.Image) error {
	d := dumper{w: bufio.NewWriterSize(w, 1<<16)}
	d.print("{\n")
	d.members("  ", []member{
		{"format", formatName}, {"version", uint64(version)}, {"uuid", hex.EncodeToString(im.Header().UUID[:])}, {"label", im.Header().Label},
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
		b, _ := json.Marshal(m.value) // strings and integers never fail
		fmt.Fprintf(d.w, "%s%q: %s,\n", indent, m.key, b)
	}
}

// zones writes the zones of n that are not Empty, and tells whether there are any.
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
	dz := &zone{Zone: i, State: z.State.String(), Capacity: z.Cap, Written: z.Written, Attributes: uint64(z.Attrs), AttrsInfo: uint64(z.AttrsInfo)}
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
