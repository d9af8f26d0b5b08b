package image

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"zimg/image/disk"
	"zimg/layout"
)

// found is where probe says the metadata area is.
type found struct {
	kind       layout.Kind
	sidecar    string // path of the sidecar; empty if the area is in the file probed
	locator    *layout.Locator
	locatorErr error
}

// probe tells which of the three things file is: a trailing image, the data
// file of a sidecar, or a sidecar. The rule (docs/FORMAT.md, "Finding it"):
//
//   - a sidecar that was named is taken;
//   - a sound locator of a trailing layout at the end is taken, unless a sidecar
//     is there whose data area is as long as the whole file: then what looks like a
//     locator is the guest's own data;
//   - else a sidecar beside the file;
//   - else a slot header at offset 0 makes it a sidecar.
//
// Both conversions between the layouts lean on the second rule: see convert.go.
func probe(fsys disk.FS, file disk.File, o Options) (found, error) {
	name := file.Name()
	if o.Sidecar != "" {
		return found{kind: layout.Sidecar, sidecar: o.Sidecar}, nil
	}
	loc, locErr := readLocator(file)
	if locErr != nil && !isJudgement(locErr) {
		return found{}, locErr
	}
	sidecar := name + SidecarSuffix
	_, err := fsys.Stat(sidecar)
	haveSidecar := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return found{}, err
	}
	if loc != nil && loc.Kind == layout.Trailing {
		covered := false
		if haveSidecar {
			if covered, err = coversWhole(fsys, sidecar, file); err != nil {
				return found{}, err
			}
		}
		if !covered {
			return found{kind: layout.Trailing, locator: loc}, nil
		}
	}
	if haveSidecar {
		return found{kind: layout.Sidecar, sidecar: sidecar}, nil
	}
	if header, err := beginsWithHeader(file); err != nil {
		return found{}, err
	} else if header {
		return found{kind: layout.Sidecar, locator: loc, locatorErr: locErr}, nil
	}
	if errors.Is(locErr, layout.ErrNewer) {
		return found{}, fmt.Errorf("%s: %w", name, locErr)
	}
	if off, ok, err := SearchHeader(file); err != nil {
		return found{}, err
	} else if ok {
		return found{kind: layout.Trailing, locatorErr: fmt.Errorf("a slot header is at byte %d, but no sound locator at the end of the file: %w", off, locErr)}, nil
	}
	return found{}, &HintError{
		Err:  fmt.Errorf("%s: %w", name, layout.ErrNotImage),
		Hint: fmt.Sprintf("there is neither a locator at its end nor a sidecar %s", sidecar),
	}
}

// Known tells whether path may be one of our images, by a quick look: it has a sound locator at its
// end, a sidecar, or is one. Where it is not, a foreign format is asked first.
func Known(fsys disk.FS, path, sidecar string) bool {
	if sidecar != "" {
		path = sidecar
	}
	path, err := disk.Resolve(fsys, path)
	if err != nil {
		return false
	}
	if _, err := fsys.Stat(path + SidecarSuffix); err == nil {
		return true
	}
	file, err := fsys.Open(path, disk.ReadOnly, 0)
	if err != nil {
		return false
	}
	defer func() { _ = file.Close() }()
	if _, err := readLocator(file); err == nil || errors.Is(err, layout.ErrNewer) {
		return true
	}
	header, _ := beginsWithHeader(file)
	return header
}

// beginsWithHeader tells whether file may be a sidecar.
func beginsWithHeader(file disk.File) (bool, error) {
	head := make([]byte, 8)
	n, err := file.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("%s: %w", file.Name(), err)
	}
	return layout.IsHeader(head[:n]), nil
}

// isJudgement tells what was read and found wanting from what could not be read.
func isJudgement(err error) bool {
	return errors.Is(err, layout.ErrNotImage) || errors.Is(err, layout.ErrDamaged) || errors.Is(err, layout.ErrNewer)
}

// readLocator reads the last block of file.
func readLocator(file disk.File) (*layout.Locator, error) {
	size, err := file.Size()
	if err != nil {
		return nil, err
	}
	if size < layout.LocatorLen {
		return nil, &layout.FieldError{Region: "locator", Field: "file length", Got: size, Err: layout.ErrNotImage}
	}
	b := make([]byte, layout.LocatorLen)
	off := size - layout.LocatorLen
	if _, err := file.ReadAt(b, off); err != nil {
		return nil, fmt.Errorf("%s: read locator: %w", file.Name(), err)
	}
	return layout.DecodeLocator(b, layout.Bytes(off))
}

// coversWhole reports whether the sidecar is sound and its only data file's
// data area is exactly as long as file. What cannot be read is no answer.
func coversWhole(fsys disk.FS, sidecar string, file disk.File) (bool, error) {
	size, err := file.Size()
	if err != nil {
		return false, err
	}
	s, err := ReadSidecarSlot(fsys, sidecar)
	switch {
	case err == nil:
		return s.Plan.Kind == layout.Sidecar && len(s.Plan.DataLen) == 1 && int64(s.Plan.DataLen[0]) == size, nil
	case isJudgement(err):
		return false, nil
	}
	return false, err
}

// SearchLimit bounds how much of a file's end SearchHeader reads, in bytes:
// the metadata of more than ten million zones.
const SearchLimit = 2 << 30

// SearchHeader looks for a slot header of a trailing image on 4 KiB boundaries
// from the end of file, and returns the lowest offset of a run of sound ones: it is how an
// image is found again whose locator is lost. Holes are skipped.
func SearchHeader(file disk.File) (off int64, ok bool, err error) {
	size, err := file.Size()
	if err != nil {
		return 0, false, err
	}
	const chunk = 1 << 20
	buf := make([]byte, chunk)
	end := size &^ (layout.BlockLen - 1)
	stop := max(0, end-SearchLimit)
	for at := end; at > stop; {
		from := max(stop, at-chunk)
		b := buf[:at-from]
		if data, derr := file.SeekData(from); derr == nil && data >= at || errors.Is(derr, io.EOF) {
			at = from
			continue
		}
		if _, err := file.ReadAt(b, from); err != nil {
			return 0, false, fmt.Errorf("%s: %w", file.Name(), err)
		}
		for i := len(b) - layout.BlockLen; i >= 0; i -= layout.BlockLen {
			if !layout.IsHeader(b[i:]) {
				continue
			}
			if h, err := ReadHeader(file, from+int64(i)); err == nil && h.Kind == layout.Trailing && int64(h.MetaOff) <= from+int64(i) {
				if want := int64(h.MetaOff) + int64(h.Slot)*int64(h.SlotLen); want == from+int64(i) {
					return int64(h.MetaOff), true, nil
				}
			}
		}
		at = from
	}
	return 0, false, nil
}
