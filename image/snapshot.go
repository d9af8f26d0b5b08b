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
// now is lost; it may be damaged or gone already. It is replaced in one step: the snapshot gets the name of
// the data file, and what is then beside it as a sidecar counts no more (see probe). Of a sidecar
// pair the metadata is moved out again after that.
func ApplySnapshot(path, name string, o ConvertOptions) error {
	src, err := SnapshotPath(path, name)
	if err != nil {
		return err
	}
	if err := hasSnapshot(path, name, src, o); err != nil {
		return err
	}
	now, err := o.replaced(path)
	if err != nil {
		return err
	}
	if err := now.mayLoseSidecar(o, src); err != nil {
		return err
	}
	to := ConvertOptions{FS: o.FS, Layout: layout.Trailing, Force: true, Progress: o.Progress, replaces: now}
	if err := Convert(src, now.data, to); err != nil || now.sidecar == "" {
		return err
	}
	return ConvertInPlace(now.data, ConvertOptions{FS: o.FS, Layout: layout.Sidecar, Sidecar: now.sidecar, Force: now.force})
}

// replaced is an image that another takes the place of.
type replaced struct {
	data       string // its data file
	sidecar    string // "" for none
	force      bool   // the sidecar is overwritten though its UUID is not the snapshot's, or not legible
	dataLen    int64  // of its data area, 0 if not known
	generation uint64
}

// replaced looks at the image at path that a snapshot is to replace. Where it cannot be opened any more,
// there being a sidecar or not tells its layout.
func (o *ConvertOptions) replaced(path string) (*replaced, error) {
	im, err := OpenUnclean(path, Options{FS: o.FS, Write: true, Sidecar: o.Source})
	if err == nil {
		r := &replaced{data: im.files.Data[0].Name(), dataLen: int64(im.plan.DataLen[0]), generation: im.hdr.Generation}
		if im.hdr.Kind == layout.Sidecar {
			r.sidecar = im.files.MetaName()
		}
		return r, errors.Join(oneDataFile(path, len(im.files.Data)), im.Close()) // Convert looks whether somebody has it in use
	}
	if !errors.Is(err, fs.ErrNotExist) && !isJudgement(err) {
		return nil, err
	}
	fsys := Options{FS: o.FS}.fs()
	if file, err := fsys.Open(path, disk.ReadOnly, 0); err == nil {
		header, err := beginsWithHeader(file)
		if err := errors.Join(err, file.Close()); err != nil {
			return nil, err
		}
		if header {
			return nil, fmt.Errorf("%s: is a sidecar, and damaged: name the data file instead: %w", path, layout.ErrDamaged)
		}
	}
	r := &replaced{data: path, sidecar: o.Source}
	if _, err := fsys.Stat(path + SidecarSuffix); err == nil && r.sidecar == "" {
		r.sidecar = path + SidecarSuffix
	}
	if r.sidecar == "" {
		return r, nil
	}
	slot, err := ReadSidecarSlot(fsys, r.sidecar)
	switch {
	case err == nil: // it is the rest that is damaged
		r.dataLen, r.generation = int64(slot.Plan.DataLen[0]), slot.Header.Generation
		return r, oneDataFile(path, len(slot.Plan.DataLen))
	case errors.Is(err, fs.ErrNotExist) || isJudgement(err):
		return r, nil
	}
	return nil, err
}

// oneDataFile refuses to replace an image of several data files.
func oneDataFile(path string, files int) error {
	if files <= 1 {
		return nil
	}
	return fmt.Errorf("%s has its namespaces in %d data files, a snapshot is one: convert the snapshot to a new image instead: %w", path, files, layout.ErrGeometry)
}

// mayLoseSidecar refuses to go back to the snapshot src where that would put metadata in the place of a file
// that was named as the sidecar and is not known to be one of the image. One in its usual place is known by its name.
func (r *replaced) mayLoseSidecar(o ConvertOptions, src string) error {
	if o.Source == "" {
		r.force = true
		return nil
	}
	fsys := Options{FS: o.FS}.fs()
	if err := unclaimed(fsys, r.data, r.sidecar); err != nil {
		return err
	}
	snap, err := Open(src, Options{FS: o.FS})
	if err != nil {
		return err
	}
	uuid := snap.hdr.UUID
	if err := snap.Close(); err != nil {
		return err
	}
	info, err := fsys.Stat(r.sidecar)
	if errors.Is(err, fs.ErrNotExist) {
		return r.notTrailing(o)
	}
	if err != nil {
		return err
	}
	if err := replaceable(fsys, r.sidecar, info, true); err != nil {
		return err
	}
	ours := false
	switch slot, err := ReadSidecarSlot(fsys, r.sidecar); {
	case err == nil && slot.Header.UUID == uuid:
		return nil
	case err == nil: // of an image that was made anew since
		ours = filepath.Join(filepath.Dir(r.sidecar), slot.Plan.Entries[0].Name) == filepath.Clean(r.data)
	case !isJudgement(err):
		return err
	default: // damaged, or something else
		file, err := fsys.Open(r.sidecar, disk.ReadOnly, 0)
		if err != nil {
			return err
		}
		ours, err = beginsWithHeader(file)
		if err := errors.Join(err, file.Close()); err != nil {
			return err
		}
	}
	if !ours {
		return &HintError{
			Err:  fmt.Errorf("%s: %w, and is not a sidecar of %s", r.sidecar, ErrExists, r.data),
			Hint: "if it is what is left of that, move it away; an image with its metadata at its end has no sidecar to be named",
		}
	}
	r.force = true
	return nil
}

// notTrailing refuses to make a sidecar for an image that has its metadata at its end.
func (r *replaced) notTrailing(o ConvertOptions) error {
	im, err := Open(r.data, Options{FS: o.FS, ForceShare: true})
	if err != nil {
		return nil // damaged or gone, as an image to be replaced may be
	}
	if im.hdr.Kind == layout.Trailing {
		err = &HintError{
			Err:  fmt.Errorf("%s: has its metadata at its end, and there is no sidecar %s: %w", r.data, r.sidecar, fs.ErrNotExist),
			Hint: "name the image without a sidecar",
		}
	}
	return errors.Join(err, im.Close())
}

// DeleteSnapshot removes the snapshot called name, and the folder if nothing is left in it.
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
	switch left, err := fsys.List(path + SnapshotSuffix); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case len(left) > 0:
		return fsys.SyncDir(snap)
	}
	if err := ignoreMissing(fsys.Remove(path + SnapshotSuffix)); err != nil {
		return err
	}
	return fsys.SyncDir(path + SnapshotSuffix)
}

// hasSnapshot refuses a name that path has no snapshot of. Neither the folder nor
// what is in it is a symbolic link: an image that somebody sends with its snapshots
// must not lead to other files.
func hasSnapshot(path, name, snap string, o ConvertOptions) error {
	fsys := Options{FS: o.FS}.fs()
	dir, err := fsys.Lstat(filepath.Dir(snap))
	if err == nil && !dir.IsDir() {
		return fmt.Errorf("%s: is not a folder: %w", filepath.Dir(snap), disk.ErrNotOwn)
	}
	if err == nil {
		err = disk.CheckBeside(fsys, filepath.Dir(snap), filepath.Base(snap))
	}
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

// Snapshots are the names of the snapshots of the image at path, sorted. The image itself may be gone.
func Snapshots(path string, o ConvertOptions) ([]string, error) {
	fsys := Options{FS: o.FS}.fs()
	names, err := fsys.List(path + SnapshotSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		_, err := fsys.Stat(path)
		return nil, err
	}
	var snaps []string
	for _, n := range names {
		if base, ok := strings.CutSuffix(n, snapshotExt); ok && validSnapshotName(base) {
			snaps = append(snaps, base)
		}
	}
	return snaps, err
}
