package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sort"
	"strings"

	"zimg/image"
	"zimg/image/disk"
	"zimg/image/foreign"
	"zimg/image/foreign/all"
	"zimg/image/transfer"
	"zimg/layout"
)

const (
	mib = 1 << 20
	gib = 1 << 30
)

// likenesses are the geometries that --like knows by name: a real drive's as published, or the least that a user
// of zones works with. The zoned namespace is the first; what follows are the namespaces without zones that its
// users need beside it. Sources:
//
//   - zn540: Western Digital Ultrastar DC ZN540, 1 TB: 905 zones of 2048 MiB as
//     in issue 4 of westerndigitalcorporation/zonefs-tools; 1077 MiB of each writable and 14 of
//     them open and active as measured in papers on the drive (Doekemeijer et al., CLUSTER 2023).
//   - btrfs: zones from 4 MiB on, BTRFS_MIN_ZONE_SIZE in Linux' fs/btrfs/zoned.c. With 32 zones of 16 MiB a writer hangs in Linux
//     7.2; 64 of them are enough.
//   - f2fs: a zone is a multiple of its segment of 2 MiB; it wants a plain namespace beside the zoned one (mkfs.f2fs -c).
//   - xfs: the zoned namespace is the realtime device (mkfs.xfs -r rtdev=..., Linux 6.15); zones of 256 MiB as in fstests. Metadata and log
//     are in the plain one, which mkfs.xfs wants to have 300 MB at the least.
//   - zenfs: at least 32 zones, ZENFS_MIN_ZONES in zenfs' fs/zbd_zenfs.cc.
//   - zonefs: a zone for the superblock, and a file for every other zone.
var likenesses = map[string][]geometry{
	"zn540":  {{zones: 905, zoneSize: 2 * gib, zoneCap: 1077 * mib, block: 4096, maxOpen: 14, maxAct: 14}},
	"btrfs":  {{zones: 64, zoneSize: 16 * mib, block: 4096}},
	"f2fs":   {{zones: 64, zoneSize: 4 * mib, block: 4096}, {kind: "nvm", size: 64 * mib, block: 4096}},
	"xfs":    {{zones: 32, zoneSize: 256 * mib, block: 4096}, {kind: "nvm", size: 512 * mib, block: 4096}},
	"zenfs":  {{zones: 32, zoneSize: 64 * mib, block: 4096}},
	"zonefs": {{zones: 16, zoneSize: 1 * mib, block: 4096}},
}

func likeNames() []string {
	var names []string
	for n := range likenesses {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}

// findLike is the geometry called name: one by its name, or that of an image, a foreign file or a zoned block
// device, with the zoned namespace first.
func findLike(name string) ([]geometry, error) {
	if l, ok := likenesses[strings.ToLower(name)]; ok {
		return l, nil
	}
	if _, err := os.Stat(name); err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		return nil, fmt.Errorf("invalid value %q for like: must be %s, or the name of an image or a zoned block device", name, strings.Join(likeNames(), ", "))
	}
	spaces, err := namespacesOf(name)
	if errors.As(err, new(*foreign.ContainerError)) {
		return nil, err // it names the file
	}
	if err != nil {
		return nil, fmt.Errorf("like %s: %w", name, err)
	}
	var list []geometry
	for _, n := range spaces {
		if n.Zoned() {
			list = append([]geometry{geometryOf(n)}, list...)
		} else {
			list = append(list, geometryOf(n))
		}
	}
	if len(list) == 0 || list[0].kind == "nvm" {
		return nil, fmt.Errorf("like %s: it has no zones", name)
	}
	return list, nil
}

// namespacesOf are the namespaces of the image, the foreign file or the device at path, which may be in use.
func namespacesOf(path string) (list []layout.Namespace, err error) {
	if image.Known(disk.OS, path, "") {
		im, err := image.Open(path, image.Options{ForceShare: true})
		if errors.Is(err, layout.ErrNotImage) {
			if c, _ := foreign.FindContainer(disk.OS, path); c != nil {
				err = &foreign.ContainerError{Path: path, Container: *c}
			}
		}
		if err != nil {
			return nil, err
		}
		for _, n := range im.Namespaces() {
			list = append(list, *n.Namespace)
		}
		return list, im.Close()
	}
	f, err := foreign.Detect(all.Formats, disk.OS, path)
	if err != nil {
		return nil, err
	}
	if f == nil {
		if c, _ := foreign.FindContainer(disk.OS, path); c != nil {
			return nil, &foreign.ContainerError{Path: path, Container: *c}
		}
		return nil, errors.New("it is not an image, and in no format that can be detected")
	}
	d, closer, err := transfer.Open(path, f, transfer.Options{}, true)
	if err != nil {
		return nil, err
	}
	for _, c := range d.Contents {
		list = append(list, *c.NS)
	}
	return list, closer()
}

// geometryOf is n as flags would describe it, without what makes it this one: names and identities.
func geometryOf(n layout.Namespace) geometry {
	bytes := func(blocks uint32) uint64 { return uint64(n.ByteOff(layout.LBA(blocks))) }
	g := geometry{
		kind: "nvm", block: uint64(n.BlockSize()), ms: uint64(n.MS), pi: uint64(n.PI), pif: uint64(n.PIFormat),
		mset: oneIf(n.ExtLBA), pil: oneIf(n.PIFirst),
	}
	if !n.Zoned() {
		g.size = uint64(n.Size())
		return g
	}
	g.kind, g.zones, g.cross = "zoned", n.ZoneCount, n.CrossRead
	g.zoneSize, g.zoneCap = uint64(n.ByteOff(n.ZoneSize)), uint64(n.ByteOff(n.ZoneCap))
	g.maxOpen, g.maxAct, g.ext = n.MaxOpen(), n.MaxActive(), uint64(n.ExtSize())
	g.zrwas, g.zrwafg, g.numZRWA = bytes(n.ZRWAS), bytes(n.ZRWAFG), uint64(n.NumZRWA)
	return g
}

func oneIf(yes bool) uint64 {
	if yes {
		return 1
	}
	return 0
}

// applyLike fills what g leaves open from the geometry that it is to be like. It returns the namespaces that
// belong beside it.
func (g *geometry) applyLike() ([]geometry, error) {
	if g.like == "" {
		return nil, nil
	}
	if g.kind == "nvm" {
		return nil, fmt.Errorf("like %s for a namespace without zones", g.like)
	}
	list, err := findLike(g.like)
	if err != nil {
		return nil, err
	}
	l := list[0]
	if g.size == 0 && g.zones == 0 {
		g.zones = l.zones
	}
	if g.zoneCap == 0 && (g.zoneSize == 0 || g.zoneSize == l.zoneSize) {
		g.zoneCap = l.zoneCap
	}
	for _, f := range []struct {
		to *uint64
		v  uint64
	}{
		{&g.zoneSize, l.zoneSize},
		{&g.block, l.block},
		{&g.maxOpen, l.maxOpen},
		{&g.maxAct, l.maxAct},
		{&g.ext, l.ext},
		{&g.zrwas, l.zrwas},
		{&g.zrwafg, l.zrwafg},
		{&g.numZRWA, l.numZRWA},
		{&g.ms, l.ms},
		{&g.mset, l.mset},
		{&g.pi, l.pi},
		{&g.pil, l.pil},
		{&g.pif, l.pif},
	} {
		if *f.to == 0 {
			*f.to = f.v
		}
	}
	g.cross = g.cross || l.cross
	return list[1:], nil
}
