package zonedraw

import (
	"zimg/image/disk"
	"zimg/image/foreign"
	"zimg/layout"
)

// The driver takes write pointers through a signed 32-bit number whenever it updates one, and zone starts
// through an unsigned one. What that leaves in the file, for a pointer P:
//
//	zone start S of a new image or a reset, S >= 4 GiB    state | S mod 2^32
//	P >= 4 GiB, bit 31 of it clear                        state | P mod 2^32
//	bit 31 of P set                                       ones  | P mod 2^32
//
// The lower half is right in all of them, and a zone is smaller than 4 GiB, so that it determines the pointer.
// But in the last the state is lost and the mark of a conventional zone set: from then on the driver
// moves the pointer no more, whatever is written. There the data says how far the zone was written.

// extended reports a pointer of the last kind.
func extended(e uint64) bool { return e>>32 == 0xFFFFFFFF }

// pointer is the write pointer of entry e of zone i: as it stands there or, if that is not in the zone and the
// zone is where the driver's numbers are too small, put together from its lower half.
func (r *raw) pointer(i, e uint64) (wp uint64, mended bool) {
	start := i * uint64(r.v.zoneSize)
	end := start + uint64(r.v.zoneSize)
	wp = e & (Conventional - 1)
	small := uint64(1) << 32
	if extended(e) {
		small = 1 << 31
	} else if wp >= start && wp <= end || e&Conventional != 0 {
		return wp, false
	}
	if w := start + uint64(uint32(e)-uint32(start)); end >= small && w <= end {
		return w, true
	}
	return wp, false
}

// written is how far zone i was written, as its data says.
func (r *raw) written(i uint64) (layout.LBA, error) {
	n := r.n
	from := r.v.data + int64(i)*int64(r.v.zoneSize)
	to := max(from, min(from+int64(r.v.zoneSize), r.rec.Off)) // the array may overlap it
	end, err := disk.LastNonZero(r.rec.File, from, to)
	return layout.LBA(i)*n.ZoneSize + layout.LBA((end-from+n.BlockSize()-1)>>n.BlockBits), err
}

// damaged says of how many zones the state is lost.
func (r *raw) damaged(d *foreign.Decoded) error {
	first := (uint64(1)<<31 - 1) / uint64(r.v.zoneSize) // that ends above 2 GiB, or at it
	if first >= r.n.ZoneCount {
		return nil
	}
	lost := foreign.Loss{What: "state and write pointer, damaged by the driver (written up to their last byte that is not zero)"}
	err := r.rec.Each(first, r.n.ZoneCount-first, func(i uint64, b []byte) error {
		if e := le.Uint64(b); extended(e) {
			if lost.Count == 0 {
				lost.First = i
			}
			lost.Count++
		}
		return nil
	})
	if lost.Count > 0 {
		d.Lost = append(d.Lost, lost.String())
	}
	return err
}
