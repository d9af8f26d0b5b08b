package pstate

import (
	"encoding/binary"
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
// is in a file of its own, which is not looked at: the write pointer is written after every write.
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
	if g == nil || in.Unsaid.ZoneSize || in.Unsaid.BlockSize {
		return nil, in.NeedGeometry()
	}
	data, file, err := in.Pair()
	if err != nil {
		return nil, err
	}
	if data == nil {
		return nil, fmt.Errorf("%s: %w: without the data image the number of zones is not known", in.Path, foreign.ErrNoData)
	}
	length, err := data.Size()
	if err != nil {
		return nil, err
	}
	blocks := uint64(foreign.DeviceLength(length)) >> g.BlockBits
	ns := &layout.Namespace{
		ID: 1, CSI: layout.ZNS, BlockBits: g.BlockBits, ZoneSize: g.ZoneSize, ZoneCap: g.ZoneCap, ZoneCount: blocks / uint64(g.ZoneSize),
		MAR: g.MAR, MOR: g.MOR, ZDES: g.ZDES,
	}
	ns.Blocks = layout.LBA(ns.ZoneCount) * ns.ZoneSize
	version, bitmapLen := seriesV0, int64(0)
	if withBitmap {
		version, bitmapLen = seriesV1, int64((blocks+7)/8)
	}
	t, err := newTable(version, file, ns, 0, blocks, bitmapLen)
	if err != nil {
		return nil, err
	}
	size, err := file.Size()
	if err != nil {
		return nil, err
	}
	if want := t.fileLength(); want != size {
		return nil, foreign.Field(file, "state file of this geometry", "length", 0, size, fmt.Sprintf("%d (the size of the zone descriptor extensions is part of the geometry)", want))
	}
	d := &foreign.Decoded{}
	if err := t.capacities(in, d); err != nil {
		return nil, err
	}
	return t.finish(d, data)
}

// capacities wants every descriptor to be as it must be. Capacities are in the byte order of
// the host, and the user need not say them.
func (t *table) capacities(in *foreign.Input, d *foreign.Decoded) error {
	b, err := t.rec.Raw(0)
	if err != nil {
		return err
	}
	little, big := layout.LBA(le.Uint64(b[8:])), layout.LBA(binary.BigEndian.Uint64(b[8:]))
	said, ok := in.SaidZoneCap(t.ns.BlockBits)
	t.swapped = big != 0 && big <= t.ns.ZoneSize && (little > t.ns.ZoneSize || ok && big == said && little != said)
	if !ok {
		first, err := t.descriptor(b)
		if err != nil {
			return err
		}
		t.ns.ZoneCap = first.Cap
		d.Assumed = append(d.Assumed, fmt.Sprintf("a zone capacity of %d blocks, as the first zone has", t.ns.ZoneCap))
	}
	if t.swapped {
		d.Facts = append(d.Facts, foreign.Fact{Key: "byte order", Value: "big-endian host"})
	}
	return t.rec.Each(0, t.rec.Count, func(i uint64, b []byte) error {
		z, err := t.descriptor(b)
		if err != nil {
			return err
		}
		off := t.rec.Off + int64(i)*layout.DescriptorSize
		start := layout.LBA(i) * t.ns.ZoneSize
		bad := func(field string, at int64, got, want any) error {
			return foreign.Field(t.rec.File, fmt.Sprintf("zone descriptor %d", i), field, off+at, got, want)
		}
		switch {
		case z.Type != layout.SeqWriteRequired:
			return bad("zone type", 0, z.Type, layout.SeqWriteRequired)
		case z.Start != start:
			return bad("ZSLBA", 16, z.Start, start)
		case !z.State.Valid() || z.State == layout.NotWP:
			return bad("zone state", 1, z.State, "a state")
		case z.Cap != t.ns.ZoneCap:
			return bad("ZCAP", 8, z.Cap, t.ns.ZoneCap)
		}
		return nil
	})
}
