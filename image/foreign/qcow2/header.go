// Package qcow2 reads and writes QEMU's qcow2 images with the zoned extension of Sam Li
// (qemu-devel, June 2023 to September 2024, v9 and its descendants; not merged).
//
//	header.go   the qcow2 header and the extension, in all its layouts
//	clusters.go from guest offsets to the file: L1, L2, compressed clusters
//	qcow2.go    the format    encode.go   a new container    check.go   what is wrong with one
//
// Sources: docs/interop/qcow2.rst of QEMU for the container; for the extension the messages named
// with each layout. Integers are big-endian, but for the write pointers, which are in the byte
// order of the host that wrote them.
package qcow2

import (
	"encoding/binary"
	"fmt"

	"zimg/image/disk"
	"zimg/image/foreign"
)

var be = binary.BigEndian

// The container's header.
const (
	Magic = 0x514649FB // "QFI" 0xFB

	offVersion     = 4
	offBacking     = 8
	offClusterBits = 20
	offSize        = 24
	offCrypt       = 32
	offL1Size      = 36
	offL1          = 40
	offRefTable    = 48
	offRefClusters = 56
	offIncompat    = 72
	offRefOrder    = 96
	offHeaderLen   = 100
	headerLenV3    = 104

	bitCorrupt  = 1 << 1
	bitExternal = 1 << 2
	bitZstd     = 1 << 3
	bitExtL2    = 1 << 4
	// BitZoned is the incompatible feature of v6 to v9; in v5 it meant the reverse.
	BitZoned = 1 << 5

	extEnd      = 0
	extFeatures = 0x6803F857
	// ExtZoned is the type of the zoned extension.
	ExtZoned = 0x007A6264
	// maxHeader bounds the header with its extensions: they are in the first cluster.
	maxHeader = 1 << 21
)

// header is what matters of the container's header.
type header struct {
	version     uint32
	clusterBits uint8
	size        uint64
	l1Size      uint32
	l1          int64
	refTable    int64
	refClusters uint32
	refOrder    uint32
	incompat    uint64
	ext         []byte // the zoned extension, nil if there is none
	extOff      int64
}

func (h *header) clusterSize() int64 { return 1 << h.clusterBits }

// readHeader reads the header, and refuses what is not read here.
func readHeader(file disk.File) (*header, error) {
	b := make([]byte, headerLenV3)
	if err := foreign.ReadFull(file, b[:72], 0); err != nil {
		return nil, err
	}
	if be.Uint32(b) != Magic {
		return nil, fmt.Errorf("%s: %w: not a qcow2 image", file.Name(), foreign.ErrNotFormat)
	}
	field := func(name string, off int64, got, want any) error {
		return foreign.Field(file, "qcow2 header", name, off, got, want)
	}
	h := &header{version: be.Uint32(b[offVersion:]), refOrder: 4}
	headerLen := int64(72)
	switch h.version {
	case 2:
	case 3:
		if err := foreign.ReadFull(file, b, 0); err != nil {
			return nil, err
		}
		h.incompat, h.refOrder = be.Uint64(b[offIncompat:]), be.Uint32(b[offRefOrder:])
		headerLen = int64(be.Uint32(b[offHeaderLen:]))
	default:
		return nil, field("version", offVersion, h.version, "2 or 3")
	}
	bits := be.Uint32(b[offClusterBits:])
	h.size, h.l1Size, h.l1 = be.Uint64(b[offSize:]), be.Uint32(b[offL1Size:]), int64(be.Uint64(b[offL1:]))
	h.refTable, h.refClusters = int64(be.Uint64(b[offRefTable:])), be.Uint32(b[offRefClusters:])
	size, err := file.Size()
	if err != nil {
		return nil, err
	}
	unsupported := func(what string) error {
		return fmt.Errorf("%s: %s: %w", file.Name(), what, foreign.ErrUnsupported)
	}
	switch {
	case bits < 9 || bits > 21:
		return nil, field("cluster_bits", offClusterBits, bits, "9 to 21")
	case h.size == 0 || h.size > 1<<61:
		return nil, field("size", offSize, h.size, "a size that a disk can have")
	case headerLen < 72 || headerLen > maxHeader:
		return nil, field("header_length", offHeaderLen, headerLen, "72 to that of a cluster")
	case h.refOrder > 6:
		return nil, field("refcount_order", offRefOrder, h.refOrder, "0 to 6")
	case h.l1 < 0 || h.l1%(1<<bits) != 0 || h.l1 > size || int64(h.l1Size) > (size-h.l1)/8:
		return nil, field("l1_table_offset", offL1, h.l1, fmt.Sprintf("%d entries within %d bytes", h.l1Size, size))
	case be.Uint64(b[offBacking:]) != 0:
		return nil, unsupported("a backing file")
	case be.Uint32(b[offCrypt:]) != 0:
		return nil, unsupported("encryption")
	case h.incompat&bitCorrupt != 0:
		return nil, field("incompatible_features", offIncompat, fmt.Sprintf("%#x", h.incompat), "no corrupt bit: qemu-img check -r all first")
	case h.incompat&bitExternal != 0:
		return nil, unsupported("an external data file")
	case h.incompat&bitExtL2 != 0:
		return nil, unsupported("extended L2 entries")
	case h.incompat>>6 != 0:
		return nil, unsupported(fmt.Sprintf("incompatible features %#x", h.incompat))
	}
	h.clusterBits = uint8(bits)
	return h, h.findExtension(file, headerLen)
}

// findExtension walks the header extensions to the zoned one.
func (h *header) findExtension(file disk.File, at int64) error {
	head := make([]byte, 8)
	for at+8 <= h.clusterSize() {
		if err := foreign.ReadFull(file, head, at); err != nil {
			return err
		}
		kind, length := be.Uint32(head), int64(be.Uint32(head[4:]))
		if kind == extEnd {
			return nil
		}
		if length > h.clusterSize()-at-8 {
			return foreign.Field(file, "qcow2 header extension", "length", at+4, length, fmt.Sprintf("within the first cluster, at most %d", h.clusterSize()-at-8))
		}
		if kind == ExtZoned {
			h.extOff = at + 8
			h.ext = make([]byte, length)
			return foreign.ReadFull(file, h.ext, h.extOff)
		}
		at += 8 + (length+7)&^7
	}
	return nil
}

// zoned is the zoned extension in any of its layouts.
type zoned struct {
	version            string
	mode               uint8 // 1: host-managed
	zoneSize, zoneCap  uint64
	conv, zones        uint32
	maxActive, maxOpen uint32
	maxAppend          uint32
	metaSize, metaOff  uint64
	extSize            uint32
	states             bool // entries hold states, not write pointers alone
}

// parseZoned tells the layout by its length and by whether its arithmetic agrees; there is no
// version in it.
func parseZoned(b []byte) *zoned {
	if len(b) < 48 {
		return nil
	}
	u32 := func(off int) uint32 { return be.Uint32(b[off:]) }
	u64 := func(off int) uint64 { return be.Uint64(b[off:]) }
	// 20240929134356.562086-4 (v9), v8
	if len(b) >= 56 && u64(40) == 8*uint64(u32(24)) {
		return &zoned{
			version: "v8 or v9", mode: b[0], zoneSize: u64(4), zoneCap: u64(12), conv: u32(20), zones: u32(24),
			maxActive: u32(28), maxOpen: u32(32), maxAppend: u32(36), metaSize: u64(40), metaOff: u64(48),
		}
	}
	z := &zoned{mode: b[0], zoneSize: uint64(u32(4)), zoneCap: uint64(u32(8)), conv: u32(12), zones: u32(16), maxActive: u32(20), maxOpen: u32(24), maxAppend: u32(28)}
	switch {
	// 20231127085641.3729-3: v6 with an extension size
	case len(b) == 52 && (u64(32) == 8*uint64(u32(16)) || u64(32) == (8+uint64(u32(48)))*uint64(u32(16))):
		z.version, z.metaSize, z.metaOff, z.extSize = "NVMe RFC v2", u64(32), u64(40), u32(48)
	// 20231030121847.4522-3 (v5), v4, v6, v7
	case len(b) == 48 && u64(32) == 8*uint64(z.zones):
		z.version, z.metaSize, z.metaOff = "v4 to v7", u64(32), u64(40)
	// 20230828150955.3481-4 (v3): offset before size, append in sectors
	case len(b) == 48 && u64(40) == 8*uint64(z.zones) && b[1] == 0:
		z.version, z.metaSize, z.metaOff, z.states = "v3", u64(40), u64(32), true
		z.maxAppend *= 512
	// 20230814085802.61459-3 (v2): a profile first, zones before conventional ones
	case len(b) == 48 && u64(40) == 8*uint64(u32(12)) && b[1] == 1:
		z.version, z.mode, z.zones, z.conv = "v2", b[1], u32(12), u32(16)
		z.metaSize, z.metaOff, z.states = u64(40), u64(32), true
		z.maxAppend *= 512
	// 20230605104108.125270-4 (RFC)
	case len(b) == 55 && u64(44) == 8*uint64(u32(16)):
		z = &zoned{
			version: "RFC", mode: b[4], zoneSize: uint64(u32(8)), zoneCap: uint64(u32(12)), zones: u32(16), conv: u32(20),
			maxActive: u32(24), maxOpen: u32(28), maxAppend: 512 * u32(32), metaOff: u64(36), metaSize: u64(44), states: true,
		}
	default:
		return nil
	}
	return z
}
