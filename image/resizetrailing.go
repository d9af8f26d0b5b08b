package image

import (
	"errors"
	"path/filepath"

	"zimg/image/disk"
	"zimg/layout"
)

// How a trailing image is resized
//
//	          data area      metadata area
//	before   [ D            ][ slots ][L]
//	after    [ D + new zones       ][ slots ][L]
//
// The new metadata area may be where the old one is, and a new locator at the end of a longer file
// cannot be written in one step with it. So the metadata is in a sidecar for a moment:
//
//  1. make the sidecar, of the smaller of the two data areas; reserve space for the new metadata area
//  2. give the sidecar its name: nothing changes, since there is a locator at the end of the file (see probe)
//  3. erase the locator; sync: from here on the sidecar counts
//  4. clear what is after the smaller data area, write the new slots there; sync
//  5. write the new locator; sync: from here on the trailing image counts again
//  6. remove the sidecar
//
// Whatever can fail for want of space does so in step 1. After an error in steps 2 to 5 the old
// metadata area is written again. A sidecar that a killed process leaves has the
// feature layout.Moving: it is an image that can be read, and the next command that writes to it moves the metadata back.

// trailingResize is one such resize.
type trailingResize struct {
	im          *Image
	plan        *layout.Plan // new, trailing
	data        disk.File
	name        string // of the sidecar
	oldEnd, end int64  // lengths of the file
	keep        int64  // the smaller data area
	pair        *Image // the image while the sidecar counts
}

func (im *Image) resizeTrailing(plan *layout.Plan) (err error) {
	t := &trailingResize{im: im, plan: plan, data: im.files.Data[0]}
	t.name = t.data.Name() + SidecarSuffix
	t.oldEnd, t.end = int64(im.plan.MetaFileLen()), int64(plan.MetaFileLen())
	smaller := plan
	if plan.DataLen[0] > im.plan.DataLen[0] {
		smaller = im.plan
	}
	t.keep = int64(smaller.DataLen[0])
	sidecarPlan, err := relaid(smaller, layout.Sidecar, layout.HintName(filepath.Base(t.data.Name())))
	if err != nil {
		return err
	}
	r, err := im.sidecarReplacement(naming{fs: im.files.FS, uuid: im.hdr.UUID})
	if err != nil {
		return err
	}
	defer func() { err = r.Abandon(err) }()
	meta, err := r.Create(t.name)
	if err != nil {
		return err
	}
	if err := im.writeArea(meta, sidecarPlan, layout.Moving); err != nil {
		return err
	}
	if err := writeLocator(meta, sidecarPlan, im.hdr.UUID); err != nil {
		return err
	}
	if err := t.reserve(); err != nil {
		return err
	}
	if t.pair, err = im.withSidecar(meta); err != nil {
		return errors.Join(err, t.release())
	}
	r.Keep(meta)
	if err := r.Publish(); err != nil {
		return errors.Join(err, t.release())
	}
	defer func() { err = errors.Join(err, meta.Close()) }()
	if err := t.move(plan); err != nil {
		return im.withoutSidecar(err, t.move(im.plan), t.name)
	}
	return im.removeSidecar(t.name)
}

// reserve takes the space of the new metadata area.
func (t *trailingResize) reserve() error {
	err := reserve(t.data, int64(t.plan.MetaOff), t.end)
	if err != nil {
		err = errors.Join(err, t.release())
	}
	return err
}

// release gives the space back. Before the old metadata area there are Empty zones where there is any.
func (t *trailingResize) release() error {
	var errs []error
	if from, to := int64(t.plan.MetaOff), min(t.end, int64(t.im.plan.MetaOff)); from < to {
		errs = append(errs, t.data.PunchHole(from, to-from))
	}
	return errors.Join(append(errs, t.data.Truncate(t.oldEnd))...)
}

// move does steps 3 to 5 for plan, out of the sidecar.
func (t *trailingResize) move(plan *layout.Plan) error {
	size, err := t.data.Size()
	if err != nil {
		return err
	}
	if _, err := t.data.WriteAt(make([]byte, layout.LocatorLen), size-layout.LocatorLen); err != nil {
		return err
	}
	if err := t.data.Sync(); err != nil {
		return err
	}
	off, end := int64(plan.MetaOff), int64(plan.MetaFileLen())
	if err := t.data.Truncate(end); err != nil {
		return err
	}
	if err := t.data.PunchHole(t.keep, off-t.keep); err != nil {
		return err
	}
	if err := t.pair.writeArea(t.data, plan, 0); err != nil {
		return err
	}
	if err := t.data.Sync(); err != nil {
		return err
	}
	if err := writeLocator(t.data, plan, t.im.hdr.UUID); err != nil {
		return err
	}
	return t.data.Sync()
}
