package gzoned

import (
	"math/rand/v2"

	"zimg/image/foreign"
	"zimg/layout"
)

// encode writes the layout that FreeBSD merged.
func encode(out *foreign.Output) error {
	n, v := out.NS, &Merged
	file, err := out.Create(out.Path)
	if err != nil {
		return err
	}
	ranges, err := conventionalRanges(out.Content)
	if err != nil {
		return err
	}
	sector := n.BlockSize()
	size := providerSize(n)
	m := &metadata{Variant: v, b: make([]byte, v.Len), sector: sector, size: size}
	copy(m.b, Magic)
	le.PutUint32(m.b[OffVersion:], Version)
	le.PutUint32(m.b[v.ID:], rand.Uint32())
	le.PutUint64(m.b[v.ZoneSize:], uint64(n.ByteOff(n.ZoneSize)))
	le.PutUint32(m.b[v.Sector:], uint32(sector))
	le.PutUint64(m.b[v.Length:], uint64(size))
	le.PutUint32(m.b[v.Ranges:], uint32(len(ranges)))
	for k, r := range ranges {
		le.PutUint64(m.b[v.Range0+16*k:], r.first)
		le.PutUint64(m.b[v.Range0+16*k+8:], r.count)
	}
	le.PutUint32(m.b[v.MaxOpen:], uint32(min(n.MaxOpen(), n.ZoneCount)))
	if err := file.Truncate(size); err != nil {
		return err
	}
	if err := out.CopyLinear(file, 0); err != nil {
		return err
	}
	table := m.tableAt(v.Entry)
	head := make([]byte, 24)
	copy(head, TableMagic)
	le.PutUint32(head[tabVersion:], Version)
	le.PutUint32(head[tabZones:], uint32(n.ZoneCount))
	if _, err := file.WriteAt(head, table); err != nil {
		return err
	}
	err = foreign.Write(file, table+sector, v.Entry, out.Zones, n.ZoneCount, func(_ uint64, z layout.Zone, b []byte) error {
		b[entType], b[entCond] = uint8(z.Type), uint8(z.State)
		if z.Attrs&layout.RZR != 0 {
			b[entFlags] = 1
		}
		wp := uint32(foreign.ZBCWP(n, z) - z.Start)
		if z.Type == layout.Conventional {
			wp = noWP
		}
		le.PutUint32(b[entShortWP:], wp)
		return nil
	})
	if err != nil {
		return err
	}
	if _, err := file.WriteAt(m.b, size-sector); err != nil {
		return err
	}
	out.Say("gzoned wants sectors of %d bytes and exactly this length: kldload geom_zoned; mdconfig -S %d -f %s",
		sector, sector, out.Path)
	out.Say("the layout is that of gzoned as FreeBSD merged it, which earlier versions of its review do not read")
	return nil
}

// conventionalRanges finds the ranges of conventional zones of c.
func conventionalRanges(c *foreign.Content) ([]convRange, error) {
	var ranges []convRange
	var i uint64
	for z, err := range c.Zones.All(0, c.NS.ZoneCount) {
		if err != nil {
			return nil, err
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
		return nil, layout.Errorf(layout.ErrGeometry, "it has %d ranges of conventional zones; gzoned supports at most %d",
			len(ranges), MaxRanges)
	}
	return ranges, nil
}

// providerSize is the shortest length of a provider that has the zones of n.
func providerSize(n *layout.Namespace) int64 {
	sector, zone := n.BlockSize(), int64(n.ByteOff(n.ZoneSize))
	size := int64(n.Size())
	for {
		most := size / zone
		next := int64(n.Size()) + 2*sector + int64(layout.RoundUp(layout.Bytes(shortEntry*most), layout.Bytes(sector)))
		if next <= size {
			return size
		}
		size = next
	}
}
