// Package gzoned reads and writes the metadata of FreeBSD's GEOM class ZONED, gzoned(8), at the
// end of its provider. Source of the layouts: sys/geom/zoned/g_zoned.h of freebsd-src, all of format
// version 1; docs/FORMATS.md names the commits.
//
//	gzoned.go  decoding and what gzoned resets    variant.go  the layouts, and how they differ    encode.go
//
//	 0                  zones*size        M-S-T*S          M-S-(T-1)*S        M-S
//	+------------------+-----------------+----------------+------------------+-----------+
//	| data             | unused          | table header   | entries          | metadata  |
//	+------------------+-----------------+----------------+------------------+-----------+
//	 M: length of the provider; S: its sector size; T = 1 + ceil(entry size * zones / S). Little-endian.
package gzoned

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"strings"

	"zimg/image/foreign"
	"zimg/layout"
)

var le = binary.LittleEndian

// What all layouts have in common.
const (
	Magic      = "GEOM::ZONED"
	TableMagic = "GEOM::ZONEDTBL"
	Version    = 1
	MaxRanges  = 16
	OffVersion = 16

	flagsKnown = 1 // reads beyond the write pointer fail
	maxZones   = 1<<32 - 1
	// maxZoneSectors keeps write pointers of 32 bits apart from noWP.
	maxZoneSectors = noWP - 1

	tabVersion = 16
	tabZones   = 20

	entType    = 0
	entCond    = 1
	entFlags   = 2
	entShortWP = 4
	entLongWP  = 8

	noWP = 1<<32 - 1 // of a short entry: the zone has no write pointer
)

// Format is a provider with its metadata.
var Format = &foreign.Format{
	Name: "gzoned", Title: "provider of FreeBSD's gzoned, metadata at its end",
	Shape: foreign.OneFile, Original: "gzoned",
	Holds: foreign.Holds{
		States: foreign.AllStates, Conventional: true, ROWritten: true, Attributes: layout.RZR,
		MaxOpen: true, Geometry: true, BlockSize: true, MinBits: 9, MaxBits: 16,
		Restrict: func(n *layout.Namespace) error {
			if n.ZoneCount > maxZones {
				return fmt.Errorf("it has %d zones; the format has 32 bits for their number", n.ZoneCount)
			}
			if n.ZoneSize > maxZoneSectors {
				return fmt.Errorf("the zone size is %d blocks; gzoned supports at most %d", n.ZoneSize, uint32(maxZoneSectors))
			}
			return nil
		},
	},
	Probe:  probe,
	Decode: decode,
	Encode: encode,
}

// probe looks for the metadata in the last sector, of whatever size that is.
func probe(h *foreign.Head) bool {
	for s := 512; s <= len(h.Last); s *= 2 {
		if isMagic(h.Last[len(h.Last)-s:], Magic) {
			return true
		}
	}
	return false
}

// isMagic reports whether b begins with magic, padded to 16 bytes with NUL.
func isMagic(b []byte, magic string) bool {
	return len(b) >= 16 && strings.TrimRight(string(b[:16]), "\x00") == magic
}

// provider is a file, laid out.
type provider struct {
	n       *layout.Namespace
	rec     *foreign.Records
	ranges  []convRange
	noTable bool
}

// convRange is a range of conventional zones.
type convRange struct{ first, count uint64 }

func decode(in *foreign.Input) (*foreign.Decoded, error) {
	file, err := in.Open(in.Path)
	if err != nil {
		return nil, err
	}
	size, err := file.Size()
	if err != nil {
		return nil, err
	}
	last := make([]byte, min(size, 65536))
	if err := foreign.ReadFull(file, last, size-int64(len(last))); err != nil {
		return nil, err
	}
	var b []byte
	for s := 512; s <= len(last) && b == nil; s *= 2 {
		if l := last[len(last)-s:]; isMagic(l, Magic) {
			b = l
		}
	}
	if b == nil {
		return nil, layout.Errorf(foreign.ErrNotFormat, "%s is not a gzoned provider: its last sector does not begin with GEOM::ZONED", file.Name())
	}
	if v := le.Uint32(b[OffVersion:]); v != Version {
		at := size - int64(len(b)) + OffVersion
		return nil, foreign.Field(file, "gzoned metadata", "version (gzoned ignores the provider)", at, v, Version)
	}
	m, err := identify(file, b, size)
	if err != nil {
		return nil, err
	}
	entry, err := m.entryLen(file)
	if err != nil {
		return nil, err
	}
	table := m.tableAt(entry)
	n := &layout.Namespace{ // its MAR is NoLimit: gzoned limits open zones alone
		ID: 1, CSI: layout.ZNS, BlockBits: uint8(bits.TrailingZeros64(uint64(m.sector))), ZoneCount: m.zones(),
		MAR: layout.NoLimit, MOR: layout.ZeroBased(m.u32(m.MaxOpen)),
	}
	n.ZoneSize = layout.LBA(le.Uint64(b[m.ZoneSize:]) >> n.BlockBits)
	n.ZoneCap, n.Blocks = n.ZoneSize, layout.LBA(n.ZoneCount)*n.ZoneSize
	p := &provider{n: n, ranges: m.ranges()}
	p.rec = &foreign.Records{File: file, Off: table + m.sector, Len: entry, Count: n.ZoneCount, Decode: p.zone}
	if err := p.rec.CheckRoom(); err != nil {
		return nil, err
	}
	if err := n.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", file.Name(), err)
	}
	d := &foreign.Decoded{Facts: []foreign.Fact{
		{Key: "version", Value: "1"},
		{Key: "layout", Value: m.Name},
		{Key: "zone table", Value: fmt.Sprintf("entries of %d bytes", entry)},
		{Key: "id", Value: fmt.Sprintf("%#x", m.u32(m.ID))},
	}}
	if m.Variant == &Review && entry == shortEntry && len(p.ranges) == 0 && n.MaxOpen() == 1 {
		d.Assumed = append(d.Assumed,
			"at most one zone is open: in a later layout the same bytes stand for no limit and restricted reads")
	}
	head := make([]byte, 24)
	if err := foreign.ReadFull(file, head, table); err != nil {
		return nil, err
	}
	if !isMagic(head, TableMagic) || le.Uint32(head[tabVersion:]) != Version || uint64(le.Uint32(head[tabZones:])) != n.ZoneCount {
		p.noTable = true
		d.Problems = append(d.Problems, foreign.Problem{
			Verdict: foreign.Wiped, File: file.Name(), Off: table,
			Text: "the zone table's header is missing or wrong: gzoned takes all zones for Empty",
		})
	}
	c := &foreign.Content{NS: n, Zones: p.rec, Data: foreign.Linear(file, 0, int64(n.Size()))}
	if p.noTable && len(bytes.Trim(head, "\x00")) == 0 { // as gzoned create leaves it, until the first flush
		c.Zones = &foreign.Mapped{Zones: p.rec, Map: func(i uint64, z layout.Zone) layout.Zone {
			if z.Type == layout.Conventional {
				return z
			}
			return n.EmptyZone(i)
		}}
		d.Problems, d.Facts[2].Value = nil, "not written yet: all zones are Empty"
	}
	d.Contents = []*foreign.Content{c}
	d.Walk = p.check
	return d, nil
}

// conventional reports whether zone i is conventional; the metadata's ranges decide, not the entry.
func (p *provider) conventional(i uint64) bool {
	for _, r := range p.ranges {
		if i >= r.first && i-r.first < r.count {
			return true
		}
	}
	return false
}

// wp is the write pointer of the entry b of zone i, as a block of the device.
func (p *provider) wp(i uint64, b []byte) uint64 {
	if len(b) == longEntry {
		return le.Uint64(b[entLongWP:])
	}
	wp := le.Uint32(b[entShortWP:])
	if wp == noWP {
		return uint64(layout.NoWP)
	}
	return i*uint64(p.n.ZoneSize) + uint64(wp)
}

func (p *provider) zone(i uint64, b []byte) (layout.Zone, error) {
	if p.conventional(i) {
		return foreign.ConventionalZone(p.n, i), nil
	}
	start := layout.LBA(i) * p.n.ZoneSize
	z := foreign.FromZBC(p.n, i, uint8(layout.SeqWriteRequired), b[entCond], start, layout.LBA(p.wp(i, b)))
	if b[entFlags]&1 != 0 {
		z.Attrs |= layout.RZR
	}
	return z, nil
}

// check finds what gzoned resets when it tastes the provider.
func (p *provider) check(found func(foreign.Problem) error) error {
	return p.rec.Each(0, p.n.ZoneCount, func(i uint64, b []byte) error {
		if p.conventional(i) || p.noTable {
			return nil
		}
		at := foreign.Problem{File: p.rec.File.Name(), Off: p.rec.Off + int64(i)*int64(p.rec.Len), Zone: i, InZone: true}
		start := i * uint64(p.n.ZoneSize)
		end, wp := start+uint64(p.n.ZoneSize), p.wp(i, b)
		switch {
		case wp < start || wp > end:
			at.Verdict, at.Off = foreign.Wiped, at.Off+int64(len(b)/2)
			at.Got, at.Want = fmt.Sprint(wp), fmt.Sprintf("%d to %d", start, end)
			at.Text = "write pointer outside the zone; gzoned resets the zone"
		case b[entType] != uint8(layout.SeqWriteRequired):
			at.Verdict, at.Off, at.Got, at.Want = foreign.Odd, at.Off+entType, fmt.Sprint(b[entType]), "2"
			at.Text = "zone type; the ranges in the metadata win"
		case layout.ZoneState(b[entCond]).Open():
			at.Verdict, at.Off = foreign.Changed, at.Off+entCond
			at.Text = "open; gzoned leaves it open and counts it, an import closes it"
		default:
			return nil
		}
		return found(at)
	})
}
