// Package pstate reads and writes the zone state files of Klaus Jensen's ZNS series for
// QEMU (qemu-devel, June to November 2020; never merged).
//
//	pstate.go   v2: header, bitmap, descriptors   footer.go  RFC v5: descriptors, footer
//	headless.go v0 and v1, without a header        bitmap.go  which blocks were written
//	check.go    what that QEMU checks at its start  infer.go  geometry of a file that has none
//	encode.go   writing
//
// Sources: 20200929231917.433586-* (v2), 20200924204516.1881843-* (v1), 20200630100139.1483002-*
// (v0), 20201126234601.689714-13-its@irrelevant.dk (RFC v5). Descriptors are those of the NVMe
// specification, little-endian, 64 bytes each. Series v4 is unknown.
//
//	 0        4096              +bitmap           +64z               +64*zdes*z
//	+--------+-----------------+-----------------+------------------+---------+
//	| header | bitmap of blocks| zone descriptors| extensions       | padding | to 512
//	+--------+-----------------+-----------------+------------------+---------+
package pstate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"zimg/image/disk"
	"zimg/image/foreign"
	"zimg/layout"
)

var le = binary.LittleEndian

// Offsets of the header of v2, those of a packed C struct.
const (
	Magic     = 0x0053504E // "NPS" NUL
	HeaderLen = 4096

	OffVersion = 4
	OffLength  = 8
	OffLBADS   = 16
	OffIOCS    = 17
	OffZCap    = 3072
	OffZSize   = 3080
	OffZDES    = 3088
)

// holds is what descriptors of the specification can hold; a bitmap adds how far zones were
// written whose write pointer does not show it.
func holds(bitmap bool) foreign.Holds {
	return foreign.Holds{
		States:      []layout.ZoneState{layout.Empty, layout.ImplicitlyOpened, layout.ExplicitlyOpened, layout.Closed, layout.Full, layout.ReadOnly, layout.Offline},
		ClosedEmpty: true, Capacity: true, Extensions: 255 * 64,
		Attributes:  layout.ZFC | layout.FZR | layout.RZR | layout.ZDEV,
		FullWritten: bitmap, ROWritten: true, Geometry: true, BlockSize: bitmap, MinBits: 9, MaxBits: 12,
	}
}

// Format is pstate with a header: series v2.
var Format = &foreign.Format{
	Name: "pstate", Title: "raw data and the pstate file of QEMU's ZNS patches of September 2020 (Jensen)",
	Shape: foreign.TwoFiles, Suffix: ".pstate", Original: "QEMU with Jensen's patches",
	Holds:  holds(true),
	Probe:  func(h *foreign.Head) bool { return len(h.First) == HeaderLen && le.Uint32(h.First) == Magic },
	Decode: decode,
	Encode: encode,
}

// series are the versions of the patches.
type series int

const (
	seriesV0 series = iota
	seriesV1
	seriesV2
	seriesRFC5
)

// table is a state file of any version, laid out.
type table struct {
	series series
	ns     *layout.Namespace
	rec    *foreign.Records
	bitmap *bitmap // nil where there is none
	// data, where there is no bitmap, shows how far open zones were written; nil if it is not at hand.
	data disk.File
	// swapped: the capacities are in the byte order of a big-endian host.
	swapped bool
}

// newTable lays out bitmap, descriptors and extensions from off on, for a namespace whose
// geometry is complete; blocks is the number of bits in the bitmap, 0 for none, and bitmapLen its
// length in bytes.
func newTable(s series, file disk.File, ns *layout.Namespace, off int64, blocks uint64, bitmapLen int64) (*table, error) {
	if err := ns.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", file.Name(), err)
	}
	t := &table{series: s, ns: ns}
	if bitmapLen > 0 {
		t.bitmap = &bitmap{file: file, off: off, blocks: blocks}
	}
	desc := off + bitmapLen
	t.rec = &foreign.Records{
		File: file, Off: desc, Len: layout.DescriptorSize, Count: ns.ZoneCount, Decode: t.zone,
		ExtOff: desc + int64(ns.ZoneCount)*layout.DescriptorSize, ExtLen: ns.ExtSize(),
	}
	return t, t.rec.CheckRoom()
}

// length is that of everything up to the end of the extensions.
func (t *table) length() int64 { return t.rec.ExtOff + int64(t.ns.ZoneCount)*int64(t.ns.ExtSize()) }

// descriptor decodes b.
func (t *table) descriptor(b []byte) (layout.ZoneDescriptor, error) {
	z, err := layout.DecodeZoneDescriptor(b)
	if t.swapped {
		z.Cap = layout.LBA(bits.ReverseBytes64(uint64(z.Cap)))
	}
	return z, err
}

// zone decodes descriptor i. The write pointer of an open zone is that of when it was opened,
// and that of a Full zone means nothing; the bitmap knows better.
func (t *table) zone(_ uint64, b []byte) (layout.Zone, error) {
	d, err := t.descriptor(b)
	if err != nil {
		return layout.Zone{}, err
	}
	z := layout.Zone{ZoneDescriptor: d}
	stored := z.WP
	z.Written = stored
	start, end := z.Start, z.End()
	plausible := end >= start && end <= t.ns.Blocks
	switch {
	case z.State == layout.Offline:
		z.Written = start
	case z.State == layout.Full:
		z.Written = end
	case z.State == layout.ReadOnly && (stored < start || stored > end):
		z.Written = end
	}
	if t.bitmap != nil && plausible && (z.State.Open() || z.State == layout.Full) {
		last, err := t.bitmap.last(uint64(start), uint64(end))
		if err != nil {
			return z, err
		}
		switch {
		case z.State == layout.Full:
			if z.Written, err = t.finished(start, end, layout.LBA(last)); err != nil {
				return z, err
			}
		case z.State.Open() && layout.LBA(last) > stored:
			z.WP, z.Written = layout.LBA(last), layout.LBA(last)
		}
	}
	if t.bitmap == nil && t.data != nil && plausible && z.State.Open() && stored >= start && stored <= end {
		from := int64(t.ns.ByteOff(stored))
		last, err := foreign.LastByte(t.data, from, int64(t.ns.ByteOff(end)))
		if err != nil {
			return z, err
		}
		z.Written = stored + layout.LBA((last-from+t.ns.BlockSize()-1)>>t.ns.BlockBits)
		z.WP = z.Written
	}
	if !z.State.HasWP() {
		z.WP = layout.NoWP
	}
	return z, nil
}

// finished is how far a Full zone was written whose blocks are marked in the bitmap up to last. Where none is
// marked although there is data, the bitmap is older than the data: then all blocks are taken to be written.
func (t *table) finished(start, end, last layout.LBA) (layout.LBA, error) {
	if last > start || t.data == nil {
		return last, nil
	}
	from := int64(t.ns.ByteOff(start))
	at, err := foreign.LastByte(t.data, from, int64(t.ns.ByteOff(end)))
	if err != nil || at == from {
		return start, err
	}
	return end, nil
}

// assumeOpen says of zones that were open when QEMU ended what is taken to be in them.
func (t *table) assumeOpen(d *foreign.Decoded) error {
	var open, first uint64
	err := t.rec.Each(0, t.rec.Count, func(i uint64, b []byte) error {
		z, err := t.descriptor(b)
		if err == nil && z.State.Open() {
			if open == 0 {
				first = i
			}
			open++
		}
		return err
	})
	if err == nil && open > 0 {
		d.Assumed = append(d.Assumed, fmt.Sprintf("zones that were open when QEMU ended (%d, the first is zone %d) are written to their last byte that "+
			"is not zero: the file does not say how far", open, first))
	}
	return err
}

// contents is what t holds, with data if that is at hand.
func (t *table) contents(data disk.File) ([]*foreign.Content, error) {
	c := &foreign.Content{NS: t.ns, Zones: t.rec}
	if data != nil {
		limit, err := data.Size()
		if err != nil {
			return nil, err
		}
		c.Data = foreign.Linear(data, 0, limit)
	}
	return []*foreign.Content{c}, nil
}

// decode reads v2.
func decode(in *foreign.Input) (*foreign.Decoded, error) {
	data, file, err := in.Pair()
	if err != nil {
		return nil, err
	}
	h := make([]byte, HeaderLen)
	if err := foreign.ReadFull(file, h, 0); err != nil {
		return nil, err
	}
	if le.Uint32(h) != Magic {
		return nil, layout.Errorf(foreign.ErrNotFormat, "%s is not a pstate file: it does not begin with NPS", file.Name())
	}
	field := func(name string, off int64, got, want any) error {
		return foreign.Field(file, "pstate header", name, off, got, want)
	}
	lbads, length := h[OffLBADS], le.Uint64(h[OffLength:])
	zcap, zsize := le.Uint64(h[OffZCap:]), le.Uint64(h[OffZSize:])
	switch {
	case le.Uint32(h[OffVersion:]) != 1:
		return nil, field("version", OffVersion, le.Uint32(h[OffVersion:]), 1)
	case lbads < 9 || lbads > 12:
		return nil, field("lbads", OffLBADS, lbads, "9 to 12")
	case zsize == 0 && zcap == 0:
		return nil, field("zns.zsze (a file without zones)", OffZSize, zsize, "a zone size")
	case length == 0 || length > 1<<61:
		return nil, field("blk_len", OffLength, length, "a length that a file can have")
	case zcap == 0 || zsize < zcap || zsize > length>>lbads:
		return nil, field("zns.zsze", OffZSize, zsize, fmt.Sprintf("from the capacity %d to the %d blocks of the device", zcap, length>>lbads))
	}
	blocks := length >> lbads
	ns := &layout.Namespace{
		ID: 1, CSI: layout.ZNS, BlockBits: lbads, ZoneSize: layout.LBA(zsize), ZoneCap: layout.LBA(zcap), ZoneCount: blocks / zsize,
		MAR: layout.NoLimit, MOR: layout.NoLimit, ZDES: h[OffZDES],
	}
	ns.Blocks = layout.LBA(ns.ZoneCount) * ns.ZoneSize
	limits(ns, in.Geometry)
	size, err := file.Size()
	if err != nil {
		return nil, err
	}
	t, err := layOut(file, ns, blocks, size)
	if err != nil {
		return nil, err
	}
	d := &foreign.Decoded{Facts: []foreign.Fact{{Key: "version", Value: "1 (series v2)"}}}
	d.Problems = t.checkHeader(in, h, size)
	if tail := blocks % zsize; tail != 0 {
		d.Facts = append(d.Facts, foreign.Fact{Key: "after the zones", Value: fmt.Sprintf("%d blocks", tail)})
	}
	if data != nil {
		if err := t.checkData(d, data, length); err != nil {
			return nil, err
		}
	}
	return t.finish(d, data)
}

// layOut finds how long the bitmap is: ceil(blocks / sizeof(unsigned long)) bytes, so that it is twice
// as long as it need be if the host had words of 32 bits. The length of the file shows which, and where it does
// not, which of the two has zones in their places.
func layOut(file disk.File, ns *layout.Namespace, blocks uint64, size int64) (*table, error) {
	var best *table
	var first error
	bestScore := -1
	for _, word := range []uint64{8, 4} {
		t, err := newTable(seriesV2, file, ns, HeaderLen, blocks, int64((blocks+word-1)/word))
		if err != nil {
			first = errors.Join(first, err)
			continue
		}
		score := 0
		if t.fileLength() == size {
			score += 2
		}
		b, err := t.rec.Raw(ns.ZoneCount - 1)
		if err != nil {
			return nil, err
		}
		z, err := t.descriptor(b)
		if err != nil {
			return nil, err
		}
		if z.Type == layout.SeqWriteRequired && z.Start == layout.LBA(ns.ZoneCount-1)*ns.ZoneSize {
			score++
		}
		if score > bestScore {
			best, bestScore = t, score
		}
	}
	if best == nil {
		return nil, first
	}
	return best, nil
}

// fileLength is how long QEMU makes the file.
func (t *table) fileLength() int64 { return foreign.DeviceLength(t.length()) }

// limits takes the limits from what the user said, since no version stores them.
func limits(ns, geometry *layout.Namespace) {
	if geometry != nil {
		ns.MAR, ns.MOR = geometry.MAR, geometry.MOR
	}
}

// finish completes d from t.
func (t *table) finish(d *foreign.Decoded, data disk.File) (_ *foreign.Decoded, err error) {
	if t.bitmap != nil {
		t.data = data
	}
	d.Contents, err = t.contents(data)
	d.Walk = t.check
	return d, err
}
