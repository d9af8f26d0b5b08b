package pstate

import (
	"fmt"

	"zimg/image/foreign"
	"zimg/layout"
)

// V1 is pstate without a header: bitmap, descriptors, extensions; read only.
var V1 = &foreign.Format{
	Name: "pstate-v1", Title: "raw data and the headerless pstate file of series v1 (Jensen)",
	Shape: foreign.TwoFiles, Suffix: ".pstate", Original: "QEMU with Jensen's patches (v1)",
	Holds:  without(holds(true)),
	Decode: func(in *foreign.Input) (*foreign.Decoded, error) { return decodeHeadless(in, true) },
}

// without says that a file holds no geometry.
func without(h foreign.Holds) foreign.Holds {
	h.Geometry, h.BlockSize = false, false
	return h
}

// V0 is the zone information of the first series: descriptors, extensions; read only. The bitmap
// is in a file of its own, which is not looked at.
var V0 = &foreign.Format{
	Name: "pstate-v0", Title: "raw data and the zns.zoneinfo file of the series of June 2020 (Jensen)",
	Shape: foreign.TwoFiles, Suffix: ".zoneinfo", Original: "QEMU with Jensen's patches (June 2020)",
	Holds:  without(holds(false)),
	Decode: func(in *foreign.Input) (*foreign.Decoded, error) { return decodeHeadless(in, false) },
}

// decodeHeadless believes a file without a magic only if its length is exact and every
// descriptor is as it must be.
func decodeHeadless(in *foreign.Input, withBitmap bool) (*foreign.Decoded, error) {
	g := in.Geometry
	if g == nil {
		return nil, in.NeedGeometry()
	}
	data, file, err := in.Pair()
	if err != nil {
		return nil, err
	}
	if data == nil {
		return nil, fmt.Errorf("%s: the data image is needed as well, it tells the number of zones: name it, and this file with --source-sidecar: %w", in.Path, layout.ErrGeometry)
	}
	length, err := data.Size()
	if err != nil {
		return nil, err
	}
	blocks := uint64(length) >> g.BlockBits
	ns := &layout.Namespace{
		ID: 1, CSI: layout.ZNS, BlockBits: g.BlockBits, ZoneSize: g.ZoneSize, ZoneCap: g.ZoneCap, ZoneCount: blocks / uint64(g.ZoneSize),
		MAR: g.MAR, MOR: g.MOR, ZDES: g.ZDES,
	}
	ns.Blocks = layout.LBA(ns.ZoneCount) * ns.ZoneSize
	bitmapLen := int64(0)
	if withBitmap {
		bitmapLen = int64((blocks + 7) / 8)
	}
	t, err := newTable(file, ns, 0, blocks, bitmapLen)
	if err != nil {
		return nil, err
	}
	size, err := file.Size()
	if err != nil {
		return nil, err
	}
	if want := int64(layout.RoundUp(layout.Bytes(t.length()), 512)); want != size {
		return nil, foreign.Field(file, "state file of this geometry", "length", 0, size, want)
	}
	var i uint64
	for z, err := range t.rec.All(0, ns.ZoneCount) {
		if err != nil {
			return nil, err
		}
		off := t.rec.Off + int64(i)*layout.DescriptorSize
		switch {
		case z.Type != layout.SeqWriteRequired:
			return nil, foreign.Field(file, fmt.Sprintf("zone descriptor %d", i), "zone type", off, z.Type, layout.SeqWriteRequired)
		case z.Start != layout.LBA(i)*ns.ZoneSize:
			return nil, foreign.Field(file, fmt.Sprintf("zone descriptor %d", i), "ZSLBA", off+16, z.Start, layout.LBA(i)*ns.ZoneSize)
		case !z.State.Valid():
			return nil, foreign.Field(file, fmt.Sprintf("zone descriptor %d", i), "zone state", off+1, z.State, "a state")
		}
		i++
	}
	return t.finish(&foreign.Decoded{}, data)
}
