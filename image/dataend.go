package image

import (
	"zimg/image/disk"
	"zimg/layout"
)

// How far was a zone written? The data alone shows it up to the last block that is not all zero, whatever the file system
// says of its holes (see disk.LastNonZero). Blocks of zeroes after that leave no trace in the data: only a record shows them.

// ZoneDataEnd is the LBA after the last block of zone i of n that is not all zero, or whose LBA metadata is not; the zone's
// start if there is none. It may be beyond the capacity. It may be called by several goroutines.
func ZoneDataEnd(file disk.File, n *layout.Namespace, i uint64) (layout.LBA, error) {
	start := layout.LBA(i) * n.ZoneSize
	return NonZeroEnd(file, n, start, start+n.ZoneSize)
}

// NonZeroEnd is the LBA after the last block of [from, to) that is not all zero, or whose LBA metadata is not; from if
// there is none.
func NonZeroEnd(file disk.File, n *layout.Namespace, from, to layout.LBA) (layout.LBA, error) {
	first := int64(n.DataOff + n.ByteOff(from))
	at, err := disk.LastNonZero(file, first, int64(n.DataOff+n.ByteOff(to)))
	if err != nil {
		return from, err
	}
	end := from + blocksUp(n, at-first)
	if n.MS == 0 {
		return end, nil
	}
	// LBA metadata is after all the data. Blocks before end need no second look.
	meta := int64(n.DataOff) + int64(n.Blocks)<<n.BlockBits
	first = meta + int64(end)*int64(n.MS)
	at, err = disk.LastNonZero(file, first, meta+int64(to)*int64(n.MS))
	return end + layout.LBA((at-first+int64(n.MS)-1)/int64(n.MS)), err
}

// ZoneAllocatedEnd is the LBA after the last block of zone i of n that is not in a hole, as the file system sees it.
// That is no proof that anything was written.
func ZoneAllocatedEnd(file disk.File, n *layout.Namespace, i uint64) (layout.LBA, error) {
	start := layout.LBA(i) * n.ZoneSize
	from := int64(n.DataOff + n.ByteOff(start))
	end, err := disk.LastData(file, from, from+int64(n.ByteOff(n.ZoneSize)))
	return start + blocksUp(n, end-from), err
}

// blocksUp is a length in bytes as a number of blocks.
func blocksUp(n *layout.Namespace, length int64) layout.LBA {
	return layout.LBA((length + n.BlockSize() - 1) >> n.BlockBits)
}
