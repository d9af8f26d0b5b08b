// Package filezbc reads and writes the files of tcmu-runner's handler file_zbc: a host-managed
// SCSI disk in one file. Source of the layout: open-iscsi/tcmu-runner file_zbc.c, 2017 to 2023.
//
//	 0        48                  48+64z     D                  D + capacity*lba_size
//	+--------+-------------------+---------+--------------------+
//	| header | zones, 64 bytes   | zeroes  | data               |
//	+--------+-------------------+---------+--------------------+
//	 D: rounded up to the page size of the host that made it. Integers in host order.
package filezbc

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"path/filepath"

	"zimg/image/disk"
	"zimg/image/foreign"
	"zimg/layout"
)

// Offsets in the file, those of C structs.
const (
	Magic       = 0x555A4243
	HeaderLen   = 48
	RecordLen   = 64
	HostManaged = 0x14

	OffModel    = 4
	OffCapacity = 8
	OffLBASize  = 16
	OffZoneSize = 20
	OffZones    = 24
	OffConv     = 28
	OffMaxOpen  = 32
	OffImpOpen  = 36
	OffExpOpen  = 40

	RecStart  = 0
	RecLen    = 8
	RecWP     = 16
	RecType   = 24
	RecCond   = 25
	RecNonSeq = 26
	RecReset  = 27
)

// Format is a file of file_zbc.
var Format = &foreign.Format{
	Name: "tcmu-file-zbc", Title: "ZBC disk in a file, of tcmu-runner's file_zbc handler",
	Shape: foreign.OneFile, Original: "tcmu-runner",
	Holds: foreign.Holds{
		States: foreign.AllStates, Conventional: true, ROWritten: true, Attributes: layout.RZR,
		MaxOpen: true, Geometry: true, BlockSize: true, MinBits: 9, MaxBits: 12,
		Restrict: func(n *layout.Namespace) error {
			switch {
			case n.BlockBits != 9 && n.BlockBits != 12:
				return fmt.Errorf("the block size is %d bytes; file_zbc supports 512 and 4096", n.BlockSize())
			case bits.OnesCount64(uint64(n.ZoneSize)) != 1 || n.ZoneSize > 1<<31:
				return fmt.Errorf("the zone size is %d blocks; file_zbc supports powers of two below 2^32", n.ZoneSize)
			case n.ZoneCount > 1<<32-1:
				return fmt.Errorf("it has %d zones; the format has 32 bits for their number", n.ZoneCount)
			}
			return nil
		},
	},
	Probe:  func(h *foreign.Head) bool { _, ok := foreign.HostOrder(h.First, Magic, HeaderLen); return ok },
	Decode: decode,
	Encode: encode,
}

// image is a file, laid out.
type image struct {
	n    *layout.Namespace
	bo   binary.ByteOrder
	rec  *foreign.Records // all zones, also a last one that is left out
	conv uint64
	max  uint32
}

func decode(in *foreign.Input) (*foreign.Decoded, error) {
	file, err := in.Open(in.Path)
	if err != nil {
		return nil, err
	}
	h := make([]byte, HeaderLen)
	if err := foreign.ReadFull(file, h, 0); err != nil {
		return nil, err
	}
	bo, ok := foreign.HostOrder(h, Magic, HeaderLen)
	if !ok {
		return nil, layout.Errorf(foreign.ErrNotFormat, "%s is not a file_zbc disk: it does not begin with CBZU", file.Name())
	}
	field := func(name string, off int64, got, want any) error {
		return foreign.Field(file, "file_zbc header (tcmu-runner would reset all zones)", name, off, got, want)
	}
	model, capacity, lba := bo.Uint32(h[OffModel:]), bo.Uint64(h[OffCapacity:]), bo.Uint32(h[OffLBASize:])
	zoneSize, zones, conv := bo.Uint32(h[OffZoneSize:]), bo.Uint32(h[OffZones:]), bo.Uint32(h[OffConv:])
	switch {
	case model == 0:
		return nil, fmt.Errorf("%s is a host-aware disk, which may be written anywhere below its write pointers; that is %w", file.Name(), foreign.ErrUnsupported)
	case model != HostManaged:
		return nil, field("model", OffModel, model, HostManaged)
	case lba != 512 && lba != 4096:
		return nil, field("lba_size", OffLBASize, lba, "512 or 4096")
	case bits.OnesCount32(zoneSize) != 1:
		return nil, field("zone_size", OffZoneSize, zoneSize, "a power of two")
	case capacity == 0 || capacity > 1<<61/uint64(lba) || uint64(zones) != (capacity-1)/uint64(zoneSize)+1:
		return nil, field("nr_zones", OffZones, zones, fmt.Sprintf("capacity %d / zone size %d", capacity, zoneSize))
	case conv >= zones:
		return nil, field("nr_conv_zones", OffConv, conv, fmt.Sprintf("less than %d", zones))
	}
	n := &layout.Namespace{
		ID: 1, CSI: layout.ZNS, BlockBits: uint8(bits.TrailingZeros32(lba)), ZoneSize: layout.LBA(zoneSize), ZoneCap: layout.LBA(zoneSize),
		ZoneCount: uint64(zones), MAR: layout.NoLimit, MOR: layout.ZeroBased(bo.Uint32(h[OffMaxOpen:])),
	}
	im := &image{n: n, bo: bo, conv: uint64(conv), max: bo.Uint32(h[OffMaxOpen:])}
	if im.max >= zones {
		n.MOR = layout.NoLimit // as many as there are
	}
	// MAR stays NoLimit: tcmu-runner limits open zones alone and closes zones to make room, so more Closed zones than
	// nr_open_zones are its normal state.
	d := &foreign.Decoded{}
	im.rec = &foreign.Records{File: file, Off: HeaderLen, Len: RecordLen, Count: n.ZoneCount, Decode: im.zone}
	if err := im.runt(d, capacity); err != nil {
		return nil, err
	}
	if err := im.rec.CheckRoom(); err != nil {
		return nil, err
	}
	size, err := file.Size()
	if err != nil {
		return nil, err
	}
	base := size - int64(capacity)*int64(lba)
	if base < HeaderLen+RecordLen*int64(zones) || base%4096 != 0 {
		return nil, foreign.Field(file, "file_zbc data area", "offset (file length - capacity)", 0, base, fmt.Sprintf("a multiple of 4096 after the table, %d", HeaderLen+RecordLen*int64(zones)))
	}
	if err := n.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", file.Name(), err)
	}
	d.Contents = []*foreign.Content{{NS: n, Zones: im.rec, Data: foreign.Linear(file, base, size)}}
	d.Problems = im.header(base)
	d.Walk = im.check
	d.Facts = []foreign.Fact{{Key: "data offset", Value: fmt.Sprint(base)}, {Key: "byte order", Value: fmt.Sprint(bo)}}
	return d, nil
}

// runt drops a last zone that is shorter than the others: it is lost if there is
// anything in it.
func (im *image) runt(d *foreign.Decoded, capacity uint64) error {
	n := im.n
	if capacity%uint64(n.ZoneSize) != 0 {
		if n.ZoneCount == 1 {
			return fmt.Errorf("%s: one zone, shorter than the zone size: %w", im.rec.File.Name(), foreign.ErrUnsupported)
		}
		last, err := im.rec.Raw(n.ZoneCount - 1)
		if err != nil {
			return err
		}
		n.ZoneCount--
		if last[RecCond] != uint8(layout.Empty) {
			d.Lost = append(d.Lost, fmt.Sprintf("zone %d, which is shorter than the others and not Empty", n.ZoneCount))
		} else {
			d.Assumed = append(d.Assumed, fmt.Sprintf("zone %d is shorter than the others and Empty, and was left out", n.ZoneCount))
		}
	}
	n.Blocks = layout.LBA(n.ZoneCount) * n.ZoneSize
	return nil
}

// zone decodes entry i.
func (im *image) zone(i uint64, b []byte) (layout.Zone, error) {
	z := foreign.FromZBC(im.n, i, b[RecType], b[RecCond], layout.LBA(im.bo.Uint64(b[RecStart:])), layout.LBA(im.bo.Uint64(b[RecWP:])))
	if z.Type != layout.Conventional && b[RecReset] != 0 {
		z.Attrs |= layout.RZR
	}
	return z, nil
}

func encode(out *foreign.Output) error {
	n := out.NS
	conv, err := foreign.Leading(out.Content)
	if err != nil {
		return err
	}
	file, err := out.Create(out.Path)
	if err != nil {
		return err
	}
	base := dataOff(n.ZoneCount, pageSizes[0])
	if err := file.Truncate(base + int64(n.Size())); err != nil {
		return err
	}
	if err := out.CopyLinear(file, base); err != nil {
		return err
	}
	bad, err := writeZones(file, out)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	h := make([]byte, HeaderLen)
	le.PutUint32(h, Magic)
	le.PutUint32(h[OffModel:], HostManaged)
	le.PutUint64(h[OffCapacity:], uint64(n.Blocks))
	le.PutUint32(h[OffLBASize:], uint32(n.BlockSize()))
	le.PutUint32(h[OffZoneSize:], uint32(n.ZoneSize))
	le.PutUint32(h[OffZones:], uint32(n.ZoneCount))
	le.PutUint32(h[OffConv:], uint32(conv))
	open := n.MaxOpen()
	if open == 0 || open > n.ZoneCount { // 0 would not be no limit: tcmu-runner refuses every write then
		open = n.ZoneCount
	}
	le.PutUint32(h[OffMaxOpen:], uint32(open))
	if _, err := file.WriteAt(h, 0); err != nil {
		return err
	}
	path, err := filepath.Abs(out.Path)
	if err != nil {
		return err
	}
	out.Say("the backstore must be of exactly %d bytes, and its configuration string zbc/%s without options: with options tcmu-runner resets all zones at each start", n.Size(), path)
	if bad > 0 {
		out.Say("tcmu-runner reports Read Only and Offline zones as such, but lets them be written: here %d", bad)
	}
	return nil
}

// writeZones writes the table, and counts the zones that nobody should write.
func writeZones(file disk.File, out *foreign.Output) (bad uint64, err error) {
	le := binary.LittleEndian
	err = foreign.Write(file, HeaderLen, RecordLen, out.Zones, out.NS.ZoneCount, func(_ uint64, z layout.Zone, b []byte) error {
		wp := uint64(foreign.ZBCWP(out.NS, z))
		if z.Type == layout.Conventional {
			wp = uint64(layout.NoWP)
		}
		if z.State == layout.ReadOnly || z.State == layout.Offline {
			bad++
		}
		le.PutUint64(b[RecStart:], uint64(z.Start))
		le.PutUint64(b[RecLen:], uint64(out.NS.ZoneSize))
		le.PutUint64(b[RecWP:], wp)
		b[RecType], b[RecCond] = uint8(z.Type), uint8(z.State)
		if z.Attrs&layout.RZR != 0 {
			b[RecReset] = 1
		}
		return nil
	})
	return bad, err
}
