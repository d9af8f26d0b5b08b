package fsck

import (
	"fmt"
	"path/filepath"

	"zimg/image"
	"zimg/layout"
)

// checkLeftovers looks for what interrupted conversions leave, and whether the
// data files are whole.
func (s *state) checkLeftovers() error {
	plan := s.im.Plan()
	for i, file := range s.files.Data {
		if i >= len(plan.DataLen) {
			break
		}
		size, err := file.Size()
		if err != nil {
			return err
		}
		if want := int64(plan.DataLen[i]); size < want {
			f := Finding{Code: DataShort, File: file.Name(), Off: size, Got: fmt.Sprintf("%d bytes", size), Want: fmt.Sprint(want)}
			if err := s.found(f, func() error {
				s.trim = append(s.trim, trim{i, want})
				return nil
			}); err != nil {
				return err
			}
		}
	}
	if s.files.Kind == layout.Trailing {
		return s.checkSidecarLeftover()
	}
	return s.checkTail()
}

// checkSidecarLeftover looks for a sidecar beside a trailing image.
func (s *state) checkSidecarLeftover() error {
	name := s.files.Data[0].Name() + image.SidecarSuffix
	fsys := s.o.fs()
	info, err := fsys.Stat(name)
	if err != nil || !info.Mode().IsRegular() {
		return nil //nolint:nilerr // what is not a file, a loop of links for instance, is no sidecar
	}
	ours, err := isSidecarOf(s.im, s.o, name)
	if err != nil {
		return err
	}
	if !ours {
		return s.found(Finding{Code: SidecarForeign, Detail: name}, nil)
	}
	return s.found(Finding{Code: SidecarLeftover, Detail: name}, func() error {
		s.remove = append(s.remove, name)
		return nil
	})
}

// isSidecarOf reports whether the file called name is a sidecar with the UUID of im.
func isSidecarOf(im *image.Image, o Options, name string) (bool, error) {
	slot, err := image.ReadSidecarSlot(o.fs(), name)
	if err != nil && !layout.IsJudgement(err) {
		return false, err
	}
	return err == nil && slot.Header.UUID == im.Header().UUID, nil
}

// tailOf is the place of metadata of im after the data of its only data file; ok is false if there is none.
func tailOf(im *image.Image) (off int64, ok bool, err error) {
	file, end := im.Files().Data[0], int64(im.Plan().DataLen[0])
	size, err := file.Size()
	if err != nil || size <= end {
		return 0, false, err
	}
	off, ok, err = image.SearchHeader(file)
	if err != nil || !ok || off < end {
		return 0, false, err
	}
	h, err := image.ReadHeader(file, off)
	if err != nil {
		return 0, false, nil //nolint:nilerr // not a header after all: what follows the data area belongs to the user
	}
	return off, h.UUID == im.Header().UUID, nil
}

// Leftover is the file in which an interrupted change of the layout has left metadata of im that is not used, "" if there
// is none. A repair removes it.
func Leftover(im *image.Image, o Options) (string, error) {
	if len(im.Files().Data) != 1 {
		return "", nil
	}
	data := im.Files().Data[0].Name()
	if im.Header().Kind == layout.Sidecar {
		_, ok, err := tailOf(im)
		if !ok {
			data = ""
		}
		return data, err
	}
	name := data + image.SidecarSuffix
	if info, err := o.fs().Stat(name); err != nil || !info.Mode().IsRegular() {
		return "", nil //nolint:nilerr // what is not a file is no sidecar
	}
	ours, err := isSidecarOf(im, o, name)
	if !ours {
		name = ""
	}
	return name, err
}

// checkTail looks for the metadata of a trailing image after the data of one
// with a sidecar.
func (s *state) checkTail() error {
	if len(s.files.Data) != 1 {
		return nil
	}
	file := s.files.Data[0]
	if e := s.im.Plan().Entries[0]; e.Name != "" && e.Name != filepath.Base(file.Name()) {
		if err := s.found(Finding{Code: DataFileName, Got: filepath.Base(file.Name()), Want: e.Name}, nil); err != nil {
			return err
		}
	}
	end := int64(s.im.Plan().DataLen[0])
	off, ok, err := tailOf(s.im)
	if err != nil || !ok {
		return err
	}
	return s.found(Finding{Code: TailLeftover, File: file.Name(), Off: off}, func() error {
		s.trim = append(s.trim, trim{0, end})
		return nil
	})
}
