package dump

import (
	"encoding/hex"
	"io"
	"math"
	"slices"

	"zimg/image"
	"zimg/layout"
)

// Read puts the label and the zones of a dump into im, in memory, for the caller to judge before it commits the edit. The
// geometry of the dump must be that of im, whose zones are judged first (layout.ErrDamaged).
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
	var uuid, label string
	count := 0
	err := d.object([]field{
		{"format", false, func() error { return d.same(formatName) }},
		{"version", false, func() error { return d.same(uint64(version)) }},
		{"uuid", true, func() error { return d.text(&uuid) }}, // for people: a dump may go to another image
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
func (d *undumper) same(want any) error {
	var err error
	var got any
	switch want.(type) {
	case string:
		var s string
		err = d.text(&s)
		got = s
	default:
		var n uint64
		err = d.number(&n, math.MaxUint64)
		got = n
	}
	if err == nil && got != want {
		err = d.errorf("%v instead of %v", got, want)
	}
	return err
}

func (d *undumper) namespace(n *image.Namespace) error {
	var fields []field
	for _, m := range geometryMembers(n.Namespace) {
		fields = append(fields, field{m.key, false, func() error {
			if err := d.same(m.value); err != nil {
				return &image.HintError{Err: err, Hint: "the geometry of the dump differs from that of " + d.im.Path() + "; only zones can be restored"}
			}
			return nil
		}})
	}
	listed := make([]uint64, (n.ZoneCount+63)/64) // a bit a zone
	fields = append(fields, field{"zones", false, func() error {
		return d.array(func(int) error { return d.zone(n, listed) })
	}})
	if err := d.object(fields); err != nil {
		return err
	}
	var i uint64
	for z, err := range n.All(0, n.ZoneCount) { // which are not listed are Empty
		if err != nil {
			return err
		}
		if empty := n.EmptyZone(i); listed[i/64]&(1<<(i%64)) == 0 && z != empty {
			if err := d.edit.SetZone(n, i, empty, nil); err != nil {
				return err
			}
		}
		i++
	}
	return nil
}

// zone reads one zone and sets it.
func (d *undumper) zone(n *image.Namespace, listed []uint64) error {
	var dz zone
	base := len(d.path)
	err := d.object([]field{
		{"zone", false, func() error {
			if err := d.number(&dz.Zone, math.MaxUint64); err != nil {
				return err
			}
			if _, err := n.Zone(dz.Zone); err != nil {
				return d.errorf("%v", err)
			}
			if listed[dz.Zone/64]&(1<<(dz.Zone%64)) != 0 {
				return d.errorf("zone %d is listed twice", dz.Zone)
			}
			listed[dz.Zone/64] |= 1 << (dz.Zone % 64)
			return nil
		}},
		{"state", false, func() error {
			if err := d.text(&dz.State); err != nil {
				return err
			}
			if stateIndex(dz.State) < 0 {
				return d.errorf("invalid zone state %q: must be one of %v", dz.State, layout.ZoneStates)
			}
			return nil
		}},
		{"capacity", false, func() error { return d.lba(&dz.Capacity) }},
		{"write-pointer", false, func() error { return d.lbaOrNull(&dz.WP) }},
		{"written", false, func() error { return d.lba(&dz.Written) }},
		{"attributes", true, func() error { return d.number(&dz.Attributes, math.MaxUint8) }},
		{"attributes-info", true, func() error { return d.number(&dz.AttrsInfo, math.MaxUint8) }},
		{"extension", true, func() error { return d.text(&dz.Extension) }},
	})
	if err != nil {
		return err
	}
	ext, err := hex.DecodeString(dz.Extension)
	if err != nil || len(ext) > n.ExtSize() {
		d.path = append(d.path[:base], ".extension"...)
		return d.errorf("must be hexadecimal, at most %d bytes", n.ExtSize())
	}
	if has := dz.Attributes&uint64(layout.ZDEV) != 0; len(ext) > 0 && !has {
		d.path = append(d.path[:base], ".extension"...)
		return d.errorf("the attributes lack bit %#x (zone descriptor extension valid)", layout.ZDEV)
	}
	return d.edit.SetZone(n, dz.Zone, dz.zone(n.EmptyZone(dz.Zone)), ext)
}

func stateIndex(name string) int {
	return slices.IndexFunc(layout.ZoneStates[:], func(s layout.ZoneState) bool { return s.String() == name })
}

// zone is dz put over the zone z.
func (dz *zone) zone(z layout.Zone) layout.Zone {
	z.State, z.Cap, z.Written = layout.ZoneStates[stateIndex(dz.State)], dz.Capacity, dz.Written
	z.Attrs, z.AttrsInfo = layout.ZoneAttrs(dz.Attributes), uint8(dz.AttrsInfo)
	z.WP = layout.NoWP
	if dz.WP != nil {
		z.WP = *dz.WP
	}
	if z.State == layout.NotWP {
		z.Type = layout.Conventional
	}
	return z
}
