// Package compare says how two images differ, of ours or of other programs.
package compare

import (
	"bytes"
	"fmt"
	"iter"
	"strings"

	"zimg/image"
	"zimg/image/foreign"
	"zimg/layout"
)

// Difference is one way in which two sides of a comparison differ.
type Difference struct {
	Namespace layout.NSID // 0: about the image
	Zone      uint64      // meaningless if What is about the namespace
	InZone    bool
	What      string // "geometry", "identity", "state", "write pointer", "written", "capacity", "attributes", "extension", "data", "block metadata"
	A, B      string
	Off       int64 // of the first differing byte in the namespace, or in its block metadata; else -1
}

// Side is one of two things to compare: an image of ours, or a foreign one.
type Side struct {
	Label    string
	UUID     [16]byte
	Contents []*foreign.Content
	Holds    *foreign.Holds // what the format can hold; nil: everything
}

// SideOf is an image of ours as one side of a comparison. It must stay open until the comparison is done.
func SideOf(im *image.Image) Side {
	s := Side{Label: im.Header().Label, UUID: im.Header().UUID}
	for _, n := range im.Namespaces() {
		s.Contents = append(s.Contents, foreign.ContentOf(n))
	}
	return s
}

// Options say how two sides are compared.
type Options struct {
	// Strict compares what is not seen by a guest as well: identities, how far zones without a write
	// pointer were written, and data beyond write pointers.
	Strict bool
	// Progress, if not nil, is called with the bytes done and the total; an error stops the comparison.
	Progress func(done, total int64) error
	// Report is called for each difference, and returns false to stop.
	Report func(Difference) bool
}

// Sides reports how two sides differ: in geometry, zones, and the data below the write pointers.
// Limits that one side's format cannot hold are not compared, nor is the room for extensions.
func Sides(a, b Side, o Options) error {
	c := &comparison{Options: o, holds: [2]*foreign.Holds{a.Holds, b.Holds}}
	if o.Strict && !c.strict(0, "label", a.Label, b.Label) || o.Strict && !c.strict(0, "uuid", layout.FormatUUID(a.UUID), layout.FormatUUID(b.UUID)) {
		return nil
	}
	pairs := c.pair(a.Contents, b.Contents)
	for _, p := range pairs {
		c.total += int64(p[0].NS.Size())
	}
	for _, p := range pairs {
		if c.stopped {
			break
		}
		if err := c.namespace(p[0], p[1]); err != nil {
			return err
		}
	}
	return nil
}

// comparison is one run of Sides.
type comparison struct {
	Options
	holds       [2]*foreign.Holds
	done, total int64
	stopped     bool // Report wants no more
	buf         [2][]byte
}

// differ reports d; it returns false if the comparison is to stop.
func (c *comparison) differ(d Difference) bool {
	if !c.stopped && !c.Report(d) {
		c.stopped = true
	}
	return !c.stopped
}

func (c *comparison) strict(id layout.NSID, what, a, b string) bool {
	return a == b || c.differ(Difference{Namespace: id, What: "identity", A: what + " " + a, B: what + " " + b, Off: -1})
}

func attrText(a layout.ZoneAttrs) string {
	if a == 0 {
		return "none"
	}
	return strings.Join(a.Names(), " ")
}

func hexOf(b []byte) string { return fmt.Sprintf("%x", b) }

// pair puts namespaces of the same number together; a single one on both sides is the same whatever
// its number. One that the other side lacks is a difference.
func (c *comparison) pair(a, b []*foreign.Content) [][2]*foreign.Content {
	if len(a) == 1 && len(b) == 1 {
		return [][2]*foreign.Content{{a[0], b[0]}}
	}
	var pairs [][2]*foreign.Content
	byID := map[layout.NSID]*foreign.Content{}
	for _, y := range b {
		byID[y.NS.ID] = y
	}
	for _, x := range a {
		y, ok := byID[x.NS.ID]
		if !ok {
			c.differ(Difference{Namespace: x.NS.ID, What: "geometry", A: "there", B: "missing", Off: -1})
			continue
		}
		delete(byID, x.NS.ID)
		pairs = append(pairs, [2]*foreign.Content{x, y})
	}
	for _, y := range b {
		if byID[y.NS.ID] == y {
			c.differ(Difference{Namespace: y.NS.ID, What: "geometry", A: "missing", B: "there", Off: -1})
		}
	}
	return pairs
}

func (c *comparison) namespace(a, b *foreign.Content) error {
	n := a.NS
	if c.Strict {
		c.strict(n.ID, "uuid", layout.FormatUUID(a.NS.UUID), layout.FormatUUID(b.NS.UUID))
		for _, id := range []struct {
			what string
			a, b []byte
		}{{"nguid", a.NS.NGUID[:], b.NS.NGUID[:]}, {"eui64", a.NS.EUI64[:], b.NS.EUI64[:]}} {
			c.strict(n.ID, id.what, hexOf(id.a), hexOf(id.b))
		}
	}
	if !c.geometry(a.NS, b.NS) || c.stopped {
		return nil
	}
	if !n.Zoned() {
		return c.content(Difference{Namespace: n.ID}, a, b, 0, min(n.Blocks, b.NS.Blocks))
	}
	next, stop := iter.Pull2(b.Zones.All(0, min(n.ZoneCount, b.NS.ZoneCount)))
	defer stop()
	var i uint64
	for za, err := range a.Zones.All(0, min(n.ZoneCount, b.NS.ZoneCount)) {
		if err != nil {
			return err
		}
		zb, err, ok := next()
		if err != nil || !ok {
			return err
		}
		if err := c.zone(a, b, i, za, zb); err != nil || c.stopped {
			return err
		}
		i++
	}
	return nil
}

// geometry reports in what the namespaces differ. It returns false where nothing in one has its like
// in the other.
func (c *comparison) geometry(a, b *layout.Namespace) bool {
	all := c.holds[0] == nil && c.holds[1] == nil
	holds := func(does func(h *foreign.Holds) bool) bool {
		return (c.holds[0] == nil || does(c.holds[0])) && (c.holds[1] == nil || does(c.holds[1]))
	}
	alike := true
	var in, of []string
	field := func(name string, x, y any, compared, essential bool) {
		if x == y || !compared {
			return
		}
		in, of = append(in, fmt.Sprintf("%s %v", name, x)), append(of, fmt.Sprintf("%s %v", name, y))
		alike = alike && !essential
	}
	field("type", a.CSI, b.CSI, true, true)
	field("block size", a.BlockSize(), b.BlockSize(), true, true)
	field("metadata size", a.MS, b.MS, true, true)
	field("zone size", a.ZoneSize, b.ZoneSize, true, true)
	field("zones", a.ZoneCount, b.ZoneCount, true, false)
	field("blocks", a.Blocks, b.Blocks, !a.Zoned(), false)
	field("zone capacity", a.ZoneCap, b.ZoneCap, true, false)
	field("max-open", a.MaxOpen(), b.MaxOpen(), holds(func(h *foreign.Holds) bool { return h.Limits || h.MaxOpen }), false)
	field("max-active", a.MaxActive(), b.MaxActive(), holds(func(h *foreign.Holds) bool { return h.Limits }), false)
	field("extension size", a.ExtSize(), b.ExtSize(), holds(func(h *foreign.Holds) bool { return h.Extensions > 0 }), false)
	field("metadata in the block", a.ExtLBA, b.ExtLBA, all, false)
	field("protection", [3]any{a.PI, a.PIFormat, a.PIFirst}, [3]any{b.PI, b.PIFormat, b.PIFirst}, all, false)
	field("cross-read", a.CrossRead, b.CrossRead, all, false)
	field("zrwa", [3]uint32{a.ZRWAS, a.ZRWAFG, a.NumZRWA}, [3]uint32{b.ZRWAS, b.ZRWAFG, b.NumZRWA}, all, false)
	if len(in) > 0 {
		c.differ(Difference{Namespace: a.ID, What: "geometry", A: strings.Join(in, ", "), B: strings.Join(of, ", "), Off: -1})
	}
	return alike
}

func (c *comparison) zone(a, b *foreign.Content, i uint64, za, zb layout.Zone) error {
	place := Difference{Namespace: a.NS.ID, Zone: i, InZone: true, Off: -1}
	diff := func(what string, x, y any) {
		d := place
		d.What, d.A, d.B = what, fmt.Sprint(x), fmt.Sprint(y)
		c.differ(d)
	}
	if za.Type != zb.Type {
		diff("type", za.Type.Key(), zb.Type.Key())
	}
	if za.State != zb.State {
		diff("state", za.State.Key(), zb.State.Key())
	}
	if hasA, hasB := za.State.HasWP(), zb.State.HasWP(); hasA && hasB && za.WP != zb.WP {
		diff("write-pointer", za.WP, zb.WP)
	} else if c.Strict && !(hasA && hasB) && za.Written != zb.Written {
		diff("written", za.Written, zb.Written)
	}
	if za.Cap != zb.Cap {
		diff("capacity", za.Cap, zb.Cap)
	}
	if za.Attrs != zb.Attrs {
		diff("attributes", attrText(za.Attrs), attrText(zb.Attrs))
	}
	if za.Attrs&zb.Attrs&layout.ZDEV != 0 {
		ea, err := a.Zones.Extension(i)
		if err != nil {
			return err
		}
		eb, err := b.Zones.Extension(i)
		if err != nil {
			return err
		}
		if !bytes.Equal(ea, eb) {
			diff("extension", hexOf(ea), hexOf(eb))
		}
	}
	if c.stopped {
		return nil
	}
	end := max(za.Written, zb.Written)
	if c.Strict {
		end = za.Start + a.NS.ZoneSize
	}
	if err := c.content(place, a, b, za.Start, end); err != nil {
		return err
	}
	return c.tick(int64(a.NS.ByteOff(za.Start + a.NS.ZoneSize - end)))
}
