package qcow2

import (
	"encoding/binary"
)

// zoned is the zoned extension in any of its layouts.
type zoned struct {
	version            string
	mode               uint32 // 1: host-managed
	zoneSize, zoneCap  uint64
	conv, zones        uint32
	maxActive, maxOpen uint32
	maxAppend          uint64 // bytes
	metaSize, metaOff  uint64
	extSize            uint32
	states             bool             // entries hold states, not write pointers alone
	bit                bool             // the version sets feature bit 5
	convMark           uint64           // the bit of an entry that marks a conventional zone
	order              binary.ByteOrder // of the entries, nil if the extension does not say
}

// Versions, and what is peculiar to them.
const (
	versionRFC  = "RFC"
	version2    = "v2"
	version3    = "v3"
	version4    = "v4 or v5" // distinguished from v6 and v7 by the feature bit
	version6    = "v6 or v7"
	versionNVMe = "NVMe RFC v2"
	version9    = "v8 to v10"
	versionNext = "2026, after v11"
)

// parseZoned recognizes the layout by its length and by whether its arithmetic agrees; there is no
// version in it. bit says whether the container has feature bit 5.
func parseZoned(b []byte, bit bool) *zoned {
	z := parseLayout(b, bit)
	if z != nil && z.convMark == 0 {
		z.convMark = entryConv
	}
	return z
}

func parseLayout(b []byte, bit bool) *zoned {
	if len(b) < 48 {
		return nil
	}
	u32 := func(off int) uint32 { return be.Uint32(b[off:]) }
	u64 := func(off int) uint64 { return be.Uint64(b[off:]) }
	// 20240929134356.562086-4 (v9), v8
	if len(b) >= 56 && u64(40) == entryLen*uint64(u32(24)) {
		return &zoned{
			version: version9, bit: true, mode: uint32(b[0]), zoneSize: u64(4), zoneCap: u64(12), conv: u32(20), zones: u32(24),
			maxActive: u32(28), maxOpen: u32(32), maxAppend: uint64(u32(36)), metaSize: u64(40), metaOff: u64(48),
		}
	}
	z := &zoned{
		mode: uint32(b[0]), zoneSize: uint64(u32(4)), zoneCap: uint64(u32(8)), conv: u32(12), zones: u32(16),
		maxActive: u32(20), maxOpen: u32(24), maxAppend: uint64(u32(28)), metaSize: u64(32), metaOff: u64(40),
	}
	offsetFirst := func(version string) { // and appends in sectors, in the series up to v3
		z.version, z.metaOff, z.metaSize, z.states = version, u64(32), u64(40), true
		z.maxAppend *= sector
	}
	switch {
	// 20231127085641.3729-3: v6 with an extension size
	case len(b) == 52 && (z.metaSize == entryLen*uint64(z.zones) || z.metaSize == (entryLen+uint64(u32(48)))*uint64(z.zones)):
		z.version, z.bit, z.extSize = versionNVMe, true, u32(48)
	// 20231030121847.4522-3 (v5), v4, v6, v7
	case len(b) == 48 && z.metaSize == entryLen*uint64(z.zones):
		z.version, z.bit = version4, bit
		if bit {
			z.version = version6
		}
	// 20230828150955.3481-4 (v3)
	case len(b) == 48 && u64(40) == entryLen*uint64(z.zones) && b[1] == 0:
		offsetFirst(version3)
	// 20230814085802.61459-3 (v2): a profile first, zones before conventional ones
	case len(b) == 48 && u64(40) == entryLen*uint64(z.conv) && b[1] == 1:
		z.mode, z.zones, z.conv = uint32(b[1]), z.conv, z.zones
		offsetFirst(version2)
	// floatious/qemu 064654b83512, block/qcow2.h: no size of the write pointers, which are big-endian
	case len(b) == 48 && b[1] == 0 && bit && isPowerOf2(u64(8)) && u64(16) <= u64(8) && u32(24) < u32(4) && max(u32(28), u32(32)) <= u32(4):
		return &zoned{
			version: versionNext, bit: true, mode: uint32(b[0]), zones: u32(4), zoneSize: u64(8), zoneCap: u64(16), conv: u32(24),
			maxActive: u32(28), maxOpen: u32(32), maxAppend: uint64(u32(36)), metaSize: entryLen * uint64(u32(4)), metaOff: u64(40),
			order: binary.BigEndian, convMark: 1 << 63,
		}
	// 20230605104108.125270-4 (RFC): the first two fields are of the host's order
	case len(b) == 55 && u64(44) == entryLen*uint64(u32(16)):
		z = &zoned{
			version: versionRFC, zoneSize: uint64(u32(8)), zoneCap: uint64(u32(12)), zones: u32(16), conv: u32(20),
			maxActive: u32(24), maxOpen: u32(28), maxAppend: sector * uint64(u32(32)), metaOff: u64(36), metaSize: u64(44), states: true,
			order: binary.LittleEndian,
		}
		if u32(4) < 1<<16 { // models are small numbers
			z.order = binary.BigEndian
		}
		z.mode = z.order.Uint32(b[4:])
	default:
		return nil
	}
	return z
}

func isPowerOf2(n uint64) bool { return n != 0 && n&(n-1) == 0 }
