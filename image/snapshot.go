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
		return "", marked(layout.ErrRange, "invalid snapshot name %q: use up to 100 letters, digits, '.', '-' and '_', starting with a letter, digit or '_'", name)
	}
	return filepath.Join(path+SnapshotSuffix, name+snapshotExt), nil
}

// TakeSnapshot keeps the image at path as it is now, under name. The snapshot and its folder belong to the owner and
// group of the image, whoever takes it.
func TakeSnapshot(path, name string, o ConvertOptions) (err error) {
	path, err = Options{FS: o.FS}.resolve(path)
	if err != nil {
		return err
	}
	if err := snapshotVacant(path, name, o); err != nil {
		return err
	}
	im, err := Open(path, Options{FS: o.FS, Sidecar: o.Source, Stamp: o.Stamp})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, im.Close()) }()
	return im.snapshot(path, name, o)
}

// SnapshotOpen is TakeSnapshot of an image that is open: of its zones as of the last commit. Nobody may change data
// meanwhile.
func SnapshotOpen(im *Image, name string, o ConvertOptions) error {
	path, err := Options{FS: o.FS}.resolve(im.files.Data[0].Name())
	if err != nil {
		return err
	}
	if err := snapshotVacant(path, name, o); err != nil {
		return err
	}
	o.served = true
	return im.snapshot(path, name, o)
}

// snapshotVacant refuses a name that is not one, or is taken.
func snapshotVacant(path, name string, o ConvertOptions) error {
	dst, err := SnapshotPath(path, name)
	if err != nil {
		return err
	}
	fsys := Options{FS: o.FS}.fs()
	if err := checkSnapshotFolder(fsys, path); err != nil {
		return err
	}
	if _, err := fsys.Lstat(dst); err == nil {
		return &HintError{
			Err:  fmt.Errorf("snapshot %s of %s %w", name, path, ErrExists),
			Hint: "delete it first, or choose another name",
		}
	} else if !isMissing(err) {
		return err
	}
	return nil
}

// snapshot copies im, the image at path, to where its snapshot is called name.
func (im *Image) snapshot(path, name string, o ConvertOptions) error {
	dst, err := SnapshotPath(path, name)
	if err != nil {
		return err
	}
	o.Layout, o.Belongs, o.Force = layout.Trailing, true, false
	fsys := Options{FS: o.FS}.fs()
	like, err := disk.Like(im.files.Data[0])
	if err != nil {
		return err
	}
	made := true
	if err := fsys.Mkdir(path+SnapshotSuffix, like.Folder()); errors.Is(err, fs.ErrExist) {
		made = false
	} else if err != nil {
		return err
	}
	if err := CopyOpen(im, dst, o); err != nil {
		if made {
			err = errors.Join(err, ignoreMissing(fsys.Remove(path+SnapshotSuffix)))
		}
		return err
	}
	return fsys.SyncDir(path + SnapshotSuffix)
}

// ErrOtherImage is wrapped by the refusal to apply a snapshot of another image, which is known by its UUID.
var ErrOtherImage = errors.New("is of another image")

// ApplySnapshot makes the image at path what it was when the snapshot was taken. The image as it is
// now is lost; it may be damaged or gone already. It is locked from start to end, and replaced in one step (see product).
// A snapshot with another UUID than the image is refused with ErrOtherImage, unless Force.
func ApplySnapshot(path, name string, o ConvertOptions) (err error) {
	path, err = Options{FS: o.FS}.resolve(path)
	if err != nil {
		return err
	}
	src, err := SnapshotPath(path, name)
	if err != nil {
		return err
	}
	if err := hasSnapshot(path, name, src, o); err != nil {
		return err
	}
	snap, err := Open(src, Options{FS: o.FS, Stamp: o.Stamp})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, snap.Close()) }()
	now, err := o.replaced(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, now.close()) }()
	if now.uuid != [16]byte{} && now.uuid != snap.hdr.UUID && !o.Force {
		return fmt.Errorf("snapshot %s of %s %w: its UUID is %s, that of %s is %s", name, path, ErrOtherImage,
			layout.FormatUUID(snap.hdr.UUID), path, layout.FormatUUID(now.uuid))
	}
	p := product{data: []string{now.data}, sidecar: now.sidecar, held: now.held}
	p.naming = naming{force: true, known: true}
	kind := layout.Trailing
	if now.sidecar != "" {
		kind = layout.Sidecar
	}
	if o.Source != "" { // a sidecar in its usual place is known by its name, one that was named is looked at
		if p.naming, err = now.namedSidecar(o, snap.hdr.UUID); err != nil {
			return err
		}
	}
	snap.hdr.Generation = max(snap.hdr.Generation, now.generation)
	return snap.copyTo(&p, kind, o)
}

// replaced is an image that another takes the place of.
type replaced struct {
	data       string      // its data file
	sidecar    string      // "" for none
	held       []disk.File // its files, locked, where it could be opened
	im         *Image      // nil where it could not
	uuid       [16]byte    // zero if it is not known
	generation uint64
}

func (r *replaced) close() error {
	if r.im == nil {
		return nil
	}
	return r.im.Close()
}

// replaced looks at the image at path that a snapshot is to replace. Where it cannot be opened any more,
// whether there is a sidecar shows its layout.
func (o *ConvertOptions) replaced(path string) (*replaced, error) {
	im, err := OpenUnclean(path, Options{FS: o.FS, Write: true, Sidecar: o.Source})
	if err == nil {
		r := &replaced{
			data: im.files.Data[0].Name(), im: im, held: im.files.all(), uuid: im.hdr.UUID, generation: im.hdr.Generation,
		}
		if im.hdr.Kind == layout.Sidecar {
			r.sidecar = im.files.MetaName()
		}
		if err := oneDataFile(path, len(im.files.Data)); err != nil {
			return nil, errors.Join(err, im.Close())
		}
		return r, nil
	}
	if !isMissing(err) && !layout.IsJudgement(err) {
		return nil, err
	}
	fsys := Options{FS: o.FS}.fs()
	if file, err := fsys.Open(path, disk.ReadOnly, 0); err == nil {
		header, err := beginsWithHeader(file)
		if err := errors.Join(err, file.Close()); err != nil {
			return nil, err
		}
		if header {
			return nil, layout.Errorf(layout.ErrDamaged, "%s is a damaged sidecar; pass the data file instead", path)
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
		r.generation, r.uuid = slot.Header.Generation, slot.Header.UUID
		return r, oneDataFile(path, len(slot.Plan.DataLen))
	case isMissing(err) || layout.IsJudgement(err):
		return r, nil
	}
	return nil, err
}

// oneDataFile refuses to replace an image of several data files.
func oneDataFile(path string, files int) error {
	if files <= 1 {
		return nil
	}
	return marked(layout.ErrGeometry, "%s has %d data files, but a snapshot is one file; convert the snapshot to a new image instead", path, files)
}

// namedSidecar is the naming for an image whose sidecar the user named: it is replaced only if it is one of the image. UUID is the
// snapshot's.
func (r *replaced) namedSidecar(o ConvertOptions, uuid [16]byte) (naming, error) {
	fsys := Options{FS: o.FS}.fs()
	n := naming{fs: fsys, force: true, belongs: true, sidecar: r.sidecar, uuid: uuid}
	if _, err := fsys.Stat(r.sidecar); !isMissing(err) {
		return n, err
	}
	im, err := Open(r.data, Options{FS: o.FS, ForceShare: true})
	if err != nil {
		return n, nil //nolint:nilerr // damaged or gone, as an image to be replaced may be
	}
	if im.hdr.Kind == layout.Trailing {
		err = &HintError{
			Err:  layout.Errorf(fs.ErrNotExist, "%s has its metadata at the end of the file; there is no sidecar %s", r.data, r.sidecar),
			Hint: "use the image without naming a sidecar",
		}
	}
	return n, errors.Join(err, im.Close())
}

// DeleteSnapshot removes the snapshot called name, and the folder if nothing is left in it.
func DeleteSnapshot(path, name string, o ConvertOptions) error {
	path, err := Options{FS: o.FS}.resolve(path)
	if err != nil {
		return err
	}
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

// checkSnapshotFolder refuses what is no folder in the place of the snapshots of the image at path. A symbolic link is
// none: an image that somebody sends with its snapshots must not lead to other files.
func checkSnapshotFolder(fsys disk.FS, path string) error {
	info, err := fsys.Lstat(path + SnapshotSuffix)
	if err == nil && !info.IsDir() {
		return layout.Errorf(disk.ErrNotOwn, "%s is not a directory", path+SnapshotSuffix)
	}
	return ignoreMissing(err)
}

// hasSnapshot refuses a name that path has no snapshot of. What is in the folder is no symbolic link either.
func hasSnapshot(path, name, snap string, o ConvertOptions) error {
	fsys := Options{FS: o.FS}.fs()
	err := checkSnapshotFolder(fsys, path)
	if err == nil {
		err = disk.CheckBeside(fsys, filepath.Dir(snap), filepath.Base(snap))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return marked(ErrNoSnapshot, "%s has no snapshot %s: %s does not exist", path, name, snap)
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
	path, err := disk.Resolve(fsys, path)
	if err != nil {
		return nil, err
	}
	if err := checkSnapshotFolder(fsys, path); err != nil {
		return nil, err
	}
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
