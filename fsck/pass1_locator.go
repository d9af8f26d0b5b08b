package fsck

import (
	"errors"
	"fmt"

	"zimg/image"
	"zimg/layout"
)

// checkLocator finds the metadata area: by the locator, or else by the slot
// headers themselves.
func (s *state) checkLocator() error {
	f := s.files
	if f.LocatorErr == nil && f.Locator.Kind == f.Kind {
		s.loc = f.Locator
		return nil
	}
	if errors.Is(f.LocatorErr, layout.ErrNewer) {
		return f.LocatorErr
	}
	loc, err := image.FindLocator(f.Meta, f.Kind)
	if err != nil {
		return err
	}
	if loc == nil && s.o.Geometry != nil {
		return nil // the next pass makes one
	}
	if loc == nil {
		if err := s.found(Finding{Code: SlotsLost, Detail: s.locatorError()}, nil); err != nil {
			return err
		}
		return errBeyond
	}
	s.loc = loc
	off := int64(loc.MetaOff + 2*loc.SlotLen)
	return s.found(s.inMeta(LocatorDamaged, off, s.locatorError()), func() error {
		s.locator = true
		return nil
	})
}

func (s *state) locatorError() string {
	if s.files.LocatorErr == nil {
		return fmt.Sprintf("layout %v in the locator", s.files.Locator.Kind)
	}
	return s.files.LocatorErr.Error()
}
