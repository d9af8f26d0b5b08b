package image

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"zimg/image/disk"
	"zimg/layout"
)

// ConvertOptions say how an image is converted.
type ConvertOptions struct {
	FS      disk.FS
	Layout  layout.Kind // 0: as the source
	Sidecar string      // path of the new sidecar; empty for DST.zmeta
	Source  string      // path of the source's sidecar; empty to find it
	Force   bool        // overwrite
	Stamp   Stamp       // of the new image
	// Limits, if not nil, gives the namespaces of the result other limits.
	Limits *Limits
	// UUID, if not zero, is that of the result. Its namespaces then get identities derived from it: a guest takes it for
	// another drive, beside which the source can run.
	UUID [16]byte
	// Belongs: the result is kept as a part of the source (a snapshot, a recording), so it belongs to the source's owner and
	// group. Any other new file belongs to the user who makes it.
	Belongs bool
	// Progress, if not nil, is called with the bytes of data done and the total; an error
	// stops the conversion.
	Progress func(done, total int64) error
	served   bool // the source is in use by its owner, who has committed its zones and stopped changing them
}

// Limits are how many zones may be open and active; 0 is no limit.
type Limits struct {
	NS           layout.NSID // that is changed; 0 for all that have zones
	Open, Active *uint32     // nil: as it was
}

// apply changes the limits of the namespaces of plan, which are those of im. An error wraps layout.ErrGeometry if there is no
// such namespace or more zones are active than would be allowed.
func (l *Limits) apply(im *Image, plan *layout.Plan) error {
	found := false
	for i := range plan.Entries {
		n := &plan.Entries[i].Namespace
		if !n.Zoned() || l.NS != 0 && n.ID != l.NS {
			continue
		}
		found = true
		open, active := uint32(n.MaxOpen()), uint32(n.MaxActive())
		if l.Open != nil {
			open = *l.Open
		}
		if l.Active != nil {
			active = *l.Active
		}
		if l.Open != nil && l.Active == nil && active != 0 && (open == 0 || open > active) {
			return marked(layout.ErrGeometry, "%s: namespace %d: max-open %d is more than max-active %d: change both", im.path, n.ID, open, active)
		}
		n.MOR, n.MAR = layout.Limits(open, active)
		if err := n.Validate(); err != nil {
			return err
		}
		counts := im.hdr.Counts[i]
		if m := n.MaxActive(); m != 0 && counts.Active() > m {
			return marked(layout.ErrGeometry, "%s: namespace %d has %d active zones, more than max-active %d", im.path, n.ID, counts.Active(), m)
		}
		if m := n.MaxOpen(); m != 0 && counts.Open() > m {
			return marked(layout.ErrGeometry, "%s: namespace %d has %d open zones, more than max-open %d", im.path, n.ID, counts.Open(), m)
		}
	}
	if !found {
		return marked(layout.ErrGeometry, "%s has no zoned namespace %d", im.path, l.NS)
	}
	return nil
}

// Convert makes a new image at dst with the zones and data of the one at src, which is locked for reading
// meanwhile. See CopyOpen.
func Convert(src, dst string, o ConvertOptions) (err error) {
	im, err := Open(src, Options{FS: o.FS, Sidecar: o.Source, Stamp: o.Stamp})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, im.Close()) }()
	return CopyOpen(im, dst, o)
}

// CopyOpen makes a new image at dst with the zones and data of im, under the lock that im has. It returns ErrUnclean if im
// was not closed cleanly; ErrExists without Force, and disk.ErrLocked if a file that would be replaced is in use.
func CopyOpen(im *Image, dst string, o ConvertOptions) error {
	kind := o.Layout
	if kind == 0 {
		kind = im.hdr.Kind
	}
	dst, err := disk.Resolve(im.files.FS, dst)
	if err != nil {
		return err
	}
	sidecar := ""
	if kind == layout.Sidecar {
		sidecar = o.Sidecar
		if sidecar == "" {
			sidecar = dst + SidecarSuffix
		}
	}
	p := product{data: []string{dst}, sidecar: sidecar, naming: naming{force: o.Force}}
	return im.copyTo(&p, kind, o)
}

// Derive makes a new image at dst, of trailing layout, out of a copy of the one at src and what change does to it. The copy
// is open for writing, and gets its name when change has returned without an error.
func Derive(src, dst string, o ConvertOptions, change func(im *Image) error) (err error) {
	im, err := Open(src, Options{FS: o.FS, Sidecar: o.Source, Stamp: o.Stamp})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, im.Close()) }()
	if dst, err = disk.Resolve(im.files.FS, dst); err != nil {
		return err
	}
	p := product{data: []string{dst}, naming: naming{force: o.Force}}
	p.finish = func(file disk.File) error {
		f := &Files{FS: im.files.FS, stamp: o.Stamp, Kind: layout.Trailing, Meta: file, Data: []disk.File{file}}
		if f.Locator, err = readLocator(file); err != nil {
			return err
		}
		copied, err := openFiles(f, dst, Options{FS: o.FS, Write: true}, false)
		if err != nil {
			return err
		}
		return change(copied)
	}
	return im.copyTo(&p, layout.Trailing, o)
}

// copyTo makes p, which has its names already, a copy of im.
func (im *Image) copyTo(p *product, kind layout.Kind, o ConvertOptions) (err error) {
	if !o.served {
		if err := im.CheckClean(); err != nil {
			return err
		}
	}
	if err := im.CheckZones(); err != nil {
		return err
	}
	name := ""
	if kind == layout.Sidecar {
		name = layout.HintName(filepath.Base(p.data[0]))
	}
	p.fs = im.files.FS
	if p.plan, err = relaid(im.plan, kind, name); err != nil {
		return err
	}
	if o.Limits != nil {
		if err := o.Limits.apply(im, p.plan); err != nil {
			return err
		}
	}
	if p.like, err = disk.Like(im.files.Data[0]); err != nil {
		return err
	}
	p.like.Owned = p.like.Owned && o.Belongs
	for _, f := range im.files.all() {
		p.sources = append(p.sources, f.Name())
	}
	p.fill = func(data []disk.File) error { return im.copyData(data[0], p.plan, o.Progress) }
	uuid := im.hdr.UUID
	if o.UUID != ([16]byte{}) {
		uuid = o.UUID
		identify(p.plan, uuid)
	}
	p.meta = func(file disk.File, plan *layout.Plan, compat uint32) error {
		return im.copyMetadata(file, plan, uuid, compat)
	}
	return p.make()
}

// identify gives the namespaces of plan, in an image with that UUID, the identities that Create would give them. A
// namespace has an NGUID or EUI64 afterwards if it had one before.
func identify(plan *layout.Plan, uuid [16]byte) {
	for i := range plan.Entries {
		n := &plan.Entries[i].Namespace
		n.UUID = derivedUUID(uuid, n.ID)
		if n.NGUID != ([16]byte{}) {
			n.NGUID = n.UUID
		}
		if n.EUI64 != ([8]byte{}) {
			n.EUI64 = [8]byte(n.UUID[:8])
		}
	}
}

// ConvertInPlace moves the metadata area of the image at path to the other
// layout, without touching the data: what it costs depends on the metadata alone.
//
// Trailing to sidecar:  make the sidecar, whole and durable; cut the metadata
// area off the data file.
// Sidecar to trailing:  append the metadata area; make it durable; write the locator
// after it; remove the sidecar.
//
// While both exist, probe takes the trailing one if and only if its locator is at
// the end of a file that is longer than the sidecar says. So the cut, in the one direction,
// and the locator, in the other, switch from one to the other, and each happens or does
// not. After an error the image is as it was. What an interruption leaves beside the live one (a sidecar, or an
// unfinished tail) is overwritten by the next try and found by check.
func ConvertInPlace(path string, o ConvertOptions) error {
	im, err := Open(path, Options{FS: o.FS, Write: true, Sidecar: o.Source, Stamp: o.Stamp})
	if err != nil {
		return err
	}
	if err := im.CheckZones(); err != nil {
		return errors.Join(err, im.Close())
	}
	switch o.Layout {
	case im.hdr.Kind, 0:
		err = fmt.Errorf("%s already has layout %v", path, im.hdr.Kind)
	case layout.Sidecar:
		err = im.toSidecar(o)
	default:
		err = im.toTrailing(o)
	}
	return errors.Join(err, im.Close())
}

func (im *Image) toSidecar(o ConvertOptions) (err error) {
	data := im.files.Data[0]
	name := o.Sidecar
	if name == "" {
		name = data.Name() + SidecarSuffix
	}
	if err := checkDistinct([]string{data.Name()}, name); err != nil {
		return err
	}
	n := naming{fs: im.files.FS, force: o.Force, sidecar: name, uuid: im.hdr.UUID}
	if err := n.unclaimed(data.Name()); err != nil {
		return err
	}
	plan, err := relaid(im.plan, layout.Sidecar, layout.HintName(filepath.Base(data.Name())))
	if err != nil {
		return err
	}
	r, err := im.sidecarReplacement(n)
	if err != nil {
		return err
	}
	defer func() { err = r.Abandon(err) }()
	meta, err := r.Create(name)
	if err != nil {
		return err
	}
	if err := im.copyMetadata(meta, plan, im.hdr.UUID, 0); err != nil {
		return err
	}
	r.Keep(meta)
	if err := r.Publish(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, meta.Close()) }()
	err = data.Truncate(int64(plan.DataLen[0]))
	if err == nil {
		err = data.Sync()
	}
	if err == nil {
		return nil
	}
	size, back := data.Size()
	if back == nil && size != int64(im.plan.MetaFileLen()) {
		back = im.putBack(data, meta)
	}
	return im.withoutSidecar(err, back, name)
}

// putBack writes the metadata area of im to the end of data again, from the sidecar meta.
func (im *Image) putBack(data, meta disk.File) error {
	pair, err := im.withSidecar(meta)
	if err != nil {
		return err
	}
	if err := data.Truncate(int64(im.plan.DataLen[0])); err != nil {
		return err
	}
	return pair.appendMetadata(data, im.plan)
}

// withSidecar is the image of im's data and the metadata in meta. Its files stay im's and the caller's.
func (im *Image) withSidecar(meta disk.File) (*Image, error) {
	slots, errs, err := readSlots(meta, nil)
	if err != nil {
		return nil, err
	}
	live := newest(slots)
	if live < 0 {
		return nil, noSlot(errs)
	}
	f := *im.files
	f.Kind, f.Meta = layout.Sidecar, meta
	return assemble(&f, im.path, slots, live), nil
}

// sidecarReplacement is a replacement for a sidecar of im, made with the access of the image.
func (im *Image) sidecarReplacement(n naming) (*disk.Replacement, error) {
	like, err := disk.Like(im.files.Data[0])
	if err != nil {
		return nil, err
	}
	r := &disk.Replacement{FS: im.files.FS, Policy: n.allow, Like: like, Held: im.files.all()}
	for _, f := range im.files.Data {
		r.Sources = append(r.Sources, f.Name())
	}
	return r, nil
}

// withoutSidecar ends a command that has failed with err. If the metadata is back at the end of the data file, which back
// says, the sidecar goes; else err says where the metadata is.
func (im *Image) withoutSidecar(err, back error, sidecar string) error {
	if back == nil {
		back = im.removeSidecar(sidecar)
	}
	if back != nil {
		return errors.Join(fmt.Errorf("%w; the metadata of %s is now in %s", err, im.files.Data[0].Name(), sidecar), back)
	}
	return err
}

func (im *Image) removeSidecar(name string) error {
	if err := im.files.FS.Remove(name); err != nil {
		return err
	}
	return im.files.FS.SyncDir(name)
}

func (im *Image) toTrailing(o ConvertOptions) error {
	if len(im.files.Data) != 1 {
		return &HintError{
			Err:  fmt.Errorf("%s has %d data files; a trailing image is one file", im.path, len(im.files.Data)),
			Hint: "convert it to a new image instead",
		}
	}
	data := im.files.Data[0]
	plan, err := relaid(im.plan, layout.Trailing, "")
	if err != nil {
		return err
	}
	length := int64(plan.DataLen[0])
	if !o.Force {
		if err := im.checkNothingAfter(data, length); err != nil {
			return err
		}
	}
	before, err := data.Size()
	if err != nil {
		return err
	}
	err = data.Truncate(length) // what is after the data area would be in the way
	if err == nil {
		err = reserve(data, int64(plan.MetaOff), int64(plan.MetaFileLen()))
	}
	if err == nil {
		err = im.appendMetadata(data, plan)
	}
	if err == nil {
		err = im.removeSidecar(im.files.MetaName())
	}
	if err == nil {
		return nil
	}
	if _, gone := im.files.FS.Stat(im.files.MetaName()); isMissing(gone) {
		return err // the image has the other layout, and all that is missing is that this is durable
	}
	// The sidecar is as it was. Without a locator at the end of the data file it counts.
	return errors.Join(err, data.Truncate(length), data.Truncate(before), data.Sync())
}

// reserve makes sure that there is space on the disk for the bytes of file from off to end, where the file system can.
func reserve(file disk.File, off, end int64) error {
	err := file.Reserve(off, end-off)
	if errors.Is(err, disk.ErrUnsupported) {
		return nil
	}
	return err
}

// checkNothingAfter refuses to write over data after the data area, which is length bytes long.
func (im *Image) checkNothingAfter(data disk.File, length int64) error {
	off, err := data.SeekData(length)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return err
	}
	if size, err := data.Size(); err != nil || off >= size {
		return err
	}
	return &DataAfterError{Path: im.path, Data: data.Name(), Length: length, Off: off}
}
