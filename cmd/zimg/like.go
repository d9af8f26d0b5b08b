package main

import (
	"fmt"
	"sort"
	"strings"
)

// likeness is a geometry that --like knows: a real drive's as published, or the
// least that a user of zones works with. Zones is for a whole drive; --zones replaces it.
type likeness struct {
	zones    uint64
	zoneSize uint64
	zoneCap  uint64
	block    uint64
	maxOpen  uint64
	maxAct   uint64
}

const (
	mib = 1 << 20
	gib = 1 << 30
)

// likenesses by name. Sources:
//
//   - zn540: Western Digital Ultrastar DC ZN540, 1 TB: 905 zones of 2048 MiB as
//     in issue 4 of westerndigitalcorporation/zonefs-tools; 1077 MiB of each writable and 14 of
//     them open and active as measured in papers on the drive (Doekemeijer et al., CLUSTER 2023).
//   - btrfs: zones from 4 MiB on, BTRFS_MIN_ZONE_SIZE in Linux' fs/btrfs/zoned.c, and as many as
//     its superblock logs and a block group of each type take, with some to work in.
//   - f2fs: a zone is a multiple of its segment of 2 MiB; it wants a plain namespace
//     beside the zoned one (mkfs.f2fs -c).
//   - zenfs: at least 32 zones, ZENFS_MIN_ZONES in zenfs' fs/zbd_zenfs.cc.
//   - zonefs: a zone for the superblock, every other one a file.
var likenesses = map[string]likeness{
	"zn540":  {zones: 905, zoneSize: 2 * gib, zoneCap: 1077 * mib, block: 4096, maxOpen: 14, maxAct: 14},
	"btrfs":  {zones: 32, zoneSize: 16 * mib, zoneCap: 16 * mib, block: 4096},
	"f2fs":   {zones: 64, zoneSize: 4 * mib, zoneCap: 4 * mib, block: 4096},
	"zenfs":  {zones: 32, zoneSize: 64 * mib, zoneCap: 64 * mib, block: 4096},
	"zonefs": {zones: 16, zoneSize: 1 * mib, zoneCap: 1 * mib, block: 4096},
}

func likeNames() []string {
	var names []string
	for n := range likenesses {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}

// applyLike fills what g leaves open from the geometry that it is to be like.
func (g *geometry) applyLike() error {
	if g.like == "" {
		return nil
	}
	l, ok := likenesses[strings.ToLower(g.like)]
	if !ok {
		return fmt.Errorf("like %q: one of %s", g.like, strings.Join(likeNames(), ", "))
	}
	if g.kind == "nvm" {
		return fmt.Errorf("like %s for a namespace without zones", g.like)
	}
	if g.size == 0 && g.zones == 0 {
		g.zones = l.zones
	}
	sameZones := g.zoneSize == 0 || g.zoneSize == l.zoneSize
	for _, f := range []struct {
		to *uint64
		v  uint64
	}{{&g.zoneSize, l.zoneSize}, {&g.block, l.block}, {&g.maxOpen, l.maxOpen}, {&g.maxAct, l.maxAct}} {
		if *f.to == 0 {
			*f.to = f.v
		}
	}
	if g.zoneCap == 0 && sameZones {
		g.zoneCap = l.zoneCap
	}
	return nil
}
