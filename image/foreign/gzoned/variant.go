package gzoned

import (
	"fmt"

	"zimg/image/disk"
	"zimg/image/foreign"
)

// Variant is one of the layouts of version 1, which changed while FreeBSD reviewed the class: offsets in the
// metadata sector, 0 for a field that it does not have.
type Variant struct {
	Name     string
	ID       int
	ZoneSize int
	Zones    int // without it the number of zones follows from the length of the provider
	Sector   int
	Length   int
	Ranges   int // how many ranges of conventional zones there are
	Range0   int // each 16 bytes: first zone and number of zones
	Flags    int
	MaxOpen  int
	Len      int // bytes of metadata
	Entry    int // bytes of an entry of the zone table; 0: the table shows it
}

// Merged is the layout of the class as FreeBSD merged it; it is the one that is written.
var Merged = Variant{
	Name: "merged (since August 30, 2026)", ID: 20, ZoneSize: 24, Sector: 32, Ranges: 36, Length: 40, Range0: 48,
	Flags: 304, MaxOpen: 308, Len: 312, Entry: shortEntry,
}

// Review is the layout of July and August 2026. Its entries had 16 bytes at first and 8 bytes later.
var Review = Variant{
	Name: "review (July and August 2026)", ID: 20, ZoneSize: 24, Zones: 32, Sector: 36, Length: 40, Ranges: 48, Range0: 52,
	Flags: 308, MaxOpen: 312, Len: 316,
}

// Padded is Review with its ranges aligned to 8 bytes.
var Padded = Variant{
	Name: "review, aligned (August 2026)", ID: 20, ZoneSize: 24, Zones: 32, Sector: 36, Length: 40, Ranges: 48, Range0: 56,
	Flags: 312, MaxOpen: 316, Len: 320, Entry: shortEntry,
}

// Named is the first layout, in which the metadata names the device. It has no conventional zones.
var Named = Variant{
	Name: "first (before July 2026)", ID: 36, ZoneSize: 40, Zones: 48, Sector: 52, Length: 56, Len: 64,
	Entry: longEntry,
}

// variants are in the order in which they are tried: fields of the earlier ones cannot be taken for
// fields of the later ones.
var variants = []*Variant{&Review, &Padded, &Merged, &Named}

// Sizes of an entry of the zone table: with a write pointer of 64 bits counted from the start of the device, or
// with one of 32 bits counted from the start of the zone.
const (
	longEntry  = 16
	shortEntry = 8
)

// metadata is the last sector of a provider.
type metadata struct {
	*Variant
	b      []byte
	sector int64
	size   int64 // of the provider, bytes
}

func (m *metadata) u32(off int) uint32 {
	if off == 0 {
		return 0
	}
	return le.Uint32(m.b[off:])
}

// zones is the number of zones.
func (m *metadata) zones() uint64 {
	if m.Zones != 0 {
		return uint64(m.u32(m.Zones))
	}
	return zonesOf(uint64(m.size), le.Uint64(m.b[m.ZoneSize:]), uint64(m.sector))
}

// zonesOf is the number of zones that gzoned makes of a provider of size bytes. It reserves room for as many
// entries as zones fit the whole provider.
func zonesOf(size, zone, sector uint64) uint64 {
	if zone == 0 {
		return 0
	}
	entries := (size/zone*shortEntry + sector - 1) / sector * sector
	if reserve := 2*sector + entries; size > reserve {
		return (size - reserve) / zone
	}
	return 0
}

// tableAt is the offset of the header of a zone table with entries of entry bytes. It is negative
// if there is no room.
func (m *metadata) tableAt(entry int) int64 {
	s := uint64(m.sector)
	sectors := 2 + (m.zones()*uint64(entry)+s-1)/s
	if sectors > uint64(m.size)/s {
		return -1
	}
	return m.size - int64(sectors*s)
}

// check says which field is wrong, and nil if the metadata is sound.
func (m *metadata) check(file disk.File) error {
	at := m.size - m.sector
	field := func(name string, off int, got, want any) error {
		return foreign.Field(file, "gzoned metadata", name, at+int64(off), got, want)
	}
	zoneSize := le.Uint64(m.b[m.ZoneSize:])
	switch {
	case int64(m.u32(m.Sector)) != m.sector:
		return field("sector size (gzoned ignores the provider)", m.Sector, m.u32(m.Sector), m.sector)
	case le.Uint64(m.b[m.Length:]) != uint64(m.size):
		return field("provider size (gzoned ignores the provider)", m.Length, le.Uint64(m.b[m.Length:]), m.size)
	case m.u32(m.Flags)&^flagsKnown != 0:
		return field("flags (gzoned refuses the provider)", m.Flags, fmt.Sprintf("%#x", m.u32(m.Flags)), "0 or 1")
	case zoneSize == 0 || zoneSize%uint64(m.sector) != 0:
		return field("zone size", m.ZoneSize, zoneSize, fmt.Sprintf("a multiple of %d", m.sector))
	case m.u32(m.Ranges) > MaxRanges:
		return field("conventional ranges (gzoned refuses the provider)", m.Ranges, m.u32(m.Ranges), "at most 16")
	}
	if end := le.Uint32(m.b[Review.Len:]); m.Variant == &Review && end != 0 {
		return field("bytes after the metadata", Review.Len, end, 0) // the limit of Padded
	}
	zones, table := m.zones(), m.tableAt(max(m.Entry, shortEntry))
	if zones == 0 || zones > maxZones || table < 0 || zoneSize > uint64(table)/zones {
		return field("number of zones", m.Zones, zones, fmt.Sprintf("as many as fit %d bytes", m.size))
	}
	for k, r := range m.ranges() {
		if r.first >= zones || r.count == 0 || r.count > zones-r.first {
			return field("conventional range (gzoned refuses the provider)", m.Range0+16*k, fmt.Sprintf("%d+%d", r.first, r.count),
				fmt.Sprintf("within %d zones", zones))
		}
	}
	return nil
}

// ranges are the ranges of conventional zones.
func (m *metadata) ranges() []convRange {
	var list []convRange
	for k := range int(min(m.u32(m.Ranges), MaxRanges)) {
		b := m.b[m.Range0+16*k:]
		list = append(list, convRange{le.Uint64(b), le.Uint64(b[8:])})
	}
	return list
}

// identify finds the variant of the metadata in sector b. Where none fits, the error is about the one whose sector
// size and length do, as they differ in where these are.
func identify(file disk.File, b []byte, size int64) (*metadata, error) {
	var why error
	best := -1
	for _, v := range variants {
		m := &metadata{Variant: v, b: b, sector: int64(len(b)), size: size}
		err := m.check(file)
		if err == nil {
			return m, nil
		}
		fits := 0
		if int64(m.u32(v.Sector)) == m.sector {
			fits++
		}
		if le.Uint64(b[v.Length:]) == uint64(size) {
			fits++
		}
		if fits > best {
			why, best = err, fits
		}
	}
	if best == 0 {
		return nil, fmt.Errorf("%s: a layout of gzoned that is not known: no known layout has its sector size and length: %w",
			file.Name(), foreign.ErrUnsupported)
	}
	return nil, why
}

// entryLen finds the size of the entries of the zone table. Where both sizes are possible, a table header shows
// it, and where both would put the header in the same place, the entries do: of n long entries the last has a zone
// type after n short ones, where a table of short ones has zeroes.
func (m *metadata) entryLen(file disk.File) (int, error) {
	if m.Entry != 0 {
		return m.Entry, nil
	}
	long, short := m.tableAt(longEntry), m.tableAt(shortEntry)
	if long < 0 {
		return shortEntry, nil
	}
	if long != short {
		for _, e := range []struct {
			at   int64
			size int
		}{{short, shortEntry}, {long, longEntry}} {
			head := make([]byte, 16)
			if err := foreign.ReadFull(file, head, e.at); err != nil {
				return 0, err
			}
			if isMagic(head, TableMagic) {
				return e.size, nil
			}
		}
	}
	last := make([]byte, longEntry)
	if err := foreign.ReadFull(file, last, long+m.sector+longEntry*int64(m.zones()-1)); err != nil {
		return 0, err
	}
	tell := last[:1]
	if m.zones() == 1 {
		tell = last[shortEntry:]
	}
	for _, b := range tell {
		if b != 0 {
			return longEntry, nil
		}
	}
	return shortEntry, nil
}
