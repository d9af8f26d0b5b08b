package image

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"zimg/image/disk"
	"zimg/layout"
)

// SidecarSuffix is added to the name of a data file to find its sidecar.
const SidecarSuffix = ".zmeta"

// Options say how an image is opened.
type Options struct {
	FS         disk.FS // nil for the operating system's
	Write      bool
	ForceShare bool   // take no lock: the image may change while it is read
	Sidecar    string // path of the metadata file; empty to find it
	Stamp      Stamp  // of what is written
}

// resolve is the path of the file that path leads to; all names are derived from that.
func (o Options) resolve(path string) (string, error) { return disk.Resolve(o.fs(), path) }

func (o Options) fs() disk.FS {
	if o.FS == nil {
		return disk.OS
	}
	return o.FS
}

func (o Options) mode() disk.Mode {
	if o.Write {
		return disk.ReadWrite
	}
	return disk.ReadOnly
}

func (o Options) lock() disk.LockMode {
	switch {
	case o.ForceShare:
		return disk.LockNone
	case o.Write:
		return disk.LockWrite
	}
	return disk.LockRead
}

// Files are the open and locked files of one image. Nothing in them has been
// judged except the magics that show where the metadata area is.
type Files struct {
	FS   disk.FS
	Kind layout.Kind
	// Meta holds the metadata area; for a trailing image it is Data[0].
	Meta disk.File
	Data []disk.File
	// Locator is nil if none was sound; LocatorErr then says why.
	Locator    *layout.Locator
	LocatorErr error

	named string // the sidecar that the user named, or ""
	stamp Stamp
	lock  disk.LockMode // that is held
}

// MetaName is the path of the file that holds the metadata area.
func (f *Files) MetaName() string { return f.Meta.Name() }

// all are all files, each once.
func (f *Files) all() []disk.File {
	files := append([]disk.File(nil), f.Data...)
	if f.Meta != nil && (len(files) == 0 || f.Meta != files[0]) {
		files = append(files, f.Meta)
	}
	return files
}

// Close closes all files, which gives their locks back.
func (f *Files) Close() error {
	var errs []error
	for _, d := range f.Data {
		if d != f.Meta {
			errs = append(errs, d.Close())
		}
	}
	if f.Meta != nil {
		errs = append(errs, f.Meta.Close())
	}
	return errors.Join(errs...)
}

// OpenFiles finds, opens and locks the files of the image that path names: a
// trailing image, the data file of a sidecar, or the sidecar itself. It is the
// door for a checker: it goes on where Open refuses, as long as it is clear
// which files are meant.
func OpenFiles(path string, o Options) (_ *Files, err error) {
	f := &Files{FS: o.fs(), named: o.Sidecar, stamp: o.Stamp, lock: o.lock()}
	defer func() {
		if err != nil {
			_ = f.Close()
		}
	}()
	if path, err = disk.Resolve(f.FS, path); err != nil {
		return nil, err
	}
	first, err := openLocked(f.FS, path, o)
	if err != nil {
		return nil, err
	}
	found, err := probe(f.FS, first, o)
	if err != nil {
		_ = first.Close()
		return nil, err
	}
	f.Kind = found.kind
	f.Locator, f.LocatorErr = found.locator, found.locatorErr
	if found.sidecar == "" { // the metadata area is in path itself
		f.Meta = first
		if f.Kind == layout.Trailing {
			f.Data = []disk.File{first}
			return f, nil
		}
		return f, f.openData(path, o)
	}
	f.Data = []disk.File{first}
	if f.Meta, err = openLocked(f.FS, found.sidecar, o); err != nil {
		return nil, err
	}
	if f.Locator, f.LocatorErr = readLocator(f.Meta); f.LocatorErr != nil && !errors.Is(f.LocatorErr, layout.ErrDamaged) && !errors.Is(f.LocatorErr, layout.ErrNotImage) {
		return nil, f.LocatorErr
	}
	if o.Sidecar != "" {
		if err := f.checkPair(first); err != nil {
			return nil, err
		}
	}
	return f, f.openMoreData(o)
}

// checkPair refuses a sidecar that the user named for a data file that is another
// image, with its metadata at its end: a repair would take that metadata for data. A guest may
// have such an image as the whole of its data, though, and one with the same UUID is
// what an interrupted conversion leaves.
func (f *Files) checkPair(data disk.File) error {
	loc, err := readLocator(data)
	if err != nil {
		if layout.IsJudgement(err) {
			return nil
		}
		return err
	}
	if loc.Kind != layout.Trailing || f.Locator == nil || f.Locator.UUID == loc.UUID {
		return nil
	}
	covered, err := coversWhole(f.FS, f.Meta.Name(), data)
	if err != nil || covered {
		return err
	}
	return &HintError{
		Err:  layout.Errorf(layout.ErrDamaged, "%s is a complete image; %s is not its sidecar", data.Name(), f.Meta.Name()),
		Hint: "use the image without naming a sidecar",
	}
}

// OpenPlain opens path as an image whose metadata is all lost, for a checker
// that is given its geometry: a trailing image, or with o.Sidecar the data file of that.
func OpenPlain(path string, o Options) (_ *Files, err error) {
	f := &Files{FS: o.fs(), stamp: o.Stamp, lock: o.lock(), Kind: layout.Trailing, LocatorErr: layout.Errorf(layout.ErrDamaged, "no metadata")}
	defer func() {
		if err != nil {
			_ = f.Close()
		}
	}()
	if path, err = disk.Resolve(f.FS, path); err != nil {
		return nil, err
	}
	data, err := openLocked(f.FS, path, o)
	if err != nil {
		return nil, err
	}
	f.Data, f.Meta = []disk.File{data}, data
	if o.Sidecar == "" {
		return f, nil
	}
	f.Kind, f.Meta = layout.Sidecar, nil
	f.Meta, err = openLocked(f.FS, o.Sidecar, o)
	return f, err
}

func openLocked(fsys disk.FS, path string, o Options) (disk.File, error) {
	return disk.OpenLocked(fsys, path, o.mode(), o.lock())
}

// lockOrClose locks file as o says, and closes it if that fails.
func lockOrClose(file disk.File, o Options) (disk.File, error) {
	if err := file.Lock(o.lock()); err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}

// openData opens the data files of the sidecar that is open as f.Meta.
func (f *Files) openData(sidecar string, o Options) error {
	names, err := dataNames(f.Meta)
	if len(names) <= 1 && strings.HasSuffix(sidecar, SidecarSuffix) {
		// The name of the sidecar follows the data file when both are renamed;
		// the name recorded inside does not.
		if base := strings.TrimSuffix(sidecar, SidecarSuffix); base != "" {
			if _, serr := f.FS.Stat(base); serr == nil || len(names) == 0 {
				names, err = []string{filepath.Base(base)}, nil
			}
		}
	}
	if err != nil {
		return fmt.Errorf("%s: cannot read the name of the data file: %w", sidecar, err)
	}
	for _, name := range names {
		if name == "" {
			return &HintError{Err: fmt.Errorf("%s does not name its data file", sidecar), Hint: "pass both the data file and this sidecar"}
		}
		file, err := f.openOwn(name, o)
		if errors.Is(err, fs.ErrNotExist) {
			return &DataMissingError{Sidecar: sidecar, Name: name, Err: err}
		}
		if errors.Is(err, disk.ErrNotOwn) {
			return &HintError{Err: fmt.Errorf("%s: cannot use its data file: %w", sidecar, err), Hint: "pass both the data file and this sidecar"}
		}
		if err != nil {
			return err
		}
		f.Data = append(f.Data, file)
	}
	return nil
}

// openOwn opens the data file called name, as the sidecar or its metadata calls
// it: a regular file in the sidecar's folder, and not the sidecar itself.
func (f *Files) openOwn(name string, o Options) (disk.File, error) {
	dir, own := filepath.Split(f.Meta.Name())
	if name == own {
		return nil, layout.Errorf(layout.ErrDamaged, "%s names itself as its data file", f.Meta.Name())
	}
	file, err := disk.OpenBeside(f.FS, dir, name, o.mode())
	if err != nil {
		return nil, err
	}
	return lockOrClose(file, o)
}

// openMoreData completes the data files where the image was opened by the
// name of one that is not alone.
func (f *Files) openMoreData(o Options) error {
	names, err := dataNames(f.Meta)
	if err != nil && !layout.IsJudgement(err) {
		return err
	}
	if len(names) <= 1 { // or none, from tables that Open and check will judge
		return nil
	}
	given := f.Data[0]
	f.Data = nil
	used := false
	for _, name := range names {
		if name == filepath.Base(given.Name()) && !used {
			f.Data, used = append(f.Data, given), true
			continue
		}
		file, err := f.openOwn(name, o)
		if err != nil {
			if !used {
				_ = given.Close()
			}
			return err
		}
		f.Data = append(f.Data, file)
	}
	if !used {
		_ = given.Close()
		return layout.Errorf(layout.ErrNotImage, "%s is not a data file of %s (%s)", given.Name(), f.Meta.Name(), strings.Join(names, ", "))
	}
	return nil
}

// HintError is an error with a second line that says what to do.
type HintError struct {
	Err  error
	Hint string
}

func (e *HintError) Error() string { return e.Err.Error() }
func (e *HintError) Unwrap() error { return e.Err }
