package image

import (
	"errors"
	"io"
	"sync"

	"zimg/image/disk"
	"zimg/layout"
)

// How far was a zone written? The file system knows where there is data
// (SEEK_DATA, SEEK_HOLE), to the granularity of its blocks, and that is the answer: zeroes
// that a guest wrote are data. A zone whose data reaches to the very end of the zone may as well
// be preallocated, or on a file system that has no holes: there the last block that is not
// zero is looked for, from the end backwards.

// ZoneDataEnd is the LBA behind the last one of zone i of n that holds data, by file;
// the zone's start if there is none. It may lie beyond the capacity.
func ZoneDataEnd(file disk.File, n *layout.Namespace, i uint64) (layout.LBA, error) {
	start := layout.LBA(i) * n.ZoneSize
	from := int64(n.DataOff + n.ByteOff(start))
	end, err := lastData(file, from, from+int64(n.ByteOff(n.ZoneSize)))
	return start + blocksUp(n, end-from), err
}

// NonZeroEnd is the LBA behind the last block of [from, to) that is not all zero; from if
// there is none.
func NonZeroEnd(file disk.File, n *layout.Namespace, from, to layout.LBA) (layout.LBA, error) {
	first := int64(n.DataOff + n.ByteOff(from))
	end, err := lastNonZero(file, first, int64(n.DataOff+n.ByteOff(to)))
	return from + blocksUp(n, end-first), err
}

// blocksUp is a length in bytes as a number of blocks.
func blocksUp(n *layout.Namespace, length int64) layout.LBA {
	return layout.LBA((length + n.BlockSize() - 1) >> n.BlockBits)
}

// lastData is the offset behind the last data in [from, to) of file, or from.
func lastData(file disk.File, from, to int64) (int64, error) {
	end := from
	for at := from; at < to; {
		data, err := file.SeekData(at)
		if errors.Is(err, io.EOF) || err == nil && data >= to {
			return end, nil
		}
		if err != nil {
			return from, err
		}
		hole, err := file.SeekHole(data)
		if err != nil {
			return from, err
		}
		if hole >= to {
			return lastNonZero(file, from, to)
		}
		end, at = hole, hole
	}
	return end, nil
}

// backBuf is how much is read at a time when reading backwards.
const backBuf = 256 << 10

var backBufs = sync.Pool{New: func() any { b := make([]byte, backBuf); return &b }}

// lastNonZero is the offset behind the last byte of [from, to) that is not zero.
func lastNonZero(file disk.File, from, to int64) (int64, error) {
	p := backBufs.Get().(*[]byte)
	defer backBufs.Put(p)
	// A written zone is known by its last block: begin with little.
	for step := int64(4096); to > from; step = min(2*step, backBuf) {
		b := (*p)[:min(step, to-from)]
		n, err := file.ReadAt(b, to-int64(len(b)))
		if err != nil && !errors.Is(err, io.EOF) {
			return from, err
		}
		clear(b[n:])
		if k := lastByte(b); k >= 0 {
			return to - int64(len(b)) + int64(k) + 1, nil
		}
		to -= int64(len(b))
	}
	return from, nil
}

// lastByte is the index of the last byte of b that is not zero, or -1.
func lastByte(b []byte) int {
	for len(b) >= len(zeroBlock) && string(b[len(b)-len(zeroBlock):]) == string(zeroBlock[:]) {
		b = b[:len(b)-len(zeroBlock)]
	}
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] != 0 {
			return i
		}
	}
	return -1
}

var zeroBlock [4096]byte
