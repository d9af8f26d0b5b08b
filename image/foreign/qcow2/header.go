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
	"zimg/layout"
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
	offSnapshots   = 60
	offIncompat    = 72
	offRefOrder    = 96
	offHeaderLen   = 100
	headerLenV2    = 72
	headerLenV3    = 104

	bitDirty    = 1 << 0
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
	// extMax is more than any layout of it has.
	extMax = 64
)

// Limits that QEMU sets when it opens an image.
const (
	maxL1       = 32 << 20
	maxRefTable = 8 << 20
	sector      = 512
)

// header is what matters of the container's header.
type header struct {
	version     uint32
	clusterBits uint8
	size        uint64 // of the disk, in whole sectors
	l1Size      uint32
	l1          int64
	refTable    int64
	refClusters uint32
	refOrder    uint32
	snapshots   uint32
	crypt       uint32
	incompat    uint64
	backing     uint64
	length      int64
	ext         []byte // the zoned extension, nil if there is none
	extOff      int64
}

func (h *header) clusterSize() int64 { return 1 << h.clusterBits }

// perTable is how many guest clusters an L2 table has.
func (h *header) perTable() int64 { return h.clusterSize() / 8 }

// readHeader reads the header and finds the zoned extension; whether the rest can be read is said
// by support.
func readHeader(file disk.File) (*header, error) {
	b := make([]byte, headerLenV3)
	if err := foreign.ReadFull(file, b[:headerLenV2], 0); err != nil {
		return nil, err
	}
	if be.Uint32(b) != Magic {
		return nil, layout.Errorf(foreign.ErrNotFormat, "%s is not a qcow2 image", file.Name())
	}
	field := func(name string, off int64, got, want any) error {
		return foreign.Field(file, "qcow2 header", name, off, got, want)
	}
	h := &header{version: be.Uint32(b[offVersion:]), refOrder: 4, length: headerLenV2}
	switch h.version {
	case 2:
	case 3:
		if err := foreign.ReadFull(file, b, 0); err != nil {
			return nil, err
		}
		h.incompat, h.refOrder = be.Uint64(b[offIncompat:]), be.Uint32(b[offRefOrder:])
		h.length = int64(be.Uint32(b[offHeaderLen:]))
	default:
		return nil, field("version", offVersion, h.version, "2 or 3")
	}
	bits := be.Uint32(b[offClusterBits:])
	h.size, h.l1Size, h.l1 = be.Uint64(b[offSize:])&^(sector-1), be.Uint32(b[offL1Size:]), int64(be.Uint64(b[offL1:]))
	h.refTable, h.refClusters = int64(be.Uint64(b[offRefTable:])), be.Uint32(b[offRefClusters:])
	h.backing, h.crypt, h.snapshots = be.Uint64(b[offBacking:]), be.Uint32(b[offCrypt:]), be.Uint32(b[offSnapshots:])
	switch {
	case bits < 9 || bits > 21:
		return nil, field("cluster_bits", offClusterBits, bits, "9 to 21")
	case h.length < headerLenV2 || h.length > 1<<bits:
		return nil, field("header_length", offHeaderLen, h.length, "72 to that of a cluster")
	}
	h.clusterBits = uint8(bits)
	return h, h.findExtension(file)
}

// findExtension walks the header extensions to the zoned one.
func (h *header) findExtension(file disk.File) error {
	end := h.clusterSize()
	if h.backing != 0 && h.backing < uint64(end) { // the name of the backing file ends them
		end = int64(h.backing)
	}
	head := make([]byte, 8)
	for at := h.length; at+8 <= end; {
		if err := foreign.ReadFull(file, head, at); err != nil {
			return err
		}
		kind, length := be.Uint32(head), int64(be.Uint32(head[4:]))
		if kind == extEnd {
			return nil
		}
		if length > end-at-8 {
			return foreign.Field(file, "qcow2 header extension", "length", at+4, length, fmt.Sprintf("within the first cluster, at most %d", end-at-8))
		}
		if kind == ExtZoned {
			h.extOff = at + 8
			h.ext = make([]byte, min(length, extMax))
			return foreign.ReadFull(file, h.ext, h.extOff)
		}
		at += 8 + (length+7)&^7
	}
	return nil
}

// support refuses what is not read here, and what QEMU refuses for the container's sake.
func (h *header) support(file disk.File) error {
	size, err := file.Size()
	if err != nil {
		return err
	}
	field := func(name string, off int64, got, want any) error {
		return foreign.Field(file, "qcow2 header", name, off, got, want)
	}
	unsupported := func(what string) error {
		return fmt.Errorf("%s: %s: %w", file.Name(), what, foreign.ErrUnsupported)
	}
	switch {
	case h.backing != 0:
		return unsupported("a backing file")
	case h.crypt != 0:
		return unsupported("encryption")
	case h.incompat&bitCorrupt != 0:
		return field("incompatible_features", offIncompat, fmt.Sprintf("%#x", h.incompat),
			"no corrupt bit (1): QEMU set it when it found the metadata damaged; a copy with the bit cleared can be read, qemu-img check -r may free the write pointers")
	case h.incompat&bitExternal != 0:
		return unsupported("an external data file")
	case h.incompat&bitExtL2 != 0:
		return unsupported("extended L2 entries")
	case h.incompat>>6 != 0:
		return unsupported(fmt.Sprintf("incompatible features %#x", h.incompat))
	case h.size == 0 || h.size > 1<<61:
		return field("size", offSize, h.size, "a size that a disk can have")
	case h.refOrder > 6:
		return field("refcount_order", offRefOrder, h.refOrder, "0 to 6")
	case int64(h.l1Size) > maxL1/8:
		return field("l1_size (QEMU refuses the image)", offL1Size, h.l1Size, fmt.Sprintf("at most %d", maxL1/8))
	case uint64(h.l1Size) < (h.size-1)>>h.clusterBits/uint64(h.perTable())+1:
		return field("l1_size (QEMU refuses the image)", offL1Size, h.l1Size, fmt.Sprintf("at least %d, for %d bytes", (h.size-1)>>h.clusterBits/uint64(h.perTable())+1, h.size))
	case h.l1 < 0 || h.l1%h.clusterSize() != 0 || h.l1 > size || int64(h.l1Size) > (size-h.l1)/8:
		return field("l1_table_offset", offL1, h.l1, fmt.Sprintf("%d entries within %d bytes", h.l1Size, size))
	}
	return nil
}
