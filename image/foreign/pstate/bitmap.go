package pstate

import (
	"math/bits"

	"zimg/image/disk"
	"zimg/image/foreign"
)

// bitmap says of each block whether it has been written: bit n%8 of byte n/8.
type bitmap struct {
	file   disk.File
	off    int64
	blocks uint64
}

// last is the block after the last one of [from, to) whose bit is set; from if there is
// none. It reads backwards, a little first: the last byte is enough for a Full zone.
func (m *bitmap) last(from, to uint64) (uint64, error) {
	to = min(to, m.blocks)
	for step := uint64(8); to > from; step = min(step*16, 4096) {
		first := max(from/8, (to+7)/8-min(step, (to+7)/8))
		b := make([]byte, (to+7)/8-first)
		if err := foreign.ReadFull(m.file, b, m.off+int64(first)); err != nil {
			return from, err
		}
		if r := to % 8; r != 0 {
			b[len(b)-1] &= 1<<r - 1
		}
		if first == from/8 {
			b[0] &^= 1<<(from%8) - 1
		}
		for i := len(b) - 1; i >= 0; i-- {
			if b[i] != 0 {
				return (first+uint64(i))*8 + uint64(bits.Len8(b[i])), nil
			}
		}
		to = max(from, first*8)
	}
	return from, nil
}

// gap is the first block of [from, to) whose bit is not set; to if there is none.
func (m *bitmap) gap(from, to uint64) (uint64, error) {
	to = min(to, m.blocks)
	for buf := make([]byte, 4096); from < to; {
		first := from / 8
		b := buf[:min(uint64(len(buf)), (to+7)/8-first)]
		if err := foreign.ReadFull(m.file, b, m.off+int64(first)); err != nil {
			return from, err
		}
		b[0] |= 1<<(from%8) - 1
		for i, c := range b {
			if c != 0xFF {
				return min(to, (first+uint64(i))*8+uint64(bits.TrailingZeros8(^c))), nil
			}
		}
		from = (first + uint64(len(b))) * 8
	}
	return to, nil
}

// writeBitmap sets the bits of all that was written; the file has zeroes there.
func writeBitmap(file disk.File, off int64, c *foreign.Content) error {
	w := &bitWriter{file: file, off: off}
	for r, err := range c.Runs() {
		if err != nil {
			return err
		}
		if err := w.set(uint64(r.From)>>c.NS.BlockBits, uint64(r.To)>>c.NS.BlockBits); err != nil {
			return err
		}
	}
	return w.flush()
}

// bitWriter writes runs of set bits in ascending order.
type bitWriter struct {
	file disk.File
	off  int64
	num  uint64 // of the byte in part
	part byte   // bits of byte num that are set so far
}

// set sets the bits [from, to).
func (w *bitWriter) set(from, to uint64) error {
	for from < to {
		if from/8 != w.num {
			if err := w.flush(); err != nil {
				return err
			}
			w.num = from / 8
		}
		if from%8 == 0 && to-from >= 8 {
			full := make([]byte, min((to-from)/8, 1<<16))
			for i := range full {
				full[i] = 0xFF
			}
			if _, err := w.file.WriteAt(full, w.off+int64(from/8)); err != nil {
				return err
			}
			from += uint64(len(full)) * 8
			continue
		}
		w.part |= 1 << (from % 8)
		from++
	}
	return nil
}

func (w *bitWriter) flush() error {
	if w.part == 0 {
		return nil
	}
	_, err := w.file.WriteAt([]byte{w.part}, w.off+int64(w.num))
	w.part = 0
	return err
}
