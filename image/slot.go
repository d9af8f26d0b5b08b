package image

import (
	"errors"
	"fmt"
	"io"

	"zimg/image/disk"
	"zimg/layout"
)

// Slot is one of the two copies of the metadata, judged as far as its header,
// its checksum array and its namespace table.
type Slot struct {
	Header *layout.Header
	Plan   *layout.Plan

	file disk.File // where the checksum array is, at off
	off  int64
	sums []uint32 // nil: not read yet
	// corrected: something on disk differs from what is here by a bit.
	corrected bool
}

// NewSlot makes a slot of parts that were not read from a file.
func NewSlot(h *layout.Header, plan *layout.Plan, sums []uint32) *Slot {
	return &Slot{Header: h, Plan: plan, sums: sums}
}

// Sums are the checksums of the table blocks, from TableOff on; to be read only.
// They are read when they are first needed: what only looks at the header of an
// image of a million zones needs no memory for them.
func (s *Slot) Sums() ([]uint32, error) {
	if s.sums != nil {
		return s.sums, nil
	}
	b := make([]byte, layout.ChecksumArrayLen(s.Header.ChecksumCount))
	if err := readFull(s.file, b, s.off); err != nil {
		return nil, err
	}
	sums, err := layout.DecodeChecksums(s.Header, b, layout.Bytes(s.off))
	if err != nil {
		return nil, err
	}
	s.sums = sums
	return sums, nil
}

// ReadHeader reads and decodes the slot header at off.
func ReadHeader(file disk.File, off int64) (*layout.Header, error) {
	b := make([]byte, layout.BlockLen)
	if err := readFull(file, b, off); err != nil {
		return nil, err
	}
	n, err := layout.PeekHeaderLen(b)
	if err != nil {
		return nil, err
	}
	if n > layout.BlockLen {
		b = make([]byte, n)
		if err := readFull(file, b, off); err != nil {
			return nil, err
		}
	}
	return layout.DecodeHeader(b, layout.Bytes(off))
}

// readFull fills b; a file that ends before is damaged, not an I/O error.
func readFull(file disk.File, b []byte, off int64) error {
	_, err := file.ReadAt(b, off)
	if errors.Is(err, io.EOF) {
		size, _ := file.Size()
		return &layout.FieldError{Region: "metadata area", Off: layout.Bytes(off), Field: "file length", Got: size, Want: fmt.Sprintf("at least %d", off+int64(len(b))), Err: layout.ErrDamaged}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", file.Name(), err)
	}
	return nil
}

// ReadSlot reads the slot at offset off. Lengths that the header claims are checked
// against the file before anything is allocated.
func ReadSlot(file disk.File, off int64) (*Slot, error) {
	h, err := ReadHeader(file, off)
	if err != nil {
		return nil, err
	}
	return readSlotOf(file, off, h)
}

// readSlotOf reads the rest of the slot at off that has the header h.
func readSlotOf(file disk.File, off int64, h *layout.Header) (*Slot, error) {
	if err := checkPlace(file, h, off); err != nil {
		return nil, err
	}
	s := &Slot{Header: h, file: file, off: off + int64(h.ChecksumOff)}
	first, err := s.checkArray()
	if err != nil {
		return nil, err
	}
	b, err := s.readTable(first)
	if err != nil {
		return nil, err
	}
	if s.Plan, err = layout.DecodeTable(h, b, layout.Bytes(off)+h.TableOff); err != nil {
		return nil, err
	}
	return s, nil
}

// readTable reads the namespace table, whose blocks have the first of the checksums.
func (s *Slot) readTable(first []uint32) ([]byte, error) {
	h := s.Header
	base := s.off - int64(h.ChecksumOff) + int64(h.TableOff)
	b := make([]byte, layout.TableLen(len(h.Counts)))
	if uint64(len(b)/layout.BlockLen) > h.ChecksumCount {
		return nil, &layout.FieldError{Region: "slot header", Off: layout.Bytes(s.off), Field: "checksum count", Got: h.ChecksumCount, Err: layout.ErrDamaged}
	}
	if err := readFull(s.file, b, base); err != nil {
		return nil, err
	}
	for i := 0; i < len(b); i += layout.BlockLen {
		if got := layout.Checksum(b[i : i+layout.BlockLen]); got != first[i/layout.BlockLen] {
			return b, checksumError("namespace table", base+int64(i), got, first[i/layout.BlockLen])
		}
	}
	return b, nil
}

// checkPlace makes sure that the slot with header h is where the header says, and
// ends within the file.
func checkPlace(file disk.File, h *layout.Header, off int64) error {
	size, err := file.Size()
	if err != nil {
		return err
	}
	if off+int64(h.SlotLen) > size {
		return &layout.FieldError{Region: "slot header", Off: layout.Bytes(off + 72), Field: "slot length", Got: h.SlotLen, Want: fmt.Sprintf("at most %d", size-off), Err: layout.ErrDamaged}
	}
	if want := int64(h.MetaOff) + int64(h.Slot)*int64(h.SlotLen); want != off {
		return &layout.FieldError{Region: "slot header", Off: layout.Bytes(off + 64), Field: "metadata offset", Got: want, Want: off, Err: layout.ErrDamaged}
	}
	return nil
}

// sparseArray is the length up to which a checksum array is read whatever the
// file takes on disk.
const sparseArray = 64 << 20

// CheckClaim refuses a checksum array of length bytes in file if it is long, and so
// much of the file is a hole that the array must be one too.
func CheckClaim(file disk.File, length int64) error {
	if length <= sparseArray {
		return nil
	}
	allocated, err := file.AllocatedBytes()
	if err != nil || allocated >= length/4 {
		return err
	}
	return &layout.FieldError{
		Region: "checksum array", Field: "length", Got: length,
		Want: fmt.Sprintf("at most what a file that takes %d bytes on disk can hold", allocated), Err: layout.ErrDamaged,
	}
}

// checkArray compares the checksum array with the header, in pieces, and returns
// its first entries: more than a namespace table has blocks. A few bytes on disk can
// claim an array of any length that is a hole. The checksum of no block is zero in a sound image but by chance,
// so a long array that is mostly a hole is not one.
func (s *Slot) checkArray() ([]uint32, error) {
	h, length := s.Header, int64(layout.ChecksumArrayLen(s.Header.ChecksumCount))
	if err := CheckClaim(s.file, length); err != nil {
		return nil, err
	}
	var first []uint32
	sum := uint32(0)
	buf := make([]byte, min(length, chunk))
	for done := int64(0); done < length; {
		b := buf[:min(int64(len(buf)), length-done)]
		if err := readFull(s.file, b, s.off+done); err != nil {
			return nil, err
		}
		if done == 0 {
			first = layout.PeekChecksums(b)
		}
		sum = layout.UpdateChecksum(sum, b)
		if done += int64(len(b)); done == length {
			if err := h.CheckArrayPadding(b, layout.Bytes(s.off+length)); err != nil {
				return nil, err
			}
		}
	}
	return first, h.CheckArraySum(sum, layout.Bytes(s.off))
}

func checksumError(region string, off int64, got, want uint32) error {
	return &layout.FieldError{Region: region, Off: layout.Bytes(off), Field: "checksum", Got: fmt.Sprintf("%#08x", got), Want: fmt.Sprintf("%#08x", want), Err: layout.ErrDamaged}
}

// chooseSlot reads both slots and returns the one with the higher generation
// among those that are sound. loc says where they are; nil: of a sidecar, at the
// beginning of the file.
func chooseSlot(file disk.File, loc *layout.Locator) (*Slot, error) {
	slots, errs, err := readSlots(file, loc)
	if err != nil {
		return nil, err
	}
	live := newest(slots)
	if live < 0 {
		return nil, noSlot(errs)
	}
	return slots[live], nil
}

// newest is the index of the sound slot with the highest generation, or -1.
func newest(slots [2]*Slot) int {
	switch {
	case slots[0] == nil && slots[1] == nil:
		return -1
	case slots[0] == nil || slots[1] != nil && slots[1].Header.Generation > slots[0].Header.Generation:
		return 1
	}
	return 0
}

// noSlot says why neither slot can be used: a newer format outweighs damage,
// and damage "not an image".
func noSlot(errs [2]error) error {
	for _, err := range errs {
		if errors.Is(err, layout.ErrNewer) {
			return err
		}
	}
	if errors.Is(errs[0], layout.ErrNotImage) && errors.Is(errs[1], layout.ErrNotImage) {
		return layout.Errorf(layout.ErrDamaged, "neither copy of the metadata has a header")
	}
	return fmt.Errorf("both copies of the metadata are damaged: slot 0: %w; slot 1: %w", errs[0], errs[1])
}

// readSlots reads both slots; a slot that is not sound is nil and has its
// reason in errs. err is for I/O errors.
func readSlots(file disk.File, loc *layout.Locator) (slots [2]*Slot, errs [2]error, err error) {
	var base, slotLen int64
	if loc != nil {
		base, slotLen = int64(loc.MetaOff), int64(loc.SlotLen)
	}
	slots[0], errs[0] = ReadSlot(file, base)
	if errs[0] != nil && !layout.IsJudgement(errs[0]) {
		return slots, errs, errs[0]
	}
	if loc == nil {
		if loc, err = FindLocator(file, layout.Sidecar); err != nil && !layout.IsJudgement(err) {
			return slots, errs, err
		}
		if loc == nil {
			errs[1] = layout.Errorf(layout.ErrDamaged, "its place is not known")
			return slots, errs, nil
		}
		slotLen = int64(loc.SlotLen)
	}
	slots[1], errs[1] = ReadSlot(file, base+slotLen)
	if errs[1] != nil && !layout.IsJudgement(errs[1]) {
		return slots, errs, errs[1]
	}
	if slots[0] != nil && slots[1] != nil && slots[0].Header.UUID != slots[1].Header.UUID {
		// Not two copies of one image: believe the one the locator means.
		i := 1
		if loc != nil && slots[1].Header.UUID == loc.UUID {
			i = 0
		}
		slots[i], errs[i] = nil, layout.Errorf(layout.ErrDamaged, "slot %d has another image's UUID", i)
	}
	return slots, errs, nil
}

// dataNames reads the names of the data files from the newest sound slot of a sidecar.
func dataNames(meta disk.File) ([]string, error) {
	loc, err := readLocator(meta)
	if err != nil && !layout.IsJudgement(err) {
		return nil, err
	}
	s, err := chooseSlot(meta, loc)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(s.Plan.DataLen))
	for _, e := range s.Plan.Entries {
		names[e.DataFile] = e.Name
	}
	return names, nil
}

// ReadSidecarSlot is the newest sound slot of the sidecar called name.
func ReadSidecarSlot(fsys disk.FS, name string) (*Slot, error) {
	file, err := fsys.Open(name, disk.ReadOnly, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	return chooseSlot(file, nil)
}
