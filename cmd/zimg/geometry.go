package main

import (
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"

	"zimg/cmd/internal/cli"
	"zimg/image"
	"zimg/layout"
)

// geometry is a namespace as flags and --ns describe it, before anything is
// computed. Sizes are in bytes; 0 is "not given".
type geometry struct {
	nsid     uint64
	kind     string // "zoned" or "nvm"
	size     uint64
	zones    uint64
	zoneSize uint64
	zoneCap  uint64
	block    uint64
	maxOpen  uint64
	maxAct   uint64
	ext      uint64 // bytes
	zrwas    uint64 // bytes
	zrwafg   uint64 // bytes
	numZRWA  uint64
	ms       uint64
	mset     uint64
	pi       uint64
	pil      uint64
	pif      uint64
	cross    bool
	uuid     string
	nguid    string
	eui64    string
	file     string
	like     string

	saidOpen   bool     // maxOpen was given, if only as 0: no limit
	saidActive bool     // maxAct was
	leftOut    []string // properties of QEMU's devices that an image does not keep
	controller []string // KEY=VALUE of the controller
}

// defaultZoneSize is what a namespace has whose zones nobody described; QEMU's
// default.
const defaultZoneSize = 128 << 20

// set is one key of --ns and -o; QEMU's names of properties are taken as well as ours.
//
//nolint:gocyclo // a table of keys
func (g *geometry) set(key, value string) error {
	number := func(p *uint64) error {
		n, err := strconv.ParseUint(value, 0, 32)
		if err != nil {
			return fmt.Errorf("%s=%s: not a number", key, value)
		}
		*p = n
		return nil
	}
	size := func(p *uint64) error {
		n, err := cli.ParseSize(value)
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		*p = uint64(n)
		return nil
	}
	positive := func(read func(p *uint64) error, p *uint64) error {
		if err := read(p); err != nil {
			return err
		}
		if *p == 0 {
			return fmt.Errorf("%s must be greater than 0", key)
		}
		return nil
	}
	onOff := func(p *bool) error {
		switch value {
		case "on", "true", "yes", "1":
			*p = true
		case "off", "false", "no", "0":
			*p = false
		default:
			return fmt.Errorf("%s=%s: must be on or off", key, value)
		}
		return nil
	}
	switch key {
	case "nsid":
		return number(&g.nsid)
	case "type":
		if value != "zoned" && value != "nvm" {
			return fmt.Errorf("type=%s: must be zoned or nvm", value)
		}
		g.kind = value
	case "zoned":
		var zoned bool
		if err := onOff(&zoned); err != nil {
			return err
		}
		g.kind = "nvm"
		if zoned {
			g.kind = "zoned"
		}
	case "size":
		return positive(size, &g.size)
	case "zones":
		return positive(number, &g.zones)
	case "zone-size":
		return positive(size, &g.zoneSize)
	case "zone-capacity":
		return positive(size, &g.zoneCap)
	case "zoned.zone_size": // 0 is QEMU's default, also below
		return size(&g.zoneSize)
	case "zoned.zone_capacity":
		return size(&g.zoneCap)
	case "block-size", "logical_block_size":
		return positive(size, &g.block)
	case "max-open", "zoned.max_open":
		g.saidOpen = true
		return number(&g.maxOpen)
	case "max-active", "zoned.max_active":
		g.saidActive = true
		return number(&g.maxAct)
	case "descr-ext-size", "zoned.descr_ext_size":
		return size(&g.ext)
	case "zrwas", "zoned.zrwas":
		return size(&g.zrwas)
	case "zrwafg", "zoned.zrwafg":
		return size(&g.zrwafg)
	case "numzrwa", "zoned.numzrwa":
		return number(&g.numZRWA)
	case "cross-read", "zoned.cross_read":
		return onOff(&g.cross)
	case "metadata-size", "ms":
		return number(&g.ms)
	case "mset":
		return number(&g.mset)
	case "pi":
		return number(&g.pi)
	case "pil":
		return number(&g.pil)
	case "pif":
		return number(&g.pif)
	case "uuid", "nguid":
		if value == "auto" { // QEMU makes one up; so does zimg
			value = ""
		}
		if key == "uuid" {
			g.uuid = value
		} else {
			g.nguid = value
		}
	case "eui64":
		g.eui64 = parseEUI64(value)
	case "file":
		g.file = value
	case "like":
		g.like = value
	default:
		known, err := g.setLine(key, value)
		if !known {
			return unknownKey(key)
		}
		return err
	}
	return nil
}

// parseList applies a list key=value,... to g.
func (g *geometry) parseList(list string) error {
	for _, item := range strings.Split(list, ",") {
		key, value, ok := strings.Cut(item, "=")
		switch {
		case ok:
		case item == "zoned" || item == "nvm":
			key, value = "type", item
		case listed(controllerProperties, item) || listed(wiringProperties, item):
			value = "on" // as QEMU takes a key alone
		default:
			return fmt.Errorf("%q is not key=value", item)
		}
		if err := g.set(strings.TrimSpace(key), strings.TrimSpace(value)); err != nil {
			return err
		}
	}
	return nil
}

// derive is the namespace that the list of --ns describes. The flags in g are its
// defaults, except for the size; a namespace without zones takes only the block size
// from them.
func (g geometry) derive(list string) (geometry, error) {
	var own geometry
	if err := own.parseLine(list); err != nil {
		return own, err
	}
	if own.kind == "nvm" || own.kind == "" && g.kind == "nvm" {
		if own.block == 0 {
			own.block = g.block
		}
		own.kind = "nvm"
		return own, nil
	}
	g.size, g.zones, g.leftOut, g.controller = 0, 0, nil, nil
	return g, g.parseLine(list)
}

// spec turns g into a namespace, or says what is wrong and what would be right.
func (g geometry) spec() (image.NamespaceSpec, error) {
	var s image.NamespaceSpec
	if g.block == 0 {
		g.block = 4096
	}
	if g.block&(g.block-1) != 0 || g.block < 512 || g.block > 65536 {
		return s, fmt.Errorf("invalid block size %d: must be a power of two from 512 to 65536", g.block)
	}
	if err := g.limits(); err != nil {
		return s, err
	}
	s.ID = layout.NSID(g.nsid)
	s.BlockBits = uint8(bits.TrailingZeros64(g.block))
	s.MS, s.ExtLBA = uint16(g.ms), g.mset == 1
	s.PI, s.PIFirst, s.PIFormat = uint8(g.pi), g.pil == 1, uint8(g.pif)
	s.File = g.file
	if err := g.identities(&s); err != nil {
		return s, err
	}
	if g.kind == "nvm" {
		return s, g.plain(&s)
	}
	s.CSI = layout.ZNS
	if err := g.zoned(&s); err != nil {
		return s, err
	}
	return s, nil
}

// limits refuses numbers that there is no room for in the format.
func (g *geometry) limits() error {
	for _, l := range []struct {
		name     string
		n, limit uint64
	}{
		{"max-open", g.maxOpen, math.MaxUint32},
		{"max-active", g.maxAct, math.MaxUint32},
		{"numzrwa", g.numZRWA, math.MaxUint32},
		{"zrwas", g.zrwas / g.block, math.MaxUint32},
		{"zrwafg", g.zrwafg / g.block, math.MaxUint32},
		{"metadata-size", g.ms, math.MaxUint16},
		{"mset", g.mset, 1},
		{"pi", g.pi, 3},
		{"pil", g.pil, 1},
		{"pif", g.pif, 2},
	} {
		if l.n > l.limit {
			return fmt.Errorf("%s %d is too large: at most %d", l.name, l.n, l.limit)
		}
	}
	return nil
}

// plain fills a namespace without zones.
func (g *geometry) plain(s *image.NamespaceSpec) error {
	for _, key := range []struct {
		name  string
		given bool
	}{
		{"zones", g.zones != 0},
		{"zone-size", g.zoneSize != 0},
		{"zone-capacity", g.zoneCap != 0},
		{"max-open", g.maxOpen != 0},
		{"max-active", g.maxAct != 0},
		{"descr-ext-size", g.ext != 0},
		{"zrwas", g.zrwas != 0},
		{"zrwafg", g.zrwafg != 0},
		{"numzrwa", g.numZRWA != 0},
		{"cross-read", g.cross},
		{"like", g.like != ""},
	} {
		if key.given {
			return fmt.Errorf("%s cannot be used for a namespace without zones", key.name)
		}
	}
	if g.size == 0 {
		return fmt.Errorf("a namespace without zones needs a size")
	}
	if g.size%g.block != 0 {
		return nearest("size", g.size, g.block, "block size")
	}
	s.Blocks = layout.LBA(g.size / g.block)
	return nil
}

// nearest says which values around n are multiples of unit.
func nearest(name string, n, unit uint64, unitName string) error {
	down, up := n/unit*unit, (n/unit+1)*unit
	if down == 0 {
		return fmt.Errorf("%s %s is not a multiple of the %s %s; nearest valid value: %s", name, exactSize(n), unitName, exactSize(unit), exactSize(up))
	}
	return fmt.Errorf("%s %s is not a multiple of the %s %s; nearest valid values: %s, %s", name, exactSize(n), unitName, exactSize(unit), exactSize(down), exactSize(up))
}

// exactSize is a size both as people and as programs write it.
func exactSize(n uint64) string {
	s := cli.FormatSize(int64(n))
	if s == strconv.FormatUint(n, 10) {
		return s
	}
	return fmt.Sprintf("%s (%d)", s, n)
}
