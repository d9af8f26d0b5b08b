package qemu

import (
	"encoding/binary"
	"errors"
	"os"

	"zimg/image/disk"
)

// The guest of an ephemeral run writes to qcow2 files that are thrown away, over the data files of the images, which QEMU
// gets for reading only:
//
//	raw node  ->  overlay (qcow2, no name)  ->  file node (read-only)
//
// A qcow2 file without data is four tables. Its clusters are of 64 KiB, and all refer to the file below until they are
// written.
const (
	clusterBits = 16
	clusterLen  = 1 << clusterBits
	// l2Span is how much of the disk an entry of the L1 table stands for.
	l2Span = clusterLen / 8 * clusterLen
)

// lowerFile is a file of an overlay of package disk: the data is in the file below it.
type lowerFile interface{ Lower() disk.File }

// ceil is n / unit, rounded up.
func ceil(n, unit int64) int64 { return (n + unit - 1) / unit }

// emptyQCOW2 is a qcow2 file of version 3 for size bytes, without any of them. The name of the file below is not in it.
func emptyQCOW2(size int64) []byte {
	l1 := ceil(size, l2Span)
	l1Clusters := max(1, ceil(l1*8, clusterLen))
	b := make([]byte, (3+l1Clusters)*clusterLen)
	be := binary.BigEndian
	copy(b, "QFI\xfb")
	be.PutUint32(b[4:], 3)
	be.PutUint32(b[20:], clusterBits)
	be.PutUint64(b[24:], uint64(size))
	be.PutUint32(b[36:], uint32(l1))
	be.PutUint64(b[40:], 3*clusterLen) // the L1 table
	be.PutUint64(b[48:], clusterLen)   // the refcount table, of one cluster
	be.PutUint32(b[56:], 1)
	be.PutUint32(b[96:], 4)                    // refcounts of 16 bits
	be.PutUint32(b[100:], 104)                 // the length of the header
	be.PutUint64(b[clusterLen:], 2*clusterLen) // its only refcount block
	for i := range 3 + l1Clusters {
		be.PutUint16(b[2*clusterLen+2*i:], 1)
	}
	return b
}

// addOverlay gives QEMU a data file for reading, and an overlay for all that is written.
func (d *stock) addOverlay(node string, file disk.File, size int64) error {
	open, err := descriptor(file)
	if err != nil {
		return err
	}
	err = d.addNode(node+"-lower", open, map[string]any{"read-only": true})
	if err := errors.Join(err, open.Close()); err != nil {
		return err
	}
	over, err := os.CreateTemp(d.Overlay, "overlay-")
	if err != nil {
		return err
	}
	_, err = over.Write(emptyQCOW2(size))
	if err == nil {
		err = d.addNode(node+"-upper", over, nil)
	}
	if err := errors.Join(err, over.Close(), os.Remove(over.Name())); err != nil {
		return err
	}
	return d.qmp.Do("blockdev-add", map[string]any{
		"driver": "qcow2", "node-name": node, "file": node + "-upper", "backing": node + "-lower", "discard": "unmap",
		"cache": map[string]any{"no-flush": true}, // nobody misses it after a crash
	}, nil)
}
