package image

import (
	"errors"
	"fmt"
	"path/filepath"

	"zimg/image/disk"
	"zimg/layout"
)

// Range is the bytes [From, To) of a data file.
type Range struct{ From, To int64 }

// AddSidecar makes an image of the plain data file at path, in place: only a sidecar with the one namespace and the zones
// that o describes is written. The files named in sources are not replaced.
//
// unwritten is called when the sidecar is complete but does not have its name yet. It gives up every lock that the caller
// has on the data, and returns what is beyond the write pointers of the zones: it is discarded, since it reads as zeroes
// in an image.
//
// It returns ErrExists without o.Force, and disk.ErrLocked if a file is in use.
func AddSidecar(path string, o CreateOptions, sources []string, unwritten func() ([]Range, error)) (err error) {
	fsys := Options{FS: o.FS}.fs()
	o.Layout = layout.Sidecar
	plan, err := o.Complete()
	if err != nil {
		return err
	}
	plan.Entries[0].Name = layout.HintName(filepath.Base(path))
	sidecar := o.Sidecar
	if sidecar == "" {
		sidecar = path + SidecarSuffix
	}
	name := naming{fs: fsys, force: o.Force, sidecar: sidecar}
	r := &disk.Replacement{FS: fsys, Policy: name.allow, Sources: sources}
	if r.Like, err = disk.LikeName(fsys, path); err != nil {
		return err
	}
	defer func() { err = r.Abandon(err) }()
	meta, err := r.Create(sidecar)
	if err != nil {
		return err
	}
	if err := name.unclaimed(path); err != nil {
		return err
	}
	if err := writeFresh(meta, plan, o, 0); err != nil {
		return err
	}
	gaps, err := unwritten()
	if err != nil {
		return err
	}
	if err := prepareData(fsys, path, gaps, int64(plan.DataLen[0])); err != nil {
		return err
	}
	return r.Publish()
}

// prepareData discards parts of the data file at path, and makes it length bytes long if it is shorter.
func prepareData(fsys disk.FS, path string, gaps []Range, length int64) error {
	file, err := openLocked(fsys, path, Options{Write: true})
	if err != nil {
		return err
	}
	for _, g := range gaps {
		if err := file.PunchHole(g.From, g.To-g.From); err != nil {
			return errors.Join(err, file.Close())
		}
	}
	size, err := file.Size()
	if err == nil && size < length {
		err = file.Truncate(length)
	}
	return errors.Join(err, file.Sync(), file.Close())
}

// CheckDataAlone refuses an image whose data file is not the data of one namespace and nothing else. Where a copy of the
// image would do, the error wraps ErrNotInPlace.
func (im *Image) CheckDataAlone() error {
	if im.hdr.Kind != layout.Sidecar || len(im.ns) != 1 {
		return &markedError{
			text: fmt.Sprintf("%s (layout %v, %d namespaces): only a sidecar image with one namespace can be converted in place",
				im.path, im.hdr.Kind, len(im.ns)),
			kinds: []error{layout.ErrGeometry, ErrNotInPlace},
		}
	}
	n, data := im.ns[0], im.files.Data[0]
	size, err := data.Size()
	if err != nil {
		return err
	}
	if size != int64(n.Size()) {
		return marked(layout.ErrGeometry, "%s has %d bytes, but its namespace has %d; the format requires the same size",
			data.Name(), size, n.Size())
	}
	return nil
}

// ReplaceSidecar turns im into a plain data file with something else beside it, which write makes of the files of the
// replacement. The sidecar is removed when they have their names; after an error before that the image is as it was.
// im, which is open for writing, can only be closed then.
func (im *Image) ReplaceSidecar(force bool, write func(r *disk.Replacement) error) (err error) {
	r, err := im.sidecarReplacement(naming{fs: im.files.FS, force: force})
	if err != nil {
		return err
	}
	r.Sources = append(r.Sources, im.files.MetaName())
	defer func() { err = r.Abandon(err) }()
	if err := write(r); err != nil {
		return err
	}
	if err := r.Publish(); err != nil {
		return err
	}
	return im.removeSidecar(im.files.MetaName())
}
