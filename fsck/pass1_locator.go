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
	loc, err := s.searchLocator()
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
		return fmt.Sprintf("it says layout %v", s.files.Locator.Kind)
	}
	return s.files.LocatorErr.Error()
}

// searchLocator works out the locator from a sound slot header: at the beginning
// of a sidecar, anywhere near the end of a trailing image; nil if there is none.
func (s *state) searchLocator() (*layout.Locator, error) {
	meta := s.files.Meta
	var places []int64
	if s.files.Kind == layout.Sidecar {
		size, err := meta.Size()
		if err != nil {
			return nil, err
		}
		places = []int64{0, (size - layout.LocatorLen) / 2 &^ (layout.BlockLen - 1)}
	} else {
		off, ok, err := image.SearchHeader(meta)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, nil
		}
		places = []int64{off}
		if _, err := image.ReadHeader(meta, off); err != nil { // the header that was found is slot 1's
			size, serr := meta.Size()
			if serr != nil {
				return nil, serr
			}
			for at := off + layout.BlockLen; at < size; at += layout.BlockLen {
				if h, err := image.ReadHeader(meta, at); err == nil && int64(h.MetaOff) == off {
					places = []int64{at}
					break
				}
			}
		}
	}
	for _, at := range places {
		h, err := image.ReadHeader(meta, at)
		if errors.Is(err, layout.ErrNewer) {
			return nil, err
		}
		if err != nil || h.Kind != s.files.Kind {
			continue
		}
		return &layout.Locator{Kind: h.Kind, UUID: h.UUID, MetaOff: h.MetaOff, SlotLen: h.SlotLen}, nil
	}
	return nil, nil
}
