// Package zbddump reads and writes what zbd dump makes of a zoned block device and zbd
// restore puts back (zbd-utils, tools/cli/zbd_dump.c, unchanged since 2021): PREFIX_zone_info.dump and
// PREFIX_zone_data.dump.
//
//	 0                          192                        192 + 64 * zones
//	+--------------------------+---------------------------+
//	| device information       | zones, 64 bytes each      |
//	+--------------------------+---------------------------+
//
// The data file is as long as the device, with each zone's data at its place. Sizes are in bytes
// unless a name says otherwise, integers in host order: little-endian.
package zbddump

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"strings"

	"zimg/image/disk"
	"zimg/image/foreign"
	"zimg/layout"
)

var le = binary.LittleEndian

// Offsets in the information file; those of the C structs of libzbd.
const (
	HeaderLen = 192
	RecordLen = 64

	OffVendor      = 0
	OffSectors     = 32
	OffLBlocks     = 40
	OffPBlocks     = 48
	OffZoneSize    = 56
	OffZoneSectors = 64
	OffLBlockSize  = 68
	OffPBlockSize  = 72
	OffZones       = 76
	OffMaxOpen     = 80
	OffMaxActive   = 84
	OffModel       = 88
	OffFirst       = 128
	OffEnd         = 132

	RecStart = 0
	RecLen   = 8
	RecCap   = 16
	RecWP    = 24
	RecFlags = 32
	RecType  = 36
	RecCond  = 40
)

// Names of the two files, after the prefix.
const (
	infoSuffix = "_zone_info.dump"
	dataSuffix = "_zone_data.dump"
)

// Format is a dump.
var Format = &foreign.Format{
	Name: "zbd-dump", Title: "what zbd dump makes of a device and zbd restore puts back (zbd-utils)",
	Shape: foreign.Prefix, Original: "zbd restore",
	Holds: foreign.Holds{
		States: foreign.AllStates, Conventional: true, Capacity: true, ROWritten: true,
		Limits: true, Geometry: true, BlockSize: true, MinBits: 9, MaxBits: 16,
		Attributes: layout.RZR,
		Restrict: func(n *layout.Namespace) error {
			if n.ZoneCount > 1<<32-1 || int64(n.ByteOff(n.ZoneSize))/512 > 1<<32-1 {
				return fmt.Errorf("it has %d zones of %d bytes; the format has 32 bits for each number", n.ZoneCount, n.ByteOff(n.ZoneSize))
			}
			return nil
		},
	},
	Named:  named,
	Decode: decode,
	Encode: encode,
}

// named reports whether path is either file of a dump, or the prefix of both where nothing else has that name.
func named(fsys disk.FS, path string) bool {
	p := prefix(path)
	for _, suffix := range []string{infoSuffix, dataSuffix} {
		if info, err := fsys.Stat(p + suffix); err != nil || !info.Mode().IsRegular() {
			return false
		}
	}
	if p != path {
		return true
	}
	_, err := fsys.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// prefix is what the names of both files begin with; path may be either of them.
func prefix(path string) string {
	return strings.TrimSuffix(strings.TrimSuffix(path, infoSuffix), dataSuffix)
}

// dump is an information file.
type dump struct {
	n          *layout.Namespace
	rec        *foreign.Records
	first, end uint64 // the zones whose data was dumped
}

func decode(in *foreign.Input) (*foreign.Decoded, error) {
	info, err := in.Open(prefix(in.Path) + infoSuffix)
	if err != nil {
		return nil, err
	}
	h := make([]byte, HeaderLen)
	if err := foreign.ReadFull(info, h, 0); err != nil {
		return nil, err
	}
	field := func(name string, off int64, got, want any) error {
		return foreign.Field(info, "dump header", name, off, got, want)
	}
	block, zoneSize, zones := le.Uint32(h[OffLBlockSize:]), le.Uint64(h[OffZoneSize:]), le.Uint32(h[OffZones:])
	switch {
	case le.Uint32(h[OffModel:]) != 1:
		return nil, field("model (1 host-managed)", OffModel, le.Uint32(h[OffModel:]), 1)
	case block < 512 || block > 65536 || bits.OnesCount32(block) != 1:
		return nil, field("logical block size", OffLBlockSize, block, "a power of two from 512 to 65536")
	case zoneSize == 0 || zoneSize%uint64(block) != 0:
		return nil, field("zone size", OffZoneSize, zoneSize, fmt.Sprintf("a multiple of %d", block))
	case zones == 0 || zoneSize > 1<<61/uint64(zones):
		return nil, field("number of zones", OffZones, zones, "what a file can hold")
	}
	b := uint8(bits.TrailingZeros32(block))
	n := &layout.Namespace{
		ID: 1, CSI: layout.ZNS, BlockBits: b, ZoneCount: uint64(zones), ZoneSize: layout.LBA(zoneSize >> b),
	}
	n.MOR, n.MAR = layout.Limits(limit(le.Uint32(h[OffMaxOpen:])), limit(le.Uint32(h[OffMaxActive:])))
	n.Blocks = layout.LBA(n.ZoneCount) * n.ZoneSize
	d := &foreign.Decoded{}
	if left, want := le.Uint64(h[OffSectors:]), uint64(n.Size())/512; left < want {
		last := uint64(n.Size()) - left*512
		if last >= zoneSize {
			return nil, field("512-byte sectors", OffSectors, left, want)
		}
		return nil, fmt.Errorf("the last zone is smaller than the others (%d sectors in all), which is %w", left, foreign.ErrUnsupported)
	}
	p := &dump{n: n, first: uint64(le.Uint32(h[OffFirst:])), end: uint64(le.Uint32(h[OffEnd:]))}
	p.rec = &foreign.Records{File: info, Off: HeaderLen, Len: RecordLen, Count: n.ZoneCount, Decode: p.zone}
	if err := p.rec.CheckRoom(); err != nil {
		return nil, err
	}
	if n.ZoneCap, err = p.capacity(); err != nil {
		return nil, err
	}
	if err := n.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", info.Name(), err)
	}
	c := &foreign.Content{NS: n, Zones: p.rec}
	if c.Data, err = p.data(in); err != nil {
		return nil, err
	}
	if p.first != 0 || p.end != n.ZoneCount {
		if p.end > n.ZoneCount || p.first >= p.end {
			return nil, field("dumped range", OffFirst, fmt.Sprintf("%d to %d", p.first, p.end), fmt.Sprintf("in 0 to %d", n.ZoneCount))
		}
		d.Lost = append(d.Lost, fmt.Sprintf("data of the zones outside %d to %d, which was not dumped (they become Empty)", p.first, p.end-1))
		c.Zones = &foreign.Mapped{Zones: p.rec, Map: func(i uint64, z layout.Zone) layout.Zone {
			if i >= p.first && i < p.end {
				return z
			}
			return n.EmptyZone(i)
		}}
	}
	d.Contents = []*foreign.Content{c}
	d.Walk = p.check
	d.Facts = []foreign.Fact{{Key: "device", Value: strings.TrimRight(string(h[:32]), " \x00")}}
	return d, nil
}

// limit is a limit of zbd, where all ones is none, too.
func limit(n uint32) uint32 {
	if n == 0xFFFFFFFF {
		return 0
	}
	return n
}

// capacity is that of the first sequential zone.
func (p *dump) capacity() (layout.LBA, error) {
	zoneCap := p.n.ZoneSize
	err := p.rec.Each(0, p.n.ZoneCount, func(_ uint64, b []byte) error {
		if le.Uint32(b[RecType:]) == uint32(layout.Conventional) {
			return nil
		}
		zoneCap = layout.LBA(le.Uint64(b[RecCap:]) >> p.n.BlockBits)
		return foreign.ErrStop
	})
	return zoneCap, err
}

// data is where the data is; a data file that is too short is refused, one that is missing means that
// there is nothing to copy.
func (p *dump) data(in *foreign.Input) (foreign.Extents, error) {
	name := prefix(in.Path) + dataSuffix
	if _, err := in.FS.Stat(name); err != nil {
		return nil, nil //nolint:nilerr // zones can be read without
	}
	file, err := in.Open(name)
	if err != nil {
		return nil, err
	}
	size, err := file.Size()
	if err != nil {
		return nil, err
	}
	if size < int64(p.n.Size()) {
		return nil, foreign.Short(file, "the zones", int64(p.n.Size()))
	}
	return foreign.Linear(file, 0, size), nil
}

// zone decodes entry i.
func (p *dump) zone(i uint64, b []byte) (layout.Zone, error) {
	shift := p.n.BlockBits
	for _, off := range []int{RecStart, RecCap, RecWP} {
		v := le.Uint64(b[off:])
		unused := off == RecWP && !layout.ZoneState(le.Uint32(b[RecCond:])).HasWP()
		if v&(1<<shift-1) != 0 && !unused {
			return layout.Zone{}, foreign.Field(p.rec.File, fmt.Sprintf("zone %d", i), "address", p.rec.Off+int64(i)*RecordLen+int64(off), v, fmt.Sprintf("a multiple of %d", p.n.BlockSize()))
		}
	}
	kind, cond := le.Uint32(b[RecType:]), le.Uint32(b[RecCond:])
	if kind > 0xF || cond > 0xF {
		return layout.Zone{}, foreign.Field(p.rec.File, fmt.Sprintf("zone %d", i), "type and condition", p.rec.Off+int64(i)*RecordLen+RecType, fmt.Sprintf("%d, %d", kind, cond), "those of zones")
	}
	z := foreign.FromZBC(p.n, i, uint8(kind), uint8(cond), layout.LBA(le.Uint64(b[RecStart:])>>shift), layout.LBA(le.Uint64(b[RecWP:])>>shift))
	if z.Type != layout.Conventional {
		c := layout.LBA(le.Uint64(b[RecCap:]) >> shift)
		if z.State == layout.Full || z.State == layout.ReadOnly && z.Written > z.Start+c {
			z.Written = z.Start + c
		}
		z.Cap = c
		if le.Uint32(b[RecFlags:])&1 != 0 {
			z.Attrs |= layout.RZR
		}
	}
	return z, nil
}

// check finds what zbd restore cannot do.
func (p *dump) check(found func(foreign.Problem) error) error {
	var i uint64
	for z, err := range p.rec.All(0, p.n.ZoneCount) {
		if err != nil {
			return err
		}
		at := foreign.Problem{File: p.rec.File.Name(), Off: p.rec.Off + int64(i)*RecordLen, Zone: i, InZone: true}
		switch {
		case z.State == layout.Closed && z.WP == z.Start:
			at.Verdict, at.Text = foreign.Refused, "Closed with nothing written; zbd restore fails at this zone"
		case z.State == layout.ReadOnly, z.State == layout.Offline:
			at.Verdict, at.Text = foreign.Changed, fmt.Sprintf("%v; zbd restore does not set this state", z.State)
		default:
			i++
			continue
		}
		if err := found(at); err != nil {
			return err
		}
		i++
	}
	return nil
}

func encode(out *foreign.Output) error {
	n := out.NS
	base := prefix(out.Path)
	if err := out.DataFile(base + dataSuffix); err != nil {
		return err
	}
	info, err := out.Create(base + infoSuffix) // last: without it a dump is unfinished
	if err != nil {
		return err
	}
	size := uint64(n.Size())
	h := make([]byte, HeaderLen)
	copy(h[OffVendor:32], "zimg")
	le.PutUint64(h[OffSectors:], size/512)
	le.PutUint64(h[OffLBlocks:], uint64(n.Blocks))
	le.PutUint64(h[OffPBlocks:], uint64(n.Blocks))
	le.PutUint64(h[OffZoneSize:], uint64(n.ByteOff(n.ZoneSize)))
	le.PutUint32(h[OffZoneSectors:], uint32(n.ByteOff(n.ZoneSize)/512))
	le.PutUint32(h[OffLBlockSize:], uint32(n.BlockSize()))
	le.PutUint32(h[OffPBlockSize:], uint32(n.BlockSize()))
	le.PutUint32(h[OffZones:], uint32(n.ZoneCount))
	le.PutUint32(h[OffMaxOpen:], uint32(n.MaxOpen()))
	le.PutUint32(h[OffMaxActive:], uint32(n.MaxActive()))
	le.PutUint32(h[OffModel:], 1)
	le.PutUint32(h[OffEnd:], uint32(n.ZoneCount))
	if _, err := info.WriteAt(h, 0); err != nil {
		return err
	}
	if err := writeZones(info, out); err != nil {
		return err
	}
	out.Say("to restore it to a device with the same geometry, run: blkzone reset DEVICE; zbd restore -d DIR -f PREFIX DEVICE")
	return nil
}

func writeZones(info disk.File, out *foreign.Output) error {
	n := out.NS
	return foreign.Write(info, HeaderLen, RecordLen, out.Zones, n.ZoneCount, func(_ uint64, z layout.Zone, b []byte) error {
		bytes := func(off int, l layout.LBA) { le.PutUint64(b[off:], uint64(n.ByteOff(l))) }
		bytes(RecStart, z.Start)
		bytes(RecLen, n.ZoneSize)
		bytes(RecCap, z.Cap)
		bytes(RecWP, foreign.ZBCWP(n, z))
		if z.Attrs&layout.RZR != 0 {
			le.PutUint32(b[RecFlags:], 1)
		}
		le.PutUint32(b[RecType:], uint32(z.Type))
		le.PutUint32(b[RecCond:], uint32(z.State))
		return nil
	})
}
