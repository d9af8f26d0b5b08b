package fsck

import (
	"errors"
	"fmt"
	"strings"

	"zimg/image"
	"zimg/layout"
)

// checkSlots reads both slots and chooses the live one.
func (s *state) checkSlots() error {
	if s.loc == nil {
		return s.renew("no metadata found")
	}
	var errs [2]error
	for i := range s.slots {
		off := int64(s.loc.MetaOff) + int64(i)*int64(s.loc.SlotLen)
		slot, err := image.ReadSlot(s.files.Meta, off)
		if err != nil && layout.IsJudgement(err) && !errors.Is(err, layout.ErrNewer) {
			if slot, err = s.correctSlot(i, off, err); slot != nil {
				s.slots[i] = slot
				continue
			}
		}
		switch {
		case err == nil && slot.Header.UUID != s.loc.UUID:
			err = fmt.Errorf("UUID %x: %w", slot.Header.UUID, errForeign)
		case err == nil && !s.placed(slot, i):
			err = layout.Errorf(layout.ErrDamaged, "header and locator differ")
		case err == nil:
			s.slots[i] = slot
		case !layout.IsJudgement(err) || errors.Is(err, layout.ErrNewer):
			return err
		}
		errs[i] = err
	}
	s.unforeign(&errs)
	live := 0
	switch a, b := s.slots[0], s.slots[1]; {
	case a == nil && b == nil:
		return s.salvage(errs)
	case a == nil:
		live = 1
	case b == nil:
	case a.Header.Generation == b.Header.Generation:
		if a.Header.ChecksumCRC != b.Header.ChecksumCRC {
			if err := s.found(s.inMeta(SameGeneration, int64(s.loc.MetaOff), fmt.Sprintf("generation %d", a.Header.Generation)), func() error { return nil }); err != nil {
				return err
			}
		}
		s.slots[1] = nil
	case b.Header.Generation > a.Header.Generation:
		live = 1
	}
	for i, err := range errs {
		if err == nil {
			continue
		}
		off := int64(s.loc.MetaOff) + int64(i)*int64(s.loc.SlotLen)
		if err := s.found(s.inMeta(slotCode(err), off, fmt.Sprintf("slot %d: %v", i, err)), func() error { return nil }); err != nil {
			return err
		}
	}
	s.assemble(live)
	return nil
}

// placed reports whether slot number i has the place and layout that the locator says.
func (s *state) placed(slot *image.Slot, i int) bool {
	h := slot.Header
	return h.MetaOff == s.loc.MetaOff && h.SlotLen == s.loc.SlotLen && h.Kind == s.loc.Kind && int(h.Slot) == i
}

// correctSlot reads slot number i with the one bit flipped back that cause is due to;
// the slot is nil, and the error cause, if that is not what happened.
func (s *state) correctSlot(i int, off int64, cause error) (*image.Slot, error) {
	slot, flip, err := image.CorrectSlot(s.files.Meta, off)
	switch {
	case err != nil && !layout.IsJudgement(err):
		return nil, err
	case err != nil || slot.Header.UUID != s.loc.UUID || !s.placed(slot, i):
		return nil, cause
	}
	return slot, s.flipped(flip, i)
}

// flipped makes the finding about a bit of slot number i.
func (s *state) flipped(f image.Flip, i int) error {
	return s.found(s.inMeta(BitFlipped, f.Off, fmt.Sprintf("slot %d, %s, bit %d", i, f.Region, f.Bit)), func() error { return nil })
}

var errForeign = errors.New("another image's")

// unforeign takes the slots' word against the locator's if both have another UUID.
func (s *state) unforeign(errs *[2]error) {
	if !errors.Is(errs[0], errForeign) || !errors.Is(errs[1], errForeign) {
		return
	}
	for i := range s.slots {
		off := int64(s.loc.MetaOff) + int64(i)*int64(s.loc.SlotLen)
		slot, err := image.ReadSlot(s.files.Meta, off)
		if err != nil || i == 1 && s.slots[0] != nil && slot.Header.UUID != s.slots[0].Header.UUID {
			continue
		}
		s.slots[i], errs[i] = slot, nil
		if !s.locator {
			s.loc.UUID = slot.Header.UUID
			end := int64(s.loc.MetaOff + 2*s.loc.SlotLen)
			_ = s.found(s.inMeta(LocatorDamaged, end, "UUID differs from that of the slots"), func() error {
				s.locator = true
				return nil
			})
		}
	}
}

// slotCode is the finding for a slot that cannot be read for the reason err.
func slotCode(err error) Code {
	if errors.Is(err, errForeign) {
		return SlotForeign
	}
	var field *layout.FieldError
	if errors.As(err, &field) {
		switch {
		case field.Region == "checksum array":
			return ChecksumsDamaged
		case strings.HasPrefix(field.Region, "namespace"):
			return TableDamaged
		}
	}
	return HeaderDamaged
}

// assemble makes the image that the later passes look at.
func (s *state) assemble(live int) {
	s.live = live
	s.surgeon = image.NewSurgeon(s.files, s.path, s.slots, live)
	s.im = s.surgeon.Image()
	s.flags = s.im.Header().Flags
	for _, n := range s.im.Namespaces() {
		if n.Zoned() {
			s.spaces = append(s.spaces, space{ns: n.Namespace, zones: n, img: n})
		}
	}
}
