package image

import (
	"iter"

	"zimg/layout"
)

// Extension returns the zone descriptor extension of zone i, to be read only;
// nil for a namespace without.
func (n *Namespace) Extension(i uint64) ([]byte, error) {
	if err := n.CheckZoneNumber(i); err != nil || n.ZDES == 0 {
		return nil, err
	}
	if n.source != nil {
		return n.source.Extension(i)
	}
	ext := make([]byte, n.ExtSize())
	err := n.eachExtPart(i, func(num uint64, in int, part int, length int) error {
		b, err := n.im.block(num)
		if err == nil {
			copy(ext[part:part+length], b[in:])
		}
		return err
	})
	return ext, err
}

// SetExtension replaces the extension of zone i, ExtSize bytes; a shorter one is padded with zeroes.
func (n *Namespace) SetExtension(i uint64, ext []byte) error {
	if err := n.CheckZoneNumber(i); err != nil {
		return err
	}
	if len(ext) > n.ExtSize() {
		return layout.Errorf(layout.ErrRange, "extension of %d bytes is too long: namespace %d has %d bytes per zone", len(ext), n.ID, n.ExtSize())
	}
	full := make([]byte, n.ExtSize())
	copy(full, ext)
	if old, err := n.Extension(i); err != nil || string(old) == string(full) {
		return err
	}
	return n.eachExtPart(i, func(num uint64, in int, part int, length int) error {
		b, err := n.im.change(num)
		if err == nil {
			copy(b[in:in+length], full[part:])
		}
		return err
	})
}

// eachExtPart walks the blocks that the extension of zone i is in: unlike
// descriptors, extensions may cross blocks.
func (n *Namespace) eachExtPart(i uint64, fn func(num uint64, in, part, length int) error) error {
	size := n.ExtSize()
	num, in := n.at(n.entry.Tables.Ext, uint64(size), i)
	for part := 0; part < size; {
		length := min(size-part, layout.BlockLen-in)
		if err := fn(num, in, part, length); err != nil {
			return err
		}
		part, num, in = part+length, num+1, 0
	}
	return nil
}

// scanChunk is the number of zones that All reads at a time: a whole number of
// blocks of both tables, so that a million zones need no memory.
const scanChunk = 32 * layout.WPsPerBlock

// All yields count zones from first on, in order.
func (n *Namespace) All(first, count uint64) iter.Seq2[layout.Zone, error] {
	if n.source != nil {
		return n.source.All(first, count)
	}
	return func(yield func(layout.Zone, error) bool) {
		if count == 0 {
			return
		}
		if first >= n.ZoneCount || count > n.ZoneCount-first {
			yield(layout.Zone{}, n.CheckZoneNumber(max(first, first+count-1)))
			return
		}
		desc := make([]byte, min(count+layout.DescriptorsPerBlock, scanChunk)/layout.DescriptorsPerBlock*layout.BlockLen+layout.BlockLen)
		wps := make([]byte, min(count+layout.WPsPerBlock, scanChunk)/layout.WPsPerBlock*layout.BlockLen+layout.BlockLen)
		for end := first + count; first < end; {
			// Up to the next multiple of scanChunk, so that chunks begin with a block.
			stop := min(end, (first/scanChunk+1)*scanChunk)
			d, dIn, err := n.span(desc, n.entry.Tables.Desc, layout.DescriptorSize, first, stop)
			if err != nil {
				yield(layout.Zone{}, err)
				return
			}
			w, wIn, err := n.span(wps, n.entry.Tables.WP, layout.WPLen, first, stop)
			if err != nil {
				yield(layout.Zone{}, err)
				return
			}
			for i := 0; first < stop; first, i = first+1, i+1 {
				z, err := decodeZone(d[dIn+i*layout.DescriptorSize:], w[wIn:], i)
				if !yield(z, err) || err != nil {
					return
				}
			}
		}
	}
}

// decodeZone is the zone with descriptor d and entry i of the write pointers w.
func decodeZone(d, w []byte, i int) (z layout.Zone, err error) {
	if z.ZoneDescriptor, err = layout.DecodeZoneDescriptor(d); err != nil {
		return z, err
	}
	z.Written, err = layout.DecodeWP(w, i)
	return z, err
}

// span reads the blocks with entries first to stop of a table into buf and returns them with the offset of entry first.
func (n *Namespace) span(buf []byte, table layout.Bytes, size, first, stop uint64) ([]byte, int, error) {
	num, in := n.at(table, size, first)
	last, _ := n.at(table, size, stop-1)
	buf = buf[:(last-num+1)*layout.BlockLen]
	if err := n.im.readBlocks(buf, num); err != nil {
		return nil, 0, err
	}
	return buf, in, nil
}

var _ layout.Zones = (*Namespace)(nil)
