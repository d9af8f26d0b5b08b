package main

import (
	"fmt"
	"math/bits"

	"zimg/cmd/internal/cli"
	"zimg/image"
	"zimg/layout"
)

// zoned fills a zoned namespace.
func (g *geometry) zoned(s *image.NamespaceSpec) error {
	if g.zoneSize == 0 {
		g.zoneSize = defaultZoneSize
		if g.size != 0 && g.zones != 0 {
			if g.size%g.zones != 0 {
				return fmt.Errorf("size %s cannot be divided into %d zones of the same size", exactSize(g.size), g.zones)
			}
			g.zoneSize = g.size / g.zones
		}
	}
	if g.zoneSize%g.block != 0 {
		return nearest("zone size", g.zoneSize, g.block, "block size")
	}
	if g.zoneCap == 0 {
		g.zoneCap = g.zoneSize
	}
	switch {
	case g.zoneCap%g.block != 0:
		return nearest("zone capacity", g.zoneCap, g.block, "block size")
	case g.size == 0 && g.zones == 0:
		return fmt.Errorf("a size is required: use --size or --zones")
	case g.size != 0 && g.size%g.zoneSize != 0:
		return nearest("size", g.size, g.zoneSize, "zone size")
	case g.size != 0 && g.zones != 0 && g.size/g.zoneSize != g.zones:
		return fmt.Errorf("size %s is %d zones of %s, not %d", exactSize(g.size), g.size/g.zoneSize, exactSize(g.zoneSize), g.zones)
	case g.size == 0:
		if hi, lo := bits.Mul64(g.zones, g.zoneSize); hi != 0 || lo > 1<<61 {
			return fmt.Errorf("%d zones of %s are more than a file can hold", g.zones, exactSize(g.zoneSize))
		}
		g.size = g.zones * g.zoneSize
	}
	s.ZoneCount = g.size / g.zoneSize
	s.ZoneSize = layout.LBA(g.zoneSize / g.block)
	s.ZoneCap = layout.LBA(g.zoneCap / g.block)
	s.Blocks = layout.LBA(g.size / g.block)
	s.CrossRead = g.cross
	return g.resources(s)
}

// resources fills limits, extension and random write area.
func (g *geometry) resources(s *image.NamespaceSpec) error {
	s.MOR, s.MAR = layout.ZeroBased(uint32(g.maxOpen)), layout.ZeroBased(uint32(g.maxAct))
	if g.ext%64 != 0 {
		return nearest("descriptor extension size", g.ext, 64, "unit")
	}
	if g.ext > 255*64 {
		return fmt.Errorf("descriptor extension size %d is too large: at most %d", g.ext, 255*64)
	}
	s.ZDES = uint8(g.ext / 64)
	if g.zrwafg == 0 && g.zrwas != 0 {
		g.zrwafg = g.block
	}
	if g.zrwafg%g.block != 0 {
		return nearest("zrwafg", g.zrwafg, g.block, "block size")
	}
	if g.zrwas != 0 && g.zrwas%g.zrwafg != 0 {
		return nearest("zrwas", g.zrwas, g.zrwafg, "flush granularity")
	}
	if g.numZRWA == 0 && g.zrwas != 0 {
		g.numZRWA = g.maxAct
	}
	s.ZRWAS, s.ZRWAFG, s.NumZRWA = uint32(g.zrwas/g.block), uint32(g.zrwafg/g.block), uint32(g.numZRWA)
	return nil
}

// identities fills UUID, NGUID and EUI-64.
func (g *geometry) identities(s *image.NamespaceSpec) error {
	for _, id := range []struct {
		name, value string
		to          []byte
	}{{"uuid", g.uuid, s.UUID[:]}, {"nguid", g.nguid, s.NGUID[:]}, {"eui64", g.eui64, s.EUI64[:]}} {
		if id.value == "" {
			continue
		}
		if err := cli.ParseHex(id.value, id.to); err != nil {
			return fmt.Errorf("%s %q: %w", id.name, id.value, err)
		}
	}
	return nil
}

// warnings are what is legal, but not what Linux or QEMU will take.
func warnings(s *image.NamespaceSpec) []string {
	var w []string
	if !s.Zoned() {
		return nil
	}
	if s.ZoneSize&(s.ZoneSize-1) != 0 {
		w = append(w, fmt.Sprintf("namespace %d: zone size %s is not a power of two; Linux does not support such zones", s.ID, exactSize(uint64(s.ByteOff(s.ZoneSize)))))
	}
	if s.BlockBits > 12 {
		w = append(w, fmt.Sprintf("namespace %d: Linux takes blocks of up to 4096 bytes from NVMe drives, before version 6.15", s.ID))
	}
	if s.MS > 0 {
		w = append(w, fmt.Sprintf("namespace %d: with metadata per block Linux needs CONFIG_BLK_DEV_INTEGRITY, and file systems may refuse", s.ID))
	}
	return w
}
