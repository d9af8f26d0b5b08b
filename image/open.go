package image

import (
	"errors"
	"fmt"

	"zimg/layout"
)

// ErrUnclean is wrapped by the refusal to write to an image whose last writer
// did not finish.
var ErrUnclean = errors.New("not closed cleanly")

// Open opens the image that path names, strictly: every structure it relies on
// must be sound, though blocks of the tables are judged only when they are read. One
// sound slot is enough for reading. For writing both have to be: the damaged one may have
// held a newer commit, with write pointers that new data must not go below.
func Open(path string, o Options) (*Image, error) {
	return open(path, o, false)
}

// OpenUnclean is Open for those who clean up: it opens for writing what Open
// refuses because a run or a command left it half-way.
func OpenUnclean(path string, o Options) (*Image, error) {
	return open(path, o, true)
}

func open(path string, o Options, unclean bool) (*Image, error) {
	path, err := o.resolve(path)
	if err != nil {
		return nil, err
	}
	f, err := OpenFiles(path, o)
	if err != nil {
		return nil, err
	}
	im, err := openFiles(f, path, o, unclean)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if o.Write && im.hdr.Compat&layout.Moving != 0 && im.hdr.Flags&layout.Clean != 0 {
		return im.finishMove(o)
	}
	return im, nil
}

// openFiles judges the metadata of files that are open and locked. After an error they are the caller's to close.
func openFiles(f *Files, path string, o Options, unclean bool) (*Image, error) {
	if f.LocatorErr != nil {
		if errors.Is(f.LocatorErr, layout.ErrNewer) {
			return nil, fmt.Errorf("%s: %w", f.MetaName(), f.LocatorErr)
		}
		return nil, needsRepair(f, path, fmt.Errorf("%s: %w", f.MetaName(), asDamage(f.LocatorErr)))
	}
	if f.Locator.Kind != f.Kind {
		return nil, needsRepair(f, path, layout.Errorf(layout.ErrDamaged, "%s: locator has layout %v, want %v", f.MetaName(), f.Locator.Kind, f.Kind))
	}
	slots, errs, err := readSlots(f.Meta, f.Locator)
	if err != nil {
		return nil, err
	}
	live := newest(slots)
	if live < 0 {
		err := fmt.Errorf("%s: %w", f.MetaName(), noSlot(errs))
		if errors.Is(err, layout.ErrNewer) {
			return nil, err
		}
		return nil, needsRepair(f, path, err)
	}
	im := assemble(f, path, slots, live)
	im.write = o.Write
	if err := im.judge(o, unclean); err != nil {
		return nil, err
	}
	return im, nil
}

// finishMove moves the metadata to the layout that a killed process meant it to have in the end, and opens the image
// again.
func (im *Image) finishMove(o Options) (*Image, error) {
	name := im.files.Data[0].Name()
	move := im.toSidecar
	if im.hdr.Kind == layout.Sidecar {
		move = im.toTrailing
	}
	err := move(ConvertOptions{Force: true})
	if err != nil {
		err = fmt.Errorf("%s: completing an interrupted move of the metadata: %w", name, err)
	}
	if err := errors.Join(err, im.Close()); err != nil {
		return nil, err
	}
	o.Sidecar = ""
	return open(name, o, false)
}

// judge checks what the headers say against the files.
func (im *Image) judge(o Options, unclean bool) error {
	h, f := &im.hdr, im.files
	if h.UUID != f.Locator.UUID || h.MetaOff != f.Locator.MetaOff || h.SlotLen != f.Locator.SlotLen {
		return needsRepair(im.files, im.path, layout.Errorf(layout.ErrDamaged, "%s: the locator and the slot headers differ", f.MetaName()))
	}
	if h.Kind != f.Kind {
		return needsRepair(im.files, im.path, layout.Errorf(layout.ErrDamaged, "%s: slot has layout %v, want %v", f.MetaName(), h.Kind, f.Kind))
	}
	if x := h.ReadOnlyFeatures(); x != 0 && o.Write {
		return fmt.Errorf("%s can only be read; it has features %#x and was %w", im.path, x, layout.ErrNewer)
	}
	if len(f.Data) != len(im.plan.DataLen) {
		return needsRepair(im.files, im.path, layout.Errorf(layout.ErrDamaged, "%s: %d data files, but %d in the metadata", im.path, len(f.Data), len(im.plan.DataLen)))
	}
	for i, d := range f.Data {
		size, err := d.Size()
		if err != nil {
			return err
		}
		want := int64(im.plan.DataLen[i])
		if size < want {
			return &HintError{
				Err:  marked(layout.ErrDamaged, "%s has %d bytes, but the data area needs %d; it is truncated or belongs to another image", d.Name(), size, want),
				Hint: "is this the data file that belongs to " + f.MetaName() + "?",
			}
		}
		if h.Kind == layout.Sidecar && size > want { // a sidecar that was named is not weighed against it by probe
			if loc, err := readLocator(d); err == nil && loc.Kind == layout.Trailing && loc.UUID == h.UUID {
				return &HintError{
					Err:  layout.Errorf(layout.ErrDamaged, "%s has its metadata at the end; %s was left by an interrupted command", d.Name(), f.MetaName()),
					Hint: "use the image without naming a sidecar",
				}
			}
		}
	}
	if o.Write && !unclean && (im.slots[0] == nil || im.slots[1] == nil) {
		return needsRepair(f, im.path, marked(ErrUnclean, "%s: one metadata copy is damaged and may have been the newer one", im.path))
	}
	if o.Write && !unclean && h.Flags&layout.Clean == 0 {
		what := "a zimg command was interrupted while changing the image"
		if h.Flags&layout.InUse != 0 {
			what = "the last run was interrupted"
		}
		return needsRepair(f, im.path, marked(ErrUnclean, "%s: %s", im.path, what))
	}
	return nil
}

// RepairError is an error about an image that a check explains, and that a
// repair may put right.
type RepairError struct {
	Path    string // as the user named the image
	Sidecar string // as the user named it, or ""
	Err     error
}

func (e *RepairError) Error() string { return e.Err.Error() }
func (e *RepairError) Unwrap() error { return e.Err }

// NeedsRepair is err as a RepairError about im.
func (im *Image) NeedsRepair(err error) error { return needsRepair(im.files, im.path, err) }

// needsRepair makes a RepairError about the image at path.
func needsRepair(f *Files, path string, err error) error {
	return &RepairError{Path: path, Sidecar: f.named, Err: err}
}
