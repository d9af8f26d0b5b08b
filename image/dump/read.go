package dump

import (
	"encoding/hex"
	"io"
	"math"
	"strings"

	"zimg/image"
	"zimg/layout"
)

// Read puts the label and the zones of a dump into im, in memory, for the caller to check before it commits the edit. The
// geometry of the dump must be that of im, whose zones are checked first (layout.ErrDamaged).
func Read(r io.Reader, im *image.Image) (*image.Edit, error) {
	edit, err := im.BeginEdit()
	if err != nil {
		return nil, err
	}
	d := &undumper{jsonStream: newJSONStream(r), im: im, edit: edit}
	err = d.document()
	if err == nil {
		err = d.end()
	}
	if err != nil {
		edit.Abandon()
		return nil, err
	}
	return edit, nil
}

// undumper reads a dump.
type undumper struct {
	*jsonStream
	im   *image.Image
	edit *image.Edit
}

func (d *undumper) document() error {
	var uuid, label, state string
	count := 0
	err := d.object([]field{
		{"format", false, func() error { return d.same(formatName) }},
		{"version", false, func() error { return d.same(uint64(version)) }},
		{"uuid", true, func() error { return d.text(&uuid) }}, // for people: a dump may go to another image
		{"state", true, func() error { return d.text(&state) }},
		{"label", false, func() error {
			if err := d.text(&label); err != nil {
				return err
			}
			if err := d.im.SetLabel(label); err != nil {
				return d.errorf("%v", err)
			}
			return nil
		}},
		{"namespaces", false, func() error {
			return d.array(func(i int) error {
				count++
				if i >= len(d.im.Namespaces()) {
					return d.errorf("%s has %d namespaces", d.im.Path(), len(d.im.Namespaces()))
				}
				return d.namespace(d.im.Namespaces()[i])
			})
		}},
	})
	if err == nil && count < len(d.im.Namespaces()) {
		err = d.errorf("the dump has %d namespaces, but %s has %d", count, d.im.Path(), len(d.im.Namespaces()))
	}
	return err
}

// same reads a value that has to be the one given.
func (s *jsonStream) same(want any) error {
	var err error
	var got any
	switch want.(type) {
	case string:
		var text string
		err = s.text(&text)
		got = text
	case bool:
		var flag uint64
		err = s.flag(&flag)
		got = flag == 1
	default:
		var n uint64
		err = s.number(&n, math.MaxUint64)
		got = n
	}
	if err == nil && got != want {
		err = s.errorf("%v instead of %v", got, want)
	}
	return err
}

func (d *undumper) namespace(n *image.Namespace) error {
	var fields []field
	for _, m := range geometryMembers(n.Namespace) {
		fields = append(fields, field{m.key, m.absent(), func() error {
			if err := d.same(m.value); err != nil {
				return &image.HintError{Err: err, Hint: "the geometry of the dump differs from that of " + d.im.Path() + "; only zones can be restored"}
			}
			return nil
		}})
	}
	listed := make([]uint64, (n.ZoneCount+63)/64) // a bit per zone
	has := func(i uint64) bool { return listed[i/64]&(1<<(i%64)) != 0 }
	again := func(i uint64) bool {
		before := has(i)
		listed[i/64] |= 1 << (i % 64)
		return before
	}
	fields = append(fields, field{"zones", false, func() error {
		return d.array(func(int) error {
			return d.zone(n.Namespace, again, func(i uint64, z layout.Zone, ext []byte) error { return d.edit.SetZone(n, i, z, ext) })
		})
	}})
	if err := d.object(fields); err != nil {
		return err
	}
	var i uint64
	for z, err := range n.All(0, n.ZoneCount) { // those that are not listed are Empty
		if err != nil {
			return err
		}
		if empty := n.EmptyZone(i); !has(i) && z != empty {
			if err := d.edit.SetZone(n, i, empty, nil); err != nil {
				return err
			}
		}
		i++
	}
	return nil
}

// zone reads one zone of n, and calls set with it. again notes that a zone is listed, and reports whether it was before.
func (s *jsonStream) zone(n *layout.Namespace, again func(i uint64) bool, set func(i uint64, z layout.Zone, ext []byte) error) error {
	var dz zone
	var state layout.ZoneState
	var attrs layout.ZoneAttrs
	base := len(s.path)
	err := s.object([]field{
		{"zone", false, func() error {
			if err := s.number(&dz.Zone, math.MaxUint64); err != nil {
				return err
			}
			if err := n.CheckZoneNumber(dz.Zone); err != nil {
				return s.errorf("%v", err)
			}
			if again(dz.Zone) {
				return s.errorf("zone %d is listed twice", dz.Zone)
			}
			return nil
		}},
		{"state", false, func() error {
			if err := s.text(&dz.State); err != nil {
				return err
			}
			var ok bool
			if state, ok = layout.ParseZoneState(dz.State); !ok {
				return s.errorf("invalid zone state %q: must be one of %s", dz.State, strings.Join(layout.ZoneStateKeys(), ", "))
			}
			return nil
		}},
		{"zcap", false, func() error { return s.lba(&dz.Capacity) }},
		{"wp", false, func() error { return s.lbaOrNull(&dz.WP) }},
		{"written", false, func() error { return s.lba(&dz.Written) }},
		{"attributes", true, func() error { return s.attributes(&attrs) }},
		{"attributes-info", true, func() error { return s.number(&dz.AttrsInfo, math.MaxUint8) }},
		{"extension", true, func() error { return s.text(&dz.Extension) }},
	})
	if err != nil {
		return err
	}
	ext, err := hex.DecodeString(dz.Extension)
	if err != nil || len(ext) > n.ExtSize() {
		s.path = append(s.path[:base], ".extension"...)
		return s.errorf("must be hexadecimal, at most %d bytes", n.ExtSize())
	}
	if has := attrs&layout.ZDEV != 0; len(ext) > 0 && !has {
		s.path = append(s.path[:base], ".extension"...)
		return s.errorf("the attributes do not include ZDEV (zone descriptor extension valid)")
	}
	return set(dz.Zone, dz.zone(n.EmptyZone(dz.Zone), state, attrs), ext)
}

// attributes reads a list of names of attributes.
func (s *jsonStream) attributes(to *layout.ZoneAttrs) error {
	return s.array(func(int) error {
		var name string
		if err := s.text(&name); err != nil {
			return err
		}
		a, ok := layout.ParseZoneAttr(name)
		if !ok {
			return s.errorf("unknown attribute %q", name)
		}
		*to |= a
		return nil
	})
}

// zone is the Empty zone z changed to what dz says.
func (dz *zone) zone(z layout.Zone, state layout.ZoneState, attrs layout.ZoneAttrs) layout.Zone {
	z.State, z.Cap, z.Written = state, dz.Capacity, z.Start+min(dz.Written, math.MaxUint64-z.Start)
	z.Attrs, z.AttrsInfo = attrs, uint8(dz.AttrsInfo)
	z.WP = layout.NoWP
	if dz.WP != nil {
		z.WP = *dz.WP
	}
	if z.State == layout.NotWP {
		z.Type = layout.Conventional
	}
	return z
}
