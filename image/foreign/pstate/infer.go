package pstate

import (
	"fmt"
	"math/bits"

	"zimg/image/disk"
	"zimg/image/foreign"
	"zimg/layout"
)

// inferred is a geometry worked out from what has none: length bytes of descriptors, extensions and
// padding, the data image, if it is there, and what the user says.
type inferred struct {
	in         *foreign.Input
	d          *foreign.Decoded
	file, data disk.File
	length     int64
	ns         layout.Namespace
}

// all works out everything.
func (g *inferred) all() error {
	g.ns = layout.Namespace{ID: 1, CSI: layout.ZNS, MAR: layout.NoLimit, MOR: layout.NoLimit}
	limits(&g.ns, g.in.Geometry)
	said := false
	g.ns.BlockBits, said = g.in.SaidBlockBits()
	if err := g.zoneSize(said); err != nil {
		return err
	}
	if err := g.zoneCount(said); err != nil {
		return err
	}
	if err := g.extension(); err != nil {
		return err
	}
	if !said {
		if err := g.blockSize(); err != nil {
			return err
		}
	}
	n := &g.ns
	if n.ZoneSize > 1<<52 || n.ZoneCount > uint64(1<<52/n.ZoneSize) {
		return foreign.Field(g.file, "zns.pstate", "zones", 0, fmt.Sprintf("%d of %d blocks", n.ZoneCount, n.ZoneSize), "what a file can hold")
	}
	n.Blocks = layout.LBA(n.ZoneCount) * n.ZoneSize
	return nil
}

// zoneSize takes zone size and capacity from the first two descriptors.
func (g *inferred) zoneSize(blockSaid bool) error {
	b := make([]byte, min(g.length, 2*layout.DescriptorSize))
	if err := foreign.ReadFull(g.file, b, 0); err != nil {
		return err
	}
	first, err := layout.DecodeZoneDescriptor(b)
	if err != nil {
		return err
	}
	g.ns.ZoneCap = first.Cap
	said, ok := g.in.SaidZoneSize(g.ns.BlockBits)
	ok = ok && blockSaid
	g.ns.ZoneSize = said
	if len(b) == 2*layout.DescriptorSize {
		second, err := layout.DecodeZoneDescriptor(b[layout.DescriptorSize:])
		if err != nil {
			return err
		}
		if second.Type == layout.SeqWriteRequired && (!ok || second.Start == said) {
			g.ns.ZoneSize, ok = second.Start, true
		}
	}
	if !ok {
		return g.in.NeedGeometry()
	}
	if g.ns.ZoneSize == 0 || g.ns.ZoneSize > 1<<61 {
		return foreign.Field(g.file, "zone descriptor 1", "ZSLBA", layout.DescriptorSize+16, g.ns.ZoneSize, "the zone size")
	}
	return nil
}

// zoneCount takes the number of zones from the length of the data image, if blocks are known, or from the
// user; else it goes on as long as descriptors are as they must be.
func (g *inferred) zoneCount(blockSaid bool) error {
	room := uint64(g.length) / layout.DescriptorSize
	switch {
	case g.data != nil && blockSaid:
		size, err := g.data.Size()
		if err != nil {
			return err
		}
		g.ns.ZoneCount = uint64(foreign.DeviceLength(size)) >> g.ns.BlockBits / uint64(g.ns.ZoneSize)
	case g.in.Geometry != nil && g.in.Geometry.ZoneCount > 0:
		g.ns.ZoneCount = g.in.Geometry.ZoneCount
	default:
		walk := &foreign.Records{File: g.file, Len: layout.DescriptorSize, Count: room}
		err := walk.Each(0, walk.Count, func(i uint64, b []byte) error {
			z, err := layout.DecodeZoneDescriptor(b)
			if err != nil {
				return err
			}
			if z.Type != layout.SeqWriteRequired || i > 0 && (uint64(z.Start)/i != uint64(g.ns.ZoneSize) || uint64(z.Start)%i != 0) || i == 0 && z.Start != 0 {
				return foreign.ErrStop
			}
			g.ns.ZoneCount++
			return nil
		})
		if err != nil {
			return err
		}
	}
	if g.ns.ZoneCount == 0 || g.ns.ZoneCount > room {
		return foreign.Field(g.file, "zns.pstate", "zone descriptors", 0, room, fmt.Sprintf("%d of zones of %d blocks, from 1 on", g.ns.ZoneCount, g.ns.ZoneSize))
	}
	return nil
}

// extension finds the size of an extension with which descriptors and extensions are as long as they
// are, but for padding to 512. With fewer than 8 zones there may be several; then it is the least
// after which there is nothing.
func (g *inferred) extension() error {
	each := int64(g.ns.ZoneCount) * 64
	var fit []int64 // units of 64 bytes
	for k := max(0, (g.length-511)/each-1); k <= 255 && each*(k+1) <= g.length; k++ {
		if end := each * (k + 1); end == g.length || foreign.DeviceLength(end) == g.length {
			fit = append(fit, k)
		}
	}
	if said, ok := g.in.SaidExtSize(); ok {
		g.ns.ZDES = uint8(said / 64)
		if end := each * int64(said/64+1); end != g.length && foreign.DeviceLength(end) != g.length {
			return foreign.Field(g.file, "zns.pstate", "length without the footer", 0, g.length, fmt.Sprintf("%d, with %d zones and extensions of %d bytes", end, g.ns.ZoneCount, said))
		}
		return nil
	}
	for _, k := range fit {
		g.ns.ZDES = uint8(k)
		end, err := foreign.LastByte(g.file, 0, g.length)
		if err != nil {
			return err
		}
		if end > each*(k+1) {
			continue
		}
		if len(fit) > 1 {
			g.d.Assumed = append(g.d.Assumed, fmt.Sprintf("descriptor extensions of %d bytes; with so few zones the length does not show their size", k*64))
		}
		return nil
	}
	return foreign.Field(g.file, "zns.pstate", fmt.Sprintf("length of %d descriptors, the ones that are sound, and their extensions", g.ns.ZoneCount), 0, g.length,
		"a multiple of 64 for each (if a descriptor is damaged: with a block size given, the data image shows the number of zones)")
}

// blockSize takes the block size that makes the zones as long as the data image.
func (g *inferred) blockSize() error {
	if g.data == nil {
		return g.in.NeedGeometry()
	}
	size, err := g.data.Size()
	if err != nil {
		return err
	}
	if g.ns.ZoneSize > 1<<52 || g.ns.ZoneCount > uint64(1<<52/g.ns.ZoneSize) {
		return g.in.NeedGeometry()
	}
	each := uint64(size) / (g.ns.ZoneCount * uint64(g.ns.ZoneSize))
	if bits.OnesCount64(each) != 1 || each < 512 || each > 65536 {
		return g.in.NeedGeometry()
	}
	g.ns.BlockBits = uint8(bits.TrailingZeros64(each))
	g.d.Assumed = append(g.d.Assumed, fmt.Sprintf("blocks of %d bytes, from the length of %s", each, g.data.Name()))
	return nil
}
