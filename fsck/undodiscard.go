package fsck

import (
	"errors"
	"fmt"
	"io/fs"

	"zimg/image"
	"zimg/image/disk"
	"zimg/layout"
)

// UndoState says what the undo file of an image is good for.
type UndoState uint8

// The states of an undo file.
const (
	NoUndo      UndoState = iota // there is none
	UndoFits                     // it takes back the last repair
	UndoStale                    // the image has changed since the repair: undoing it would discard those changes
	UndoUseless                  // it is of another image, or damaged
)

// String describes the state for a list of facts about an image.
func (s UndoState) String() string {
	switch s {
	case UndoFits:
		return "undoes the last repair"
	case UndoStale:
		return "the image has changed since the repair"
	case UndoUseless:
		return "of another image, or damaged"
	case NoUndo:
	}
	return "none"
}

// InspectUndo says what the undo file of im is good for, by its header alone. The name is that of the file, "" if there
// is none.
func InspectUndo(im *image.Image, o Options) (name string, s UndoState, err error) {
	path, err := disk.Resolve(o.fs(), im.Path())
	if err != nil {
		return "", NoUndo, err
	}
	name = path + UndoSuffix
	file, err := o.fs().Open(name, disk.ReadOnly, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return "", NoUndo, nil
	}
	if err != nil {
		return name, NoUndo, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	u := &undoReader{file: file}
	head, err := u.head()
	if err == nil {
		err = u.parseHead(head)
	}
	if errors.Is(err, ErrUndo) {
		return name, UndoUseless, nil
	}
	if err != nil {
		return name, NoUndo, err
	}
	h := im.Header()
	switch {
	case h.UUID != u.uuid:
		return name, UndoUseless, nil
	case h.Generation > u.gen:
		return name, UndoStale, nil
	}
	return name, UndoFits, nil
}

// openUndo opens and checks an undo file; the caller closes it.
func openUndo(name string, o Options) (*undoReader, error) {
	file, err := o.fs().Open(name, disk.ReadOnly, 0)
	if err != nil {
		return nil, err
	}
	u := &undoReader{file: file}
	if err := u.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), file.Close())
	}
	return u, nil
}

// DiscardUndo removes the undo file of the image at path, whatever it is good for. It wraps ErrUndo if there is none.
func DiscardUndo(path string, o Options) error {
	path, err := disk.Resolve(o.fs(), path)
	if err != nil {
		return err
	}
	name := path + UndoSuffix
	if _, err := o.fs().Lstat(name); errors.Is(err, fs.ErrNotExist) {
		return layout.Errorf(ErrUndo, "%s does not exist", name)
	} else if err != nil {
		return err
	}
	return removeAll(o.fs(), []string{name})
}

// DropStaleUndo removes the undo file of the image at path if the image has changed since the repair, and the file has
// no data of the guest: then nobody can want it any more. It reports whether it did.
func DropStaleUndo(path string, o Options) (dropped bool, err error) {
	im, err := image.Open(path, image.Options{FS: o.FS, Sidecar: o.Sidecar, ForceShare: true})
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, im.Close()) }()
	name, s, err := InspectUndo(im, o)
	if err != nil || s != UndoStale {
		return false, err
	}
	u, err := openUndo(name, o)
	if err != nil {
		return false, err
	}
	for _, rec := range u.records {
		if rec.kind == undoRange && (rec.file == undoData || rec.at < u.metaOff) {
			return false, u.file.Close()
		}
	}
	return true, errors.Join(u.file.Close(), removeAll(o.fs(), []string{name}))
}
