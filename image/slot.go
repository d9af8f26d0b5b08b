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
	Sums   []uint32 // of the table blocks, from TableOff on
	Plan   *layout.Plan
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
	size, err := file.Size()
	if err != nil {
		return nil, err
	}
	if off+int64(h.SlotLen) > size {
		return nil, &layout.FieldError{Region: "slot header", Off: layout.Bytes(off + 72), Field: "slot length", Got: h.SlotLen, Want: fmt.Sprintf("at most %d", size-off), Err: layout.ErrDamaged}
	}
	if want := int64(h.MetaOff) + int64(h.Slot)*int64(h.SlotLen); want != off {
		return nil, &layout.FieldError{Region: "slot header", Off: layout.Bytes(off + 64), Field: "metadata offset", Got: want, Want: off, Err: layout.ErrDamaged}
	}
	b := make([]byte, layout.ChecksumArrayLen(h.ChecksumCount))
	base := off + int64(h.ChecksumOff)
	if err := readFull(file, b, base); err != nil {
		return nil, err
	}
	s := &Slot{Header: h}
	if s.Sums, err = layout.DecodeChecksums(h, b, layout.Bytes(base)); err != nil {
		return nil, err
	}
	b = make([]byte, layout.TableLen(len(h.Counts)))
	base = off + int64(h.TableOff)
	if uint64(len(b)/layout.BlockLen) > h.ChecksumCount {
		return nil, &layout.FieldError{Region: "slot header", Off: layout.Bytes(off + 96), Field: "checksum count", Got: h.ChecksumCount, Err: layout.ErrDamaged}
	}
	if err := readFull(file, b, base); err != nil {
		return nil, err
	}
	for i := 0; i < len(b); i += layout.BlockLen {
		if got := layout.Checksum(b[i : i+layout.BlockLen]); got != s.Sums[i/layout.BlockLen] {
			return nil, checksumError("namespace table", base+int64(i), got, s.Sums[i/layout.BlockLen])
		}
	}
	if s.Plan, err = layout.DecodeTable(h, b, layout.Bytes(base)); err != nil {
		return nil, err
	}
	return s, nil
}

func checksumError(region string, off int64, got, want uint32) error {
	return &layout.FieldError{Region: region, Off: layout.Bytes(off), Field: "checksum", Got: fmt.Sprintf("%#08x", got), Want: fmt.Sprintf("%#08x", want), Err: layout.ErrDamaged}
}

// chooseSlot reads both slots and returns the one with the higher generation
// among those that are sound. loc tells where they are; nil: at the beginning of the
// file, where a sidecar has them.
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
		return fmt.Errorf("neither copy of the metadata has a header: %w", layout.ErrDamaged)
	}
	return fmt.Errorf("neither copy of the metadata is sound: slot 0: %w; slot 1: %w", errs[0], errs[1])
}

// readSlots reads both slots; a slot that is not sound is nil and has its
// reason in errs. err is for I/O errors.
func readSlots(file disk.File, loc *layout.Locator) (slots [2]*Slot, errs [2]error, err error) {
	var base, slotLen int64
	if loc != nil {
		base, slotLen = int64(loc.MetaOff), int64(loc.SlotLen)
	}
	slots[0], errs[0] = ReadSlot(file, base)
	if errs[0] != nil && !isJudgement(errs[0]) {
		return slots, errs, errs[0]
	}
	if loc == nil {
		if slots[0] != nil {
			slotLen = int64(slots[0].Header.SlotLen)
		} else {
			// Without a locator the only other hint is the file's own length.
			size, err := file.Size()
			if err != nil {
				return slots, errs, err
			}
			slotLen = (size - layout.LocatorLen) / 2
		}
	}
	if slotLen <= 0 || slotLen%layout.BlockLen != 0 {
		errs[1] = fmt.Errorf("its place is not known: %w", layout.ErrDamaged)
		return slots, errs, nil
	}
	slots[1], errs[1] = ReadSlot(file, base+slotLen)
	if errs[1] != nil && !isJudgement(errs[1]) {
		return slots, errs, errs[1]
	}
	if slots[0] != nil && slots[1] != nil && slots[0].Header.UUID != slots[1].Header.UUID {
		// Not two copies of one image: believe the one the locator means.
		i := 1
		if loc != nil && slots[1].Header.UUID == loc.UUID {
			i = 0
		}
		slots[i], errs[i] = nil, fmt.Errorf("slot %d has another image's UUID: %w", i, layout.ErrDamaged)
	}
	return slots, errs, nil
}

// dataNames reads the names of the data files from the newest sound slot of a sidecar.
func dataNames(meta disk.File) ([]string, error) {
	loc, err := readLocator(meta)
	if err != nil && !isJudgement(err) {
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
