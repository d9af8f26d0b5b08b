package pstate

import (
	"fmt"
	"math/bits"

	"zimg/image/disk"
	"zimg/image/foreign"
	"zimg/layout"
)

// The footer of RFC v5.
const (
	FooterMagic = 0x00534E5A // "ZNS" NUL
	FooterLen   = 4096
)

// Footer is pstate with the identification block at its end: RFC v5.
//
//	 0                  64z                 +64*zdes*z
//	+------------------+-------------------+---------------------------+
//	| zone descriptors | extensions        | magic | version | zeroes  |
//	+------------------+-------------------+---------------------------+
var Footer = &foreign.Format{
	Name: "pstate-footer", Title: "raw data and the zns.pstate file of QEMU's ZNS patches of November 2020 (Jensen)",
	Shape: foreign.TwoFiles, Suffix: ".pstate", Original: "QEMU with Jensen's patches of November 2020",
	Holds: holds(false),
	Probe: func(h *foreign.Head) bool {
		return len(h.Last) == FooterLen && h.Size > FooterLen && le.Uint32(h.Last) == FooterMagic
	},
	Decode: decodeFooter,
	Encode: encodeFooter,
}

// decodeFooter reads RFC v5. The file tells no geometry: zone size and capacity follow from the
// descriptors, the block size from the length of the data image; what is left the user says.
func decodeFooter(in *foreign.Input) (*foreign.Decoded, error) {
	data, file, err := in.Pair()
	if err != nil {
		return nil, err
	}
	size, err := file.Size()
	if err != nil {
		return nil, err
	}
	f := make([]byte, FooterLen)
	if size < FooterLen+layout.DescriptorSize {
		return nil, foreign.Short(file, "zns.pstate", FooterLen+layout.DescriptorSize)
	}
	if err := foreign.ReadFull(file, f, size-FooterLen); err != nil {
		return nil, err
	}
	if le.Uint32(f) != FooterMagic {
		return nil, fmt.Errorf("%s: %w: no magic ZNS 4096 bytes from its end", file.Name(), foreign.ErrNotFormat)
	}
	if v := le.Uint32(f[4:]); v != 1 {
		return nil, foreign.Field(file, "footer", "version (QEMU refuses to start)", size-FooterLen+4, v, 1)
	}
	d := &foreign.Decoded{Facts: []foreign.Fact{{Key: "version", Value: "1 (RFC v5)"}}}
	ns, err := inferGeometry(in, d, data, file, size-FooterLen)
	if err != nil {
		return nil, err
	}
	t, err := newTable(file, ns, 0, 0, 0)
	if err != nil {
		return nil, err
	}
	if want := t.length() + FooterLen; want != size {
		return nil, foreign.Field(file, "zns.pstate", "length", 0, size, want)
	}
	return t.finish(d, data)
}

// inferGeometry works out what it can from length bytes of descriptors and extensions.
func inferGeometry(in *foreign.Input, d *foreign.Decoded, data, file disk.File, length int64) (*layout.Namespace, error) {
	ns := &layout.Namespace{ID: 1, CSI: layout.ZNS, MAR: layout.NoLimit, MOR: layout.NoLimit}
	g := in.Geometry
	limits(ns, g)
	b := make([]byte, min(length, 2*layout.DescriptorSize))
	if err := foreign.ReadFull(file, b, 0); err != nil {
		return nil, err
	}
	first := layout.DecodeZoneDescriptor(b)
	ns.ZoneCap = first.Cap
	switch {
	case g != nil:
		ns.ZoneSize = g.ZoneSize
	case len(b) == 2*layout.DescriptorSize && layout.DecodeZoneDescriptor(b[layout.DescriptorSize:]).Type == layout.SeqWriteRequired:
		ns.ZoneSize = layout.DecodeZoneDescriptor(b[layout.DescriptorSize:]).Start
	default:
		return nil, in.NeedGeometry()
	}
	if ns.ZoneSize == 0 || ns.ZoneSize > 1<<61 {
		return nil, foreign.Field(file, "zone descriptor 1", "ZSLBA", layout.DescriptorSize+16, ns.ZoneSize, "the zone size")
	}
	walk := &foreign.Records{File: file, Len: layout.DescriptorSize, Count: uint64(length) / layout.DescriptorSize}
	err := walk.Each(0, walk.Count, func(i uint64, b []byte) error {
		z := layout.DecodeZoneDescriptor(b)
		if z.Type != layout.SeqWriteRequired || i > 0 && (uint64(z.Start)/i != uint64(ns.ZoneSize) || uint64(z.Start)%i != 0) || i == 0 && z.Start != 0 {
			return foreign.ErrStop
		}
		ns.ZoneCount++
		return nil
	})
	if err != nil {
		return nil, err
	}
	if ns.ZoneCount == 0 {
		return nil, foreign.Field(file, "zone descriptor 0", "zone type and start", 0, fmt.Sprintf("%v, %d", first.Type, first.Start), "SEQ_WRITE_REQUIRED, 0")
	}
	each := length / int64(ns.ZoneCount)
	if length%int64(ns.ZoneCount) != 0 || each%64 != 0 || each/64-1 > 255 {
		return nil, foreign.Field(file, "zns.pstate", fmt.Sprintf("length behind which %d sound descriptors begin", ns.ZoneCount), 0, length, "a multiple of that and of 64")
	}
	ns.ZDES = uint8(each/64 - 1)
	if err := inferBlockSize(in, d, ns, data); err != nil {
		return nil, err
	}
	if ns.ZoneSize > 1<<52 || ns.ZoneCount > uint64(1<<52/ns.ZoneSize) {
		return nil, foreign.Field(file, "zns.pstate", "zones", 0, fmt.Sprintf("%d of %d blocks", ns.ZoneCount, ns.ZoneSize), "what a file can hold")
	}
	ns.Blocks = layout.LBA(ns.ZoneCount) * ns.ZoneSize
	return ns, nil
}

// inferBlockSize takes the block size that the user said, or that makes the zones as long as the
// data image.
func inferBlockSize(in *foreign.Input, d *foreign.Decoded, ns *layout.Namespace, data disk.File) error {
	if in.Geometry != nil {
		ns.BlockBits = in.Geometry.BlockBits
		return nil
	}
	if data != nil {
		size, err := data.Size()
		if err != nil {
			return err
		}
		each := uint64(size) / (ns.ZoneCount * uint64(ns.ZoneSize))
		if bits.OnesCount64(each) == 1 && each >= 512 && each <= 65536 {
			ns.BlockBits = uint8(bits.TrailingZeros64(each))
			d.Assumed = append(d.Assumed, fmt.Sprintf("blocks of %d bytes, from the length of %s", each, data.Name()))
			return nil
		}
	}
	return in.NeedGeometry()
}

// encodeFooter writes RFC v5 and the raw data image.
func encodeFooter(out *foreign.Output) error {
	n := out.NS
	if err := out.DataFile(out.Path); err != nil {
		return err
	}
	file, err := out.Create(out.Second)
	if err != nil {
		return err
	}
	ext := int64(n.ZoneCount) * layout.DescriptorSize
	end := ext + int64(n.ZoneCount)*int64(n.ExtSize())
	if err := file.Truncate(end + FooterLen); err != nil {
		return err
	}
	if err := writeTable(file, 0, ext, out.Content); err != nil {
		return err
	}
	f := make([]byte, FooterLen)
	le.PutUint32(f, FooterMagic)
	le.PutUint32(f[4:], 1)
	_, err = file.WriteAt(f, end)
	return err
}
