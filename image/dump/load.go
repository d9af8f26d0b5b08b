package dump

import (
	"io"
	"iter"
	"math"
	"math/bits"

	"zimg/layout"
)

// Load reads a dump by itself, as the metadata of an image that is to be made of it: without the identities of
// namespaces, and without data. Neither the geometry nor the zones are judged: image.CreateOptions.Complete and package fsck
// do that. The zones that the dump lists are kept in memory.
func Load(r io.Reader) (*layout.Metadata, error) {
	l := &loader{jsonStream: newJSONStream(r), m: &layout.Metadata{}}
	var uuid, state string
	err := l.object([]field{
		{"format", false, func() error { return l.same(formatName) }},
		{"version", false, func() error { return l.same(uint64(version)) }},
		{"uuid", true, func() error { return l.text(&uuid) }},
		{"state", true, func() error { return l.text(&state) }},
		{"label", false, func() error {
			if err := l.text(&l.m.Label); err != nil {
				return err
			}
			if err := layout.CheckLabel(l.m.Label); err != nil {
				return l.errorf("%v", err)
			}
			return nil
		}},
		{"namespaces", false, func() error { return l.array(l.namespace) }},
	})
	if err == nil {
		err = l.end()
	}
	if err != nil {
		return nil, err
	}
	return l.m, nil
}

// loader reads a dump without an image.
type loader struct {
	*jsonStream
	m *layout.Metadata
}

// namespace reads namespace number index of the list. Its geometry comes before its zones.
func (l *loader) namespace(index int) error {
	if index >= layout.MaxNamespaces {
		return l.errorf("more than %d namespaces", layout.MaxNamespaces)
	}
	g := description{numbers: map[string]uint64{}}
	var n *layout.Namespace
	zones := &loadedZones{zones: map[uint64]layout.Zone{}, ext: map[uint64][]byte{}, listed: map[uint64]bool{}}
	var fields []field
	for _, m := range geometryMembers(&layout.Namespace{}) {
		read := func() error {
			var v uint64
			err := l.number(&v, math.MaxInt64)
			g.numbers[m.key] = v
			return err
		}
		if _, ok := m.value.(bool); ok {
			read = func() error {
				var v uint64
				err := l.flag(&v)
				g.numbers[m.key] = v
				return err
			}
		}
		if m.key == "type" {
			read = func() error { return l.text(&g.kind) }
		}
		fields = append(fields, field{m.key, m.optional, read})
	}
	fields = append(fields, field{"zones", false, func() (err error) {
		if n, err = g.namespace(l.jsonStream); err != nil {
			return err
		}
		zones.n = n
		return l.array(func(int) error { return l.zone(n, zones.again, zones.set) })
	}})
	if err := l.object(fields); err != nil {
		return err
	}
	l.m.Namespaces = append(l.m.Namespaces, n)
	if n.Zoned() {
		l.m.Zones = append(l.m.Zones, zones)
	} else {
		l.m.Zones = append(l.m.Zones, nil)
	}
	return nil
}

// description is what a dump says about a namespace.
type description struct {
	kind    string
	numbers map[string]uint64
}

// namespace is the namespace of that geometry; s is where errors are.
func (g *description) namespace(s *jsonStream) (*layout.Namespace, error) {
	n := &layout.Namespace{}
	for _, m := range geometryMembers(n) {
		if _, given := g.numbers[m.key]; !given && !m.optional && m.key != "type" {
			return nil, s.errorf("must come after %q", m.key)
		}
	}
	switch g.kind {
	case layout.ZNS.String():
		n.CSI = layout.ZNS
	case layout.NVM.String():
	default:
		return nil, s.errorf("the type %q of the namespace is not %s or %s", g.kind, layout.ZNS, layout.NVM)
	}
	block := g.numbers["block-size"]
	if bits.OnesCount64(block) != 1 {
		return nil, s.errorf("the block size %d is not a power of two", block)
	}
	n.BlockBits = uint8(bits.TrailingZeros64(block))
	for _, m := range geometryMembers(n) {
		if m.set == nil {
			continue
		}
		v := g.numbers[m.key]
		if v > m.limit {
			return nil, s.errorf("%s %d is above %d", m.key, v, m.limit)
		}
		m.set(v)
	}
	return n, nil
}

// loadedZones are the zones of a dump; those that it does not list are Empty.
type loadedZones struct {
	n      *layout.Namespace
	zones  map[uint64]layout.Zone
	ext    map[uint64][]byte
	listed map[uint64]bool
}

func (d *loadedZones) again(i uint64) bool {
	before := d.listed[i]
	d.listed[i] = true
	return before
}

func (d *loadedZones) set(i uint64, z layout.Zone, ext []byte) error {
	d.zones[i] = z
	if len(ext) > 0 {
		d.ext[i] = append(ext, make([]byte, d.n.ExtSize()-len(ext))...)
	}
	return nil
}

// Zone returns zone i.
func (d *loadedZones) Zone(i uint64) (layout.Zone, error) {
	if z, ok := d.zones[i]; ok {
		return z, nil
	}
	return d.n.EmptyZone(i), nil
}

// Extension returns the extension of zone i, all zeroes if the dump has none.
func (d *loadedZones) Extension(i uint64) ([]byte, error) {
	if ext, ok := d.ext[i]; ok || d.n.ZDES == 0 {
		return ext, nil
	}
	return make([]byte, d.n.ExtSize()), nil
}

// All yields count zones from first on.
func (d *loadedZones) All(first, count uint64) iter.Seq2[layout.Zone, error] {
	return func(yield func(layout.Zone, error) bool) {
		for i := first; i < first+count; i++ {
			if !yield(d.Zone(i)) {
				return
			}
		}
	}
}
