package image

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"zimg/layout"
)

// Snapshots of an image are whole images in a folder beside it, IMAGE.zsnap/NAME.zimg: made by
// reflink where the file system can, sparse copies elsewhere, and good for every command as they
// are. They share nothing with the image but blocks that the file system shares.

// SnapshotSuffix is added to the name of an image to find the folder of its snapshots.
const SnapshotSuffix = ".zsnap"

const snapshotExt = ".zimg"

// validSnapshotName keeps names that are plain in every shell and on every file system.
func validSnapshotName(name string) bool {
	for i, c := range []byte(name) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || c != '.' && c != '_' && c != '-') {
			return false
		}
	}
	return name != "" && len(name) <= 100
}

// SnapshotPath is the path of the snapshot called name.
func SnapshotPath(path, name string) (string, error) {
	if !validSnapshotName(name) {
		return "", fmt.Errorf("snapshot name %q: letters, digits, dot, dash and underscore, up to 100, not a dot or dash first: %w", name, layout.ErrRange)
	}
	return filepath.Join(path+SnapshotSuffix, name+snapshotExt), nil
}

// TakeSnapshot keeps the image at path as it is now, under name.
func TakeSnapshot(path, name string, o ConvertOptions) error {
	dst, err := SnapshotPath(path, name)
	if err != nil {
		return err
	}
	o.Layout = layout.Trailing
	fsys := Options{FS: o.FS}.fs()
	if _, err := fsys.Stat(dst); err == nil {
		return &HintError{Err: fmt.Errorf("%s has a snapshot %s already: %w", path, name, ErrExists), Hint: fmt.Sprintf("another name, or zimg snapshot -d %s %s first", name, path)}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	made := true
	if err := fsys.Mkdir(path+SnapshotSuffix, 0o777); errors.Is(err, fs.ErrExist) {
		made = false
	} else if err != nil {
		return err
	}
	if err := Convert(path, dst, o); err != nil {
		if made {
			err = errors.Join(err, ignoreMissing(fsys.Remove(path+SnapshotSuffix)))
		}
		return err
	}
	return fsys.SyncDir(path + SnapshotSuffix)
}

// ApplySnapshot makes the image at path what it was when the snapshot was taken. The image as it is
// now is lost; it is replaced in one step (of a sidecar pair, the data first).
func ApplySnapshot(path, name string, o ConvertOptions) error {
	src, err := SnapshotPath(path, name)
	if err != nil {
		return err
	}
	if err := hasSnapshot(path, name, src, o); err != nil {
		return err
	}
	im, err := OpenUnclean(path, Options{FS: o.FS, Write: true, Sidecar: o.Source})
	if err != nil {
		return err
	}
	kind, files, meta := im.hdr.Kind, len(im.files.Data), im.files.MetaName()
	if err := im.Close(); err != nil { // Convert looks whether somebody has it in use
		return err
	}
	if files > 1 {
		return fmt.Errorf("%s has its namespaces in %d data files, a snapshot is one: convert %s to a new image instead: %w", path, files, src, layout.ErrGeometry)
	}
	o.Layout, o.Force, o.Source = kind, true, ""
	if kind == layout.Sidecar {
		o.Sidecar = meta
	}
	return Convert(src, path, o)
}

// DeleteSnapshot removes the snapshot called name, and the folder with the last one.
func DeleteSnapshot(path, name string, o ConvertOptions) error {
	snap, err := SnapshotPath(path, name)
	if err != nil {
		return err
	}
	if err := hasSnapshot(path, name, snap, o); err != nil {
		return err
	}
	fsys := Options{FS: o.FS}.fs()
	if err := fsys.Remove(snap); err != nil {
		return err
	}
	names, err := Snapshots(path, o)
	if err != nil || len(names) > 0 {
		return err
	}
	return ignoreMissing(fsys.Remove(path + SnapshotSuffix))
}

// hasSnapshot refuses a name that path has no snapshot of.
func hasSnapshot(path, name, snap string, o ConvertOptions) error {
	_, err := Options{FS: o.FS}.fs().Stat(snap)
	if errors.Is(err, fs.ErrNotExist) {
		return &HintError{Err: fmt.Errorf("%s has no snapshot %s: there is no %s", path, name, snap), Hint: "zimg snapshot -l lists them"}
	}
	return err
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Snapshots are the names of the snapshots of the image at path, sorted.
func Snapshots(path string, o ConvertOptions) ([]string, error) {
	names, err := Options{FS: o.FS}.fs().List(path + SnapshotSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var snaps []string
	for _, n := range names {
		if base, ok := strings.CutSuffix(n, snapshotExt); ok && validSnapshotName(base) {
			snaps = append(snaps, base)
		}
	}
	return snaps, err
}
