package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// An Overlay is a file system in which the files of another one can be changed, and stay as they are: what is written
// goes to files of a folder that is thrown away. Nothing is synced. Files of the lower file system are locked for
// reading only, so that several overlays of one file work side by side, and nobody changes it meanwhile.
//
//	            lower file     upper file, sparse       present
//	block 0     AAAA                                     0        read from below
//	block 1     BBBB           bbbb                      1        was written
//	block 2     CCCC           ....                      1        was discarded: a hole
//
// A write of a part of a block copies the block up first.
type Overlay struct {
	osFS
	under FS
	dir   string

	mu    sync.Mutex
	files map[string]*overlaid // lower files that were opened, by name
	upper map[string]string    // names of files that are in dir
	gone  map[string]bool      // names that were removed or moved, of lower files
	next  int
}

// NewOverlay is the file system under with its changes in dir, an empty folder. The caller closes the Overlay when all
// its files are closed, and then removes dir.
func NewOverlay(under FS, dir string) *Overlay {
	return &Overlay{under: under, dir: dir, files: map[string]*overlaid{}, upper: map[string]string{}, gone: map[string]bool{}}
}

// TempOverlay is an overlay in a new folder of TMPDIR, or else of /var/tmp: /tmp is often in memory, and more may be
// written than there is of that. remove closes the overlay and removes the folder.
func TempOverlay(under FS) (v *Overlay, remove func() error, err error) {
	parent := os.Getenv("TMPDIR")
	if parent == "" {
		parent = "/var/tmp"
		if _, err := os.Stat(parent); err != nil {
			parent = os.TempDir()
		}
	}
	dir, err := os.MkdirTemp(parent, "zimg-ephemeral-")
	if err != nil {
		return nil, nil, err
	}
	v = NewOverlay(under, dir)
	return v, func() error { return errors.Join(v.Close(), os.RemoveAll(dir)) }, nil
}

// Dir is the folder of the changes.
func (v *Overlay) Dir() string { return v.dir }

// Close gives back the space of the changes.
func (v *Overlay) Close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	var errs []error
	for name, o := range v.files {
		errs = append(errs, o.upper.Close())
		delete(v.files, name)
	}
	return errors.Join(errs...)
}

// overlayBlock is the unit that is in the lower file or in the upper one.
const overlayBlock = 4096

// overlaid is a lower file with what was written to it.
type overlaid struct {
	upper File // sparse; open as long as the overlay is in use
	mu    sync.RWMutex
	has   map[int64]*[overlayGroup / 64]uint64 // by block/overlayGroup: the blocks that are in upper
	lower int64                                // the length of the lower file, or less after a Truncate
	size  int64
}

const overlayGroup = 4096

func (o *overlaid) present(block int64) bool {
	g := o.has[block/overlayGroup]
	i := block % overlayGroup
	return g != nil && g[i/64]&(1<<(i%64)) != 0
}

// mark notes that blocks from first to before end are in upper.
func (o *overlaid) mark(first, end int64) {
	for b := first; b < end; b++ {
		g := o.has[b/overlayGroup]
		if g == nil {
			g = new([overlayGroup / 64]uint64)
			o.has[b/overlayGroup] = g
		}
		i := b % overlayGroup
		g[i/64] |= 1 << (i % 64)
	}
}

// create makes a file in dir without a name.
func (v *Overlay) create() (File, error) {
	file, err := os.CreateTemp(v.dir, "overlay-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(file.Name()); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &osFile{file: file}, nil
}

// Open opens a file of the overlay.
func (v *Overlay) Open(name string, mode Mode, perm fs.FileMode) (File, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	up, isUpper := v.upper[name]
	_, err := os.Lstat(name)
	exists := isUpper || err == nil && !v.gone[name]
	switch {
	case mode == CreateNew && exists:
		return nil, pathError("open", name, fs.ErrExist)
	case mode == CreateNew:
		v.next++
		up = filepath.Join(v.dir, fmt.Sprint(v.next))
		file, err := v.osFS.Open(up, CreateNew, perm|0o600)
		if err == nil {
			v.upper[name] = up
		}
		return file, err
	case isUpper:
		return v.osFS.Open(up, mode, perm)
	case !exists:
		return nil, pathError("open", name, fs.ErrNotExist)
	}
	lower, err := v.under.Open(name, ReadOnly, 0)
	if err != nil {
		return nil, err
	}
	o := v.files[name]
	if o == nil {
		if o, err = v.over(lower); err != nil {
			return nil, errors.Join(err, lower.Close())
		}
		v.files[name] = o
	}
	return &overlayFile{File: lower, over: o, readOnly: mode == ReadOnly}, nil
}

// over makes the changes of a lower file, none so far.
func (v *Overlay) over(lower File) (*overlaid, error) {
	size, err := lower.Size()
	if err != nil {
		return nil, err
	}
	upper, err := v.create()
	if err != nil {
		return nil, err
	}
	if err := upper.Truncate(size); err != nil {
		return nil, errors.Join(err, upper.Close())
	}
	return &overlaid{upper: upper, has: map[int64]*[overlayGroup / 64]uint64{}, lower: size, size: size}, nil
}

// place is the path of the file called name, and whether there is one.
func (v *Overlay) place(name string) (string, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if up, ok := v.upper[name]; ok {
		return up, nil
	}
	if v.gone[name] {
		return "", pathError("stat", name, fs.ErrNotExist)
	}
	return name, nil
}

// Stat describes a file; the size of one that was changed is that of the lower file.
func (v *Overlay) Stat(name string) (fs.FileInfo, error) {
	path, err := v.place(name)
	if err != nil {
		return nil, err
	}
	return os.Stat(path)
}

// Lstat is Stat without following a link.
func (v *Overlay) Lstat(name string) (fs.FileInfo, error) {
	path, err := v.place(name)
	if err != nil {
		return nil, err
	}
	return os.Lstat(path)
}

// Rename moves a file that was made in the overlay.
func (v *Overlay) Rename(oldname, newname string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	up, ok := v.upper[oldname]
	if !ok {
		return pathError("rename", oldname, ErrUnsupported)
	}
	if before, ok := v.upper[newname]; ok {
		if err := os.Remove(before); err != nil {
			return err
		}
	}
	delete(v.upper, oldname)
	v.upper[newname], v.gone[newname] = up, true
	return nil
}

// RenameNew is Rename to a name that is free.
func (v *Overlay) RenameNew(oldname, newname string) error {
	if _, err := v.Lstat(newname); err == nil {
		return pathError("rename", newname, fs.ErrExist)
	}
	return v.Rename(oldname, newname)
}

// Remove hides a file, and removes one that was made in the overlay.
func (v *Overlay) Remove(name string) error {
	if _, err := v.Lstat(name); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.gone[name] = true
	up, ok := v.upper[name]
	if !ok {
		return nil
	}
	delete(v.upper, name)
	return os.Remove(up)
}

// Mkdir is not possible.
func (v *Overlay) Mkdir(name string, _ Access) error { return pathError("mkdir", name, ErrUnsupported) }

// SyncDir does nothing.
func (v *Overlay) SyncDir(string) error { return nil }
