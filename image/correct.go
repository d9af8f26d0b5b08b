package image

import (
	"errors"
	"io"
	"math/bits"

	"zimg/image/disk"
	"zimg/layout"
)

// Flip is a bit of the metadata file that flipped.
type Flip struct {
	Region string // "slot header", "checksum array" or "namespace table"
	Off    int64  // of the byte in the file
	Bit    uint8  // of the byte, 0 is the least significant
}

// CorrectSlot reads the slot at off, which ReadSlot does not find sound, as it is
// with one bit flipped back. It returns ReadSlot's error if no single bit is at
// fault. It is for a checker: see layout.FindFlip.
func CorrectSlot(file disk.File, off int64) (*Slot, Flip, error) {
	_, cause := ReadSlot(file, off)
	if cause == nil || !layout.IsJudgement(cause) {
		return nil, Flip{}, cause
	}
	h, err := ReadHeader(file, off)
	if err != nil {
		return correctHeader(file, off, cause)
	}
	if err := checkPlace(file, h, off); err != nil {
		return nil, Flip{}, cause
	}
	s := &Slot{Header: h, file: file, off: off + int64(h.ChecksumOff), corrected: true}
	first, err := s.checkArray()
	if err != nil {
		return s.correctArray(off, cause)
	}
	b, err := s.readTable(first)
	if err == nil || len(b) == 0 {
		return nil, Flip{}, cause
	}
	for i := 0; i < len(b); i += layout.BlockLen {
		diff := layout.Checksum(b[i:i+layout.BlockLen]) ^ first[i/layout.BlockLen]
		bit, ok := layout.FindFlip(diff, layout.BlockLen)
		if !ok {
			continue
		}
		b[i+int(bit/8)] ^= 1 << (bit % 8)
		base := off + int64(h.TableOff)
		plan, err := layout.DecodeTable(h, b, layout.Bytes(base))
		if err != nil {
			return nil, Flip{}, cause
		}
		s.Plan = plan
		return s, Flip{Region: "namespace table", Off: base + int64(i) + bit/8, Bit: uint8(bit % 8)}, nil
	}
	return nil, Flip{}, cause
}

// correctHeader is CorrectSlot where the header is at fault. All else must be sound.
func correctHeader(file disk.File, off int64, cause error) (*Slot, Flip, error) {
	b := make([]byte, layout.MaxHeaderLen)
	n, err := file.ReadAt(b, off)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, Flip{}, err
	}
	h, bit, err := layout.CorrectHeader(b[:n], layout.Bytes(off))
	if err != nil {
		return nil, Flip{}, cause
	}
	s, err := readSlotOf(file, off, h)
	if err != nil {
		return nil, Flip{}, cause
	}
	s.corrected = true
	return s, Flip{Region: "slot header", Off: off + bit/8, Bit: uint8(bit % 8)}, nil
}

// correctArray is CorrectSlot where the checksum array is at fault. In a long
// array many bits could explain a CRC by chance, so the entry that the bit is in must then
// be the checksum of its block.
func (s *Slot) correctArray(off int64, cause error) (*Slot, Flip, error) {
	h := s.Header
	if layout.ChecksumArrayLen(h.ChecksumCount) > sparseArray {
		return nil, Flip{}, cause // it would take too long, and too many bits would do
	}
	b := make([]byte, layout.ChecksumArrayLen(h.ChecksumCount))
	if err := readFull(s.file, b, s.off); err != nil {
		return nil, Flip{}, cause
	}
	bit, ok := layout.FindFlip(layout.Checksum(b)^h.ChecksumCRC, int64(len(b)))
	if !ok {
		return nil, Flip{}, cause
	}
	b[bit/8] ^= 1 << (bit % 8)
	sums, err := layout.DecodeChecksums(h, b, layout.Bytes(s.off))
	if err != nil {
		return nil, Flip{}, cause
	}
	if entry := bit / 32; entry < int64(len(sums)) {
		block := make([]byte, layout.BlockLen)
		if err := readFull(s.file, block, off+int64(h.TableOff)+entry*layout.BlockLen); err != nil {
			return nil, Flip{}, cause
		}
		if layout.Checksum(block) != sums[entry] {
			return nil, Flip{}, cause
		}
	}
	s.sums = sums
	table, err := s.readTable(sums)
	if err != nil {
		return nil, Flip{}, cause
	}
	if s.Plan, err = layout.DecodeTable(h, table, layout.Bytes(off)+h.TableOff); err != nil {
		return nil, Flip{}, cause
	}
	return s, Flip{Region: "checksum array", Off: s.off + bit/8, Bit: uint8(bit % 8)}, nil
}

// CorrectBlock flips back the bit of the table block b whose checksum should be
// want, and returns its number; ok is false if no single bit is at fault.
func CorrectBlock(b []byte, want uint32) (bit int64, ok bool) {
	diff := layout.Checksum(b) ^ want
	if bits.OnesCount32(diff) == 1 {
		return 0, false // that would be the checksum's, which is covered by another
	}
	if bit, ok = layout.FindFlip(diff, int64(len(b))); ok {
		b[bit/8] ^= 1 << (bit % 8)
	}
	return bit, ok
}
