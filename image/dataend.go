package image

import (
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
	end, err := disk.LastData(file, from, from+int64(n.ByteOff(n.ZoneSize)))
	return start + blocksUp(n, end-from), err
}

// NonZeroEnd is the LBA behind the last block of [from, to) that is not all zero; from if
// there is none.
func NonZeroEnd(file disk.File, n *layout.Namespace, from, to layout.LBA) (layout.LBA, error) {
	first := int64(n.DataOff + n.ByteOff(from))
	end, err := disk.LastNonZero(file, first, int64(n.DataOff+n.ByteOff(to)))
	return from + blocksUp(n, end-first), err
}

// blocksUp is a length in bytes as a number of blocks.
func blocksUp(n *layout.Namespace, length int64) layout.LBA {
	return layout.LBA((length + n.BlockSize() - 1) >> n.BlockBits)
}
