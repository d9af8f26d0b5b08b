// Package gzoned reads and writes the metadata of FreeBSD's GEOM class ZONED, gzoned(8), at the
// end of its provider. Source of the layout: freebsd-src sys/geom/zoned, format version 1 of 2026,
// young enough to change.
//
//	 0                  zones*size        M-S-T*S          M-S*T              M-S
//	+------------------+-----------------+----------------+------------------+-----------+
//	| data             | unused          | table header   | entries, 16 bytes| metadata  |
//	+------------------+-----------------+----------------+------------------+-----------+
//	 M: length of the provider; S: its sector size; T = 1 + ceil(16 * zones / S). Little-endian.
package gzoned

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"strings"

	"zimg/image/foreign"
	"zimg/layout"
)

var le = binary.LittleEndian

// Offsets in the metadata sector, the table header and an entry.
const (
	Magic      = "GEOM::ZONED"
	TableMagic = "GEOM::ZONEDTBL"
	EntryLen   = 16
	// shortEntryLen is that of an entry in the layouts from August 2026 on.
	shortEntryLen = 8
	Version       = 1
	MaxRanges     = 16

	OffVersion  = 16
	OffID       = 20
	OffZoneSize = 24
	OffZones    = 32
	OffSector   = 36
	OffLength   = 40
	OffRanges   = 48
	OffRange0   = 52
	OffFlags    = 308
	OffMaxOpen  = 312
	metaLen     = 316
	flagsKnown  = 1 // reads beyond the write pointer fail

	tabVersion = 16
	tabZones   = 20

	entType  = 0
	entCond  = 1
	entFlags = 2
	entWP    = 8
)

// Format is a provider with its metadata.
var Format = &foreign.Format{
	Name: "gzoned", Title: "provider of FreeBSD's gzoned, metadata at its end",
	Shape: foreign.OneFile, Original: "gzoned",
	Holds: foreign.Holds{
		States: foreign.AllStates, Conventional: true, ROWritten: true, Attributes: layout.RZR,
		MaxOpen: true, Geometry: true, BlockSize: true, MinBits: 9, MaxBits: 16,
		Notes: func(*layout.Namespace) []string {
			return []string{"written is the layout of FreeBSD's gzoned of July 2026; later ones, also of version 1, have shorter entries and take all zones of it for Empty"}
		},
		Restrict: func(n *layout.Namespace) error {
			if n.ZoneCount > 1<<32-1 {
				return fmt.Errorf("%d zones, more than 32 bits hold", n.ZoneCount)
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

// isMagic tells whether b begins with magic, padded to 16 bytes with NUL.
func isMagic(b []byte, magic string) bool {
	return len(b) >= 16 && strings.TrimRight(string(b[:16]), "\x00") == magic
}

// provider is a file, laid out.
type provider struct {
	n       *layout.Namespace
	rec     *foreign.Records
	ranges  []convRange
	maxOpen uint32
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
	var m []byte
	for s := 512; s <= len(last) && m == nil; s *= 2 {
		if b := last[len(last)-s:]; isMagic(b, Magic) {
			m = b
		}
	}
	if m == nil {
		return nil, fmt.Errorf("%s: %w: no magic GEOM::ZONED in its last sector", file.Name(), foreign.ErrNotFormat)
	}
	sector, zoneSize, zones := int64(len(m)), le.Uint64(m[OffZoneSize:]), le.Uint32(m[OffZones:])
	at := size - sector
	field := func(name string, off int64, got, want any) error {
		return foreign.Field(file, "gzoned metadata", name, at+off, got, want)
	}
	switch {
	case int64(le.Uint32(m[OffSector:])) != sector && int64(le.Uint32(m[OffZones:])) == sector:
		return nil, fmt.Errorf("%s: the layout of a later gzoned, which keeps no number of zones: %w", file.Name(), foreign.ErrUnsupported)
	case int64(le.Uint32(m[OffSector:])) != sector:
		return nil, field("sector size (gzoned ignores the provider)", OffSector, le.Uint32(m[OffSector:]), sector)
	case le.Uint32(m[OffFlags:])&^flagsKnown != 0:
		return nil, field("flags (gzoned refuses the provider)", OffFlags, fmt.Sprintf("%#x", le.Uint32(m[OffFlags:])), "0 or 1")
	case le.Uint32(m[OffVersion:]) != Version:
		return nil, field("version (gzoned ignores the provider)", OffVersion, le.Uint32(m[OffVersion:]), Version)
	case le.Uint64(m[OffLength:]) != uint64(size):
		return nil, field("provider size (gzoned ignores the provider)", OffLength, le.Uint64(m[OffLength:]), size)
	case zoneSize == 0 || zoneSize%uint64(sector) != 0:
		return nil, field("zone size", OffZoneSize, zoneSize, fmt.Sprintf("a multiple of %d", sector))
	case le.Uint32(m[OffRanges:]) > MaxRanges:
		return nil, field("conventional ranges (gzoned refuses the provider)", OffRanges, le.Uint32(m[OffRanges:]), "at most 16")
	}
	table := at - (1+(EntryLen*int64(zones)+sector-1)/sector)*sector
	if zones == 0 || table < 0 || zoneSize > uint64(table)/uint64(zones) {
		return nil, field("number of zones", OffZones, zones, fmt.Sprintf("as many as fit %d bytes", size))
	}
	p := &provider{maxOpen: le.Uint32(m[OffMaxOpen:]), n: &layout.Namespace{
		ID: 1, CSI: layout.ZNS, BlockBits: uint8(bits.TrailingZeros64(uint64(sector))), ZoneCount: uint64(zones), MAR: layout.NoLimit,
		MOR: layout.ZeroBased(le.Uint32(m[OffMaxOpen:])),
	}}
	n := p.n // its MAR is NoLimit: gzoned limits open zones alone
	n.ZoneSize = layout.LBA(zoneSize >> n.BlockBits)
	n.ZoneCap, n.Blocks = n.ZoneSize, layout.LBA(zones)*n.ZoneSize
	for k := range int64(le.Uint32(m[OffRanges:])) {
		r := convRange{le.Uint64(m[OffRange0+16*k:]), le.Uint64(m[OffRange0+16*k+8:])}
		if r.first >= n.ZoneCount || r.count == 0 || r.count > n.ZoneCount-r.first {
			return nil, field("conventional range (gzoned refuses the provider)", OffRange0+16*k, fmt.Sprintf("%d+%d", r.first, r.count), fmt.Sprintf("within %d zones", zones))
		}
		p.ranges = append(p.ranges, r)
	}
	p.rec = &foreign.Records{File: file, Off: table + sector, Len: EntryLen, Count: n.ZoneCount, Decode: p.zone}
	if err := p.rec.CheckRoom(); err != nil {
		return nil, err
	}
	if err := n.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", file.Name(), err)
	}
	d := &foreign.Decoded{Facts: []foreign.Fact{{Key: "version", Value: "1"}, {Key: "id", Value: fmt.Sprintf("%#x", le.Uint32(m[OffID:]))}}}
	head := make([]byte, 24)
	if short := at - (1+(shortEntryLen*int64(zones)+sector-1)/sector)*sector; short != table {
		if err := foreign.ReadFull(file, head, short); err != nil {
			return nil, err
		}
		if isMagic(head, TableMagic) {
			return nil, fmt.Errorf("%s: the layout of a later gzoned, with entries of %d bytes: %w", file.Name(), shortEntryLen, foreign.ErrUnsupported)
		}
	}
	if err := foreign.ReadFull(file, head, table); err != nil {
		return nil, err
	}
	if !isMagic(head, TableMagic) || le.Uint32(head[tabVersion:]) != Version || le.Uint32(head[tabZones:]) != zones {
		p.noTable = true
		d.Problems = append(d.Problems, foreign.Problem{Verdict: foreign.Wiped, File: file.Name(), Off: table, Text: "the zone table's header is missing or wrong: gzoned takes all zones for Empty"})
	}
	c := &foreign.Content{NS: n, Zones: p.rec, Data: foreign.Linear(file, 0, int64(n.Size()))}
	if p.noTable && len(bytes.Trim(head, "\x00")) == 0 { // as gzoned create leaves it, until the first flush
		c.Zones = &foreign.Mapped{Zones: p.rec, Map: func(i uint64, z layout.Zone) layout.Zone {
			if z.Type == layout.Conventional {
				return z
			}
			return n.EmptyZone(i)
		}}
		d.Problems, d.Facts = nil, append(d.Facts, foreign.Fact{Key: "zone table", Value: "not written yet: all zones are Empty"})
	}
	d.Contents = []*foreign.Content{c}
	d.Walk = p.check
	return d, nil
}

// conventional tells whether zone i is; the metadata's ranges decide, not the entry.
func (p *provider) conventional(i uint64) bool {
	for _, r := range p.ranges {
		if i >= r.first && i-r.first < r.count {
			return true
		}
	}
	return false
}

func (p *provider) zone(i uint64, b []byte) (layout.Zone, error) {
	if p.conventional(i) {
		return foreign.ConventionalZone(p.n, i), nil
	}
	z := foreign.FromZBC(p.n, i, uint8(layout.SeqWriteRequired), b[entCond], layout.LBA(i)*p.n.ZoneSize, layout.LBA(le.Uint64(b[entWP:])))
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
		at := foreign.Problem{File: p.rec.File.Name(), Off: p.rec.Off + int64(i)*EntryLen, Zone: i, InZone: true}
		start := uint64(i) * uint64(p.n.ZoneSize)
		wp := le.Uint64(b[entWP:])
		switch {
		case wp < start || wp > start+uint64(p.n.ZoneSize):
			at.Verdict, at.Off, at.Got, at.Want = foreign.Wiped, at.Off+entWP, fmt.Sprint(wp), fmt.Sprintf("%d to %d", start, start+uint64(p.n.ZoneSize))
			at.Text = "write pointer outside the zone; gzoned resets the zone"
		case b[entType] != uint8(layout.SeqWriteRequired):
			at.Verdict, at.Off, at.Got, at.Want, at.Text = foreign.Odd, at.Off+entType, fmt.Sprint(b[entType]), "2", "zone type; the ranges in the metadata win"
		case layout.ZoneState(b[entCond]).Open():
			at.Verdict, at.Off, at.Text = foreign.Changed, at.Off+entCond, "open; gzoned leaves it so and counts it, an import closes it"
		default:
			return nil
		}
		return found(at)
	})
}

func encode(out *foreign.Output) error {
	n := out.NS
	file, err := out.Create(out.Path)
	if err != nil {
		return err
	}
	var ranges []convRange
	var i uint64
	for z, err := range out.Zones.All(0, n.ZoneCount) {
		if err != nil {
			return err
		}
		if z.Type == layout.Conventional {
			if k := len(ranges) - 1; k >= 0 && ranges[k].first+ranges[k].count == i {
				ranges[k].count++
			} else {
				ranges = append(ranges, convRange{i, 1})
			}
		}
		i++
	}
	if len(ranges) > MaxRanges {
		return layout.Errorf(layout.ErrGeometry, "%d ranges of conventional zones, gzoned has at most %d", len(ranges), MaxRanges)
	}
	sector := n.BlockSize()
	size := providerSize(n)
	table := size - sector - (1+(EntryLen*int64(n.ZoneCount)+sector-1)/sector)*sector
	if err := file.Truncate(size); err != nil {
		return err
	}
	if err := out.CopyLinear(file, 0); err != nil {
		return err
	}
	head := make([]byte, 24)
	copy(head, TableMagic)
	le.PutUint32(head[tabVersion:], Version)
	le.PutUint32(head[tabZones:], uint32(n.ZoneCount))
	if _, err := file.WriteAt(head, table); err != nil {
		return err
	}
	err = foreign.Write(file, table+sector, EntryLen, out.Zones, n.ZoneCount, func(_ uint64, z layout.Zone, b []byte) error {
		b[entType], b[entCond] = uint8(z.Type), uint8(z.State)
		if z.Attrs&layout.RZR != 0 {
			b[entFlags] = 1
		}
		wp := uint64(foreign.ZBCWP(n, z))
		if z.Type == layout.Conventional {
			wp = uint64(layout.NoWP)
		}
		le.PutUint64(b[entWP:], wp)
		return nil
	})
	if err != nil {
		return err
	}
	m := make([]byte, metaLen)
	copy(m, Magic)
	le.PutUint32(m[OffVersion:], Version)
	le.PutUint32(m[OffID:], rand.Uint32())
	le.PutUint64(m[OffZoneSize:], uint64(n.ByteOff(n.ZoneSize)))
	le.PutUint32(m[OffZones:], uint32(n.ZoneCount))
	le.PutUint32(m[OffSector:], uint32(sector))
	le.PutUint64(m[OffLength:], uint64(size))
	le.PutUint32(m[OffRanges:], uint32(len(ranges)))
	for k, r := range ranges {
		le.PutUint64(m[OffRange0+16*k:], r.first)
		le.PutUint64(m[OffRange0+16*k+8:], r.count)
	}
	le.PutUint32(m[OffMaxOpen:], uint32(min(n.MaxOpen(), n.ZoneCount)))
	if _, err := file.WriteAt(m, size-sector); err != nil {
		return err
	}
	out.Say("gzoned wants sectors of %d bytes and exactly this length: kldload geom_zoned; mdconfig -S %d -f %s", sector, sector, out.Path)
	return nil
}

// providerSize is the length for which gzoned itself would arrive at n's zones: it
// reserves room for as many entries as zones fit the whole provider.
func providerSize(n *layout.Namespace) int64 {
	sector, zone := n.BlockSize(), int64(n.ByteOff(n.ZoneSize))
	size := int64(n.Size())
	for {
		most := size / zone
		next := int64(n.Size()) + 2*sector + int64(layout.RoundUp(layout.Bytes(EntryLen*most), layout.Bytes(sector)))
		if next <= size {
			return size
		}
		size = next
	}
}
