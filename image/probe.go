package image

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

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

// probe decides which of the three things file is: a trailing image, the data
// file of a sidecar, or a sidecar. The rule (docs/FORMAT.md, "Finding the metadata area"):
//
//   - a sidecar that was named is taken;
//   - a sound locator of a trailing layout at the end is taken, unless a sidecar
//     is there whose data area is as long as the whole file: then what looks like a
//     locator is the guest's own data;
//   - else a sidecar beside the file;
//   - else a locator of a sidecar layout at the end, or a slot header of that layout,
//     makes it a sidecar.
//
// A damaged byte hides no image: where the locator is lost, either slot header
// will do, and a file beside the image that is no sidecar does not count.
//
// Both conversions between the layouts lean on the second rule: see convert.go.
func probe(fsys disk.FS, file disk.File, o Options) (found, error) {
	name := file.Name()
	if o.Sidecar != "" {
		return found{kind: layout.Sidecar, sidecar: o.Sidecar}, nil
	}
	loc, locErr := readLocator(file)
	if locErr != nil && !layout.IsJudgement(locErr) {
		return found{}, locErr
	}
	trailing := loc != nil && loc.Kind == layout.Trailing
	sidecar := name + SidecarSuffix
	haveSidecar, err := sidecarBeside(fsys, sidecar, trailing)
	if err != nil {
		return found{}, err
	}
	if trailing {
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
		ours, err := looksLikeSidecar(fsys, sidecar)
		if err != nil {
			return found{}, err
		}
		if !ours {
			if f, ok, err := foundByHeader(file, locErr); ok || err != nil {
				return f, err
			}
		}
		return found{kind: layout.Sidecar, sidecar: sidecar}, nil
	}
	if loc != nil && loc.Kind == layout.Sidecar {
		return found{kind: layout.Sidecar, locator: loc}, nil
	}
	if header, err := beginsWithHeader(file); err != nil {
		return found{}, err
	} else if header {
		return found{kind: layout.Sidecar, locatorErr: asDamage(locErr)}, nil
	}
	if errors.Is(locErr, layout.ErrNewer) {
		return found{}, fmt.Errorf("%s: %w", name, locErr)
	}
	if f, ok, err := foundByHeader(file, locErr); ok || err != nil {
		return f, err
	}
	return found{}, &HintError{
		Err:  fmt.Errorf("%s: %w", name, layout.ErrNotImage),
		Hint: fmt.Sprintf("no zimg locator, slot header or sidecar (%s) found", sidecar),
	}
}

// sidecarBeside reports whether there is a file called name that may be a sidecar. Beside a trailing image everything
// else is passed over; a symbolic link, which may lead to any file, is refused elsewhere.
func sidecarBeside(fsys disk.FS, name string, trailing bool) (bool, error) {
	info, err := fsys.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist) || trailing && leadsNowhere(err):
		return false, nil
	case err != nil:
		return false, err
	case info.Mode()&fs.ModeSymlink != 0 && !trailing:
		err := disk.CheckBeside(fsys, filepath.Dir(name), filepath.Base(name))
		return false, &HintError{Err: fmt.Errorf("cannot use the sidecar: %w", err), Hint: "pass both the data file and this sidecar"}
	}
	return info.Mode().IsRegular() || info.Mode().Type() == fs.ModeDevice, nil // a block device
}

// foundByHeader looks for a slot header of either layout in file, whose locator
// is not sound because of locErr.
//
// A fixed VHD file is not an image: it is the data of one with a footer after it, and has to be converted.
func foundByHeader(file disk.File, locErr error) (f found, ok bool, err error) {
	if vhd, err := fixedVHD(file); vhd || err != nil {
		return found{}, false, err
	}
	h, off, err := searchHeader(file, layout.Trailing, layout.Sidecar)
	if err != nil || h == nil {
		return found{}, false, err
	}
	return found{
		kind:       h.Kind,
		locatorErr: fmt.Errorf("found a slot header at byte %d, but no valid locator at the end of the file: %w", off, asDamage(locErr)),
	}, true, nil
}

// vhdFooterLen is the length of the footer of a VHD file.
const vhdFooterLen = 512

// EndsAsVHD reports whether a file whose last bytes are last is a VHD file by its footer (Virtual Hard Disk Image Format
// Specification 1.0).
func EndsAsVHD(last []byte) bool {
	return len(last) >= vhdFooterLen && strings.HasPrefix(string(last[len(last)-vhdFooterLen:]), "conectix")
}

func fixedVHD(file disk.File) (bool, error) {
	size, err := file.Size()
	if err != nil || size < vhdFooterLen {
		return false, err
	}
	b := make([]byte, vhdFooterLen)
	_, err = file.ReadAt(b, size-vhdFooterLen)
	return err == nil && EndsAsVHD(b), err
}

// asDamage is err about a part of a file that is known to be an image: a part that
// is not recognized is damaged.
func asDamage(err error) error {
	if errors.Is(err, layout.ErrNotImage) {
		return &notFound{err}
	}
	return err
}

// notFound is the error about a part of an image that is not where it should be:
// the image is damaged, though the part alone would be "not an image".
type notFound struct{ err error }

func (e *notFound) Error() string { return e.err.Error() }

func (e *notFound) Unwrap() error { return layout.ErrDamaged }

// looksLikeSidecar reports whether anything in the file called name shows that
// it is, or was, a sidecar: a locator or a slot header of that layout, damaged or
// newer ones included. What cannot be opened as a file does not.
func looksLikeSidecar(fsys disk.FS, name string) (_ bool, err error) {
	file, err := fsys.Open(name, disk.ReadOnly, 0)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	loc, locErr := readLocator(file)
	if locErr != nil && !layout.IsJudgement(locErr) {
		return false, locErr
	}
	if loc != nil || locErr != nil && !errors.Is(locErr, layout.ErrNotImage) {
		return true, nil
	}
	if header, err := beginsWithHeader(file); header || err != nil {
		return header, err
	}
	h, _, err := searchHeader(file, layout.Sidecar)
	return h != nil, err
}

// leadsNowhere reports whether err, of a Stat, says that there can be no file of that name, and not that it could not be looked
// at.
func leadsNowhere(err error) bool {
	return errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ENAMETOOLONG)
}

// Known reports whether path may be one of our images, by a quick look: it has a sound locator at its
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
	if _, err := readLocator(file); err == nil || !errors.Is(err, layout.ErrNotImage) && layout.IsJudgement(err) {
		return true
	}
	header, _ := beginsWithHeader(file)
	return header
}

// beginsWithHeader reports whether file may be a sidecar.
func beginsWithHeader(file disk.File) (bool, error) {
	head := make([]byte, 8)
	n, err := file.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("%s: %w", file.Name(), err)
	}
	return layout.IsHeader(head[:n]), nil
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
	case layout.IsJudgement(err):
		return false, nil
	}
	return false, err
}

// SearchLimit bounds how much of a file's end SearchHeader reads, in bytes:
// the metadata of more than ten million zones.
const SearchLimit = 2 << 30

// FindLocator works out what the locator of file must be from a sound slot
// header, for a metadata area of the given layout; nil if there is none.
func FindLocator(file disk.File, kind layout.Kind) (*layout.Locator, error) {
	h, err := ReadHeader(file, 0)
	if err != nil && (!layout.IsJudgement(err) || errors.Is(err, layout.ErrNewer)) {
		return nil, err
	}
	if err != nil || h.Kind != kind || h.MetaOff != 0 || h.Slot != 0 {
		if h, _, err = searchHeader(file, kind); err != nil || h == nil {
			return nil, err
		}
	}
	return &layout.Locator{Kind: h.Kind, UUID: h.UUID, MetaOff: h.MetaOff, SlotLen: h.SlotLen}, nil
}

// SearchHeader returns where the metadata area of a trailing image begins whose
// slot headers are near the end of file; ok is false if there is none.
func SearchHeader(file disk.File) (off int64, ok bool, err error) {
	h, _, err := searchHeader(file, layout.Trailing)
	if err != nil || h == nil {
		return 0, false, err
	}
	return int64(h.MetaOff), true, nil
}

// searchHeader looks for the last sound slot header of one of the layouts, on
// multiples of 4 KiB from the end of file backwards, and returns it with its offset; nil
// if there is none. A header counts only where it says that it belongs: this is how an image
// is found again whose locator is lost. Holes are skipped.
func searchHeader(file disk.File, kinds ...layout.Kind) (*layout.Header, int64, error) {
	size, err := file.Size()
	if err != nil {
		return nil, 0, err
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
			return nil, 0, fmt.Errorf("%s: %w", file.Name(), err)
		}
		for i := len(b) - layout.BlockLen; i >= 0; i -= layout.BlockLen {
			if !layout.IsHeader(b[i:]) {
				continue
			}
			off := from + int64(i)
			h, err := ReadHeader(file, off)
			if err == nil && slices.Contains(kinds, h.Kind) && int64(h.MetaOff)+int64(h.Slot)*int64(h.SlotLen) == off {
				return h, off, nil
			}
		}
		at = from
	}
	return nil, 0, nil
}
