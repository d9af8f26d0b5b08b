package zonefile

import (
	"fmt"
	"sort"

	"zimg/image/disk"
	"zimg/image/foreign"
	"zimg/layout"
)

// v5Bits is log2 of the block size that the device of series v5 has, whatever its property logical_block_size
// says: the zones are divided into blocks of that property, but a guest sees blocks of 512 bytes, and block N is
// at byte 512*N.
const v5Bits = 9

// maxProbed is how many written zones are looked at to find out where their data is.
const maxProbed = 4096

// settleAddressing decides whether block N of the zones is at byte 512*N of the data, as series v5 has it, or
// at N times the block size of the header, as all others do. The user may say so; else the data shows it.
func (r *region) settleAddressing(in *foreign.Input, d *foreign.Decoded, data disk.File) error {
	if r.ns.BlockBits == v5Bits || r.old {
		return nil
	}
	said, ok := in.SaidBlockBits()
	if data == nil {
		if ok && said == v5Bits {
			r.useV5(d)
		}
		return nil
	}
	own, v5, written, err := r.evidence(data)
	switch {
	case err != nil:
		return err
	case ok && said != v5Bits: // the check compares it with the header
	case ok && (v5 || !own):
		r.useV5(d)
	case own && !v5:
		value := fmt.Sprintf("in blocks of %d bytes, as series v2 to v4 have it", r.ns.BlockSize())
		d.Facts = append(d.Facts, foreign.Fact{Key: "data", Value: value})
	case v5 && !own:
		r.useV5(d)
		d.Assumed = append(d.Assumed, fmt.Sprintf("blocks of 512 bytes, as series v5 has it: the data is there, "+
			"and not where blocks of %d bytes would be", r.hdr.blockSize))
	case written:
		d.Guess = fmt.Errorf("%w: blocks of %d bytes, as the header says, or of 512 bytes, as series v5 has it "+
			"whatever the header says; the data does not show it", foreign.ErrWhichBlocks, r.ns.BlockSize())
		d.Assumed = append(d.Assumed, fmt.Sprintf("blocks of %d bytes; with series v5 they have 512 bytes", r.ns.BlockSize()))
	default:
		d.Assumed = append(d.Assumed, fmt.Sprintf("blocks of %d bytes; series v5 would use 512 bytes", r.ns.BlockSize()))
	}
	return nil
}

// useV5 makes the namespace that the guest of series v5 sees.
func (r *region) useV5(d *foreign.Decoded) {
	r.ns.BlockBits = v5Bits
	d.Facts = append(d.Facts, foreign.Fact{Key: "data", Value: "in blocks of 512 bytes, as series v5 has it"})
}

// evidence looks for bytes that are not zero where only the blocks of the header, or only those of series v5,
// place the data of written zones. written reports whether there are such zones at all.
func (r *region) evidence(data disk.File) (own, v5, written bool, err error) {
	size, err := data.Size()
	if err != nil {
		return false, false, false, err
	}
	type span struct{ from, to uint64 }
	var spans []span // in blocks, ascending
	err = r.rec.Each(0, r.rec.Count, func(i uint64, b []byte) error {
		z, err := r.zone(i, b)
		start := layout.LBA(i) * r.ns.ZoneSize
		if err != nil || z.Start != start || z.Written <= start || z.Written-start > r.ns.ZoneSize || z.State == layout.Offline {
			return err
		}
		spans = append(spans, span{uint64(start), uint64(z.Written)})
		if len(spans) == maxProbed {
			return foreign.ErrStop
		}
		return nil
	})
	if err != nil {
		return false, false, false, err
	}
	// within reports whether byte at is in one of the spans, in blocks of 1<<bits bytes, and where that ends.
	within := func(at int64, bits uint8) (bool, int64) {
		k := sort.Search(len(spans), func(k int) bool { return at < int64(spans[k].to<<bits) })
		if k == len(spans) {
			return false, size
		}
		if from := int64(spans[k].from << bits); at < from {
			return false, from
		}
		return true, int64(spans[k].to << bits)
	}
	// only looks for data in the spans of blocks of 1<<bits bytes that are not in those of 1<<other.
	only := func(bits, other uint8) (bool, error) {
		for _, s := range spans {
			from, to := int64(s.from<<bits), min(int64(s.to<<bits), size)
			for at := from; at < to; {
				in, end := within(at, other)
				end = min(end, to)
				if !in {
					last, err := foreign.LastByte(data, at, end)
					if err != nil || last > at {
						return err == nil, err
					}
				}
				at = end
			}
		}
		return false, nil
	}
	if own, err = only(r.ns.BlockBits, v5Bits); err == nil {
		v5, err = only(v5Bits, r.ns.BlockBits)
	}
	return own, v5, len(spans) > 0, err
}
