package fsck

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"zimg/image"
	"zimg/image/disk"
	"zimg/layout"
)

// How a repair is taken back
//
//  1. the data files and the files that the repair removed, as they were; sync
//  2. the metadata area up to where the repaired image has its locator; sync
//  3. the rest of the metadata file, and its length; sync
//  4. the undo file is removed
//
// Until step 3 the locator has the image's UUID, so that an undo that was
// interrupted can be repeated, and be seen to belong to the image. In step 3
// all other metadata is as the undo file has it, which is proof enough as well.

// undoer takes a repair back.
type undoer struct {
	*undoReader
	fs    disk.FS
	path  string
	files *image.Files
	// known: the namespace table can be read, and files.Data are all data files.
	known bool
	// more are data files that files does not have.
	more map[string]disk.File
}

// Undo takes back the last repair of the image at path, byte for byte, and
// removes the undo file. It touches no file but those of that image. Unless forced it
// refuses if the image was changed since the repair. An undo that was interrupted
// is simply done again. It wraps ErrUndo in what it refuses.
func Undo(path string, o Options, force bool) (err error) {
	fsys := o.fs()
	if path, err = disk.Resolve(fsys, path); err != nil {
		return err
	}
	name := path + UndoSuffix
	if _, err := fsys.Stat(path); err != nil {
		return err // there is no image that it could belong to
	}
	file, err := fsys.Open(name, disk.ReadOnly, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return layout.Errorf(ErrUndo, "nothing to undo: %s does not exist", name)
	}
	if err != nil {
		return err
	}
	u := &undoer{undoReader: &undoReader{file: file}, fs: fsys, path: path, more: map[string]disk.File{}}
	defer func() { err = errors.Join(err, u.close()) }()
	if err := u.load(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := u.openImage(o); err != nil {
		return err
	}
	if err := u.fits(force); err != nil {
		return err
	}
	if err := u.restore(); err != nil {
		return err
	}
	return removeAll(fsys, []string{name})
}

func (u *undoer) close() error {
	errs := []error{u.file.Close()}
	if u.files != nil {
		errs = append(errs, u.files.Close())
	}
	for _, f := range u.more {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// openImage opens the files of the image, by the ordinary rules if they still
// lead to one, else by what the undo file says of the place of its metadata.
func (u *undoer) openImage(o Options) error {
	opening := image.Options{FS: o.FS, Write: true, Sidecar: o.Sidecar}
	if u.place == undoAtNamed && o.Sidecar == "" {
		return &image.HintError{
			Err:  layout.Errorf(ErrUndo, "%s was repaired with a sidecar given by the user", u.path),
			Hint: "name that sidecar for the undo as well",
		}
	}
	files, err := image.OpenFiles(u.path, opening)
	switch {
	case err == nil:
		u.files = files
	case !layout.IsJudgement(err) || errors.Is(err, layout.ErrNewer):
		return err
	default:
		if u.place == undoAtZmeta {
			opening.Sidecar = u.path + image.SidecarSuffix
		}
		if u.files, err = image.OpenPlain(u.path, opening); err != nil {
			return err
		}
	}
	for i := range 2 {
		if _, err := u.slot(i); err == nil {
			u.known = true
		}
	}
	return nil
}

// slot reads slot i of the image as it is now.
func (u *undoer) slot(i int) (*image.Slot, error) {
	off := u.metaOff + int64(i)*((u.locOff-u.metaOff)/2)
	return image.ReadSlot(u.files.Meta, off)
}

// fits makes sure that the undo file belongs to the image, by its UUID; and,
// unless forced, that nothing was committed to the image since the repair.
func (u *undoer) fits(force bool) error {
	ours := false
	other := func(uuid [16]byte) error {
		return layout.Errorf(ErrUndo, "%s has UUID %x, but the repaired image had %x", u.path, uuid, u.uuid)
	}
	if loc := u.files.Locator; loc != nil {
		if loc.UUID != u.uuid {
			return other(loc.UUID)
		}
		ours = true
	}
	for i := range 2 {
		off := u.metaOff + int64(i)*((u.locOff-u.metaOff)/2)
		h, err := image.ReadHeader(u.files.Meta, off)
		switch {
		case err != nil && !layout.IsJudgement(err):
			return err
		case err != nil:
			continue // an undo may have been interrupted
		case h.UUID != u.uuid && !ours:
			return other(h.UUID)
		case h.UUID == u.uuid && h.Generation > u.gen && !force:
			return &image.HintError{
				Err:  layout.Errorf(ErrUndo, "%s has changed since the repair", u.path),
				Hint: "to discard all changes made since then, force the undo",
			}
		}
		ours = ours || h.UUID == u.uuid
	}
	if ours {
		return nil
	}
	// Nothing has a UUID. After an undo that was interrupted at its end all
	// metadata is as it was before the repair.
	restored := false
	for _, rec := range u.records {
		if rec.kind != undoRange || rec.file != undoMeta || rec.at != u.metaOff {
			continue
		}
		same, err := u.holds(u.files.Meta, rec.part(u.metaOff, u.locOff))
		if err != nil {
			return err
		}
		restored = restored || same
	}
	if !restored {
		return layout.Errorf(ErrUndo, "%s cannot be identified as the repaired image", u.path)
	}
	return nil
}

// target is the open file that rec, which is about no removed file, is about.
func (u *undoer) target(rec undoEntry) (disk.File, error) {
	if rec.file == undoMeta {
		return u.files.Meta, nil
	}
	if rec.name == "" {
		if len(u.files.Data) != 1 {
			return nil, layout.Errorf(ErrUndo, "%s has %d data files, and the undo file does not name one", u.path, len(u.files.Data))
		}
		return u.files.Data[0], nil
	}
	for _, f := range u.files.Data {
		if filepath.Base(f.Name()) == rec.name {
			return f, nil
		}
	}
	if f := u.more[rec.name]; f != nil {
		return f, nil
	}
	// After an undo that was interrupted the namespace table may be unreadable. The
	// image is known to be the one that was repaired, so its word counts as much.
	if u.known {
		return nil, layout.Errorf(ErrUndo, "%s has no data file named %q", u.path, rec.name)
	}
	f, err := disk.OpenBeside(u.fs, filepath.Dir(u.files.MetaName()), rec.name, disk.ReadWrite)
	if err != nil {
		return nil, err
	}
	u.more[rec.name] = f
	return f, f.Lock(disk.LockWrite)
}

// restore writes everything back.
func (u *undoer) restore() error {
	for _, rec := range u.records { // before anything is changed
		if rec.kind == undoFile {
			continue
		}
		if _, err := u.target(rec); err != nil {
			return err
		}
	}
	isMetadata := func(rec undoEntry) bool {
		return rec.file == undoMeta && (rec.kind == undoLength || rec.at >= u.metaOff)
	}
	steps := []func(rec undoEntry) error{
		func(rec undoEntry) error {
			if isMetadata(rec) {
				return nil
			}
			return u.restoreOne(rec)
		},
		func(rec undoEntry) error {
			if !isMetadata(rec) || rec.kind != undoRange {
				return nil
			}
			return u.copy(u.files.Meta, rec.part(u.metaOff, u.locOff))
		},
		func(rec undoEntry) error {
			if !isMetadata(rec) {
				return nil
			}
			if rec.kind == undoRange {
				rec = rec.part(u.locOff, 1<<62)
			}
			return u.restoreOne(rec)
		},
	}
	for _, step := range steps {
		for _, rec := range u.records {
			if err := step(rec); err != nil {
				return err
			}
		}
		if err := u.sync(); err != nil {
			return err
		}
	}
	return nil
}

func (u *undoer) restoreOne(rec undoEntry) error {
	if rec.kind == undoFile {
		return u.restoreFile(rec)
	}
	file, err := u.target(rec)
	if err != nil {
		return err
	}
	if rec.kind == undoLength {
		return file.Truncate(rec.at)
	}
	return u.copy(file, rec)
}

// sync makes durable what was written to every file.
func (u *undoer) sync() error {
	files := append([]disk.File{u.files.Meta}, u.files.Data...)
	for _, f := range u.more {
		files = append(files, f)
	}
	for _, f := range files {
		if err := f.Sync(); err != nil {
			return err
		}
	}
	return nil
}

// restoreFile makes a file beside the image that the repair removed, with its mode.
func (u *undoer) restoreFile(rec undoEntry) (err error) {
	name := u.path + rec.name
	if err := u.fs.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := u.fs.Open(name, disk.CreateNew, rec.mode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := u.copy(f, rec); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return u.fs.SyncDir(name)
}
