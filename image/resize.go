package image

import (
	"errors"
	"iter"

	"zimg/image/disk"
	"zimg/layout"
)

// ErrShrink is wrapped by the refusal to drop zones that nobody said may go.
var ErrShrink = errors.New("zones would be removed")

// ResizeOptions say what a namespace is to become.
type ResizeOptions struct {
	Options
	Namespace layout.NSID // 0: the only zoned one
	Zones     uint64      // the new number of zones
	Shrink    bool        // zones may be dropped; those that hold anything never are
}

// Resize adds Empty zones at the end of a namespace, or drops Empty ones. The
// namespace must be the last of its data file, since no data is moved. The image is locked from start to end, and after
// an error it is as it was.
//
// It returns ErrShrink without Shrink, layout.ErrRange for a namespace that is not there, layout.ErrGeometry for
// what cannot be.
func Resize(path string, o ResizeOptions) (err error) {
	o.Write = true
	im, err := Open(path, o.Options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, im.Close()) }()
	index, err := im.resizable(o)
	if err != nil {
		return err
	}
	if err := im.CheckZones(); err != nil {
		return err
	}
	plan, err := im.resized(index, o.Zones)
	if err != nil {
		return err
	}
	if im.hdr.Kind == layout.Sidecar {
		return im.resizeSidecar(index, plan)
	}
	return im.resizeTrailing(plan)
}

// resizable finds the namespace to resize and says why it cannot be.
func (im *Image) resizable(o ResizeOptions) (int, error) {
	index := -1
	for i, n := range im.ns {
		if o.Namespace == n.ID || o.Namespace == 0 && n.Zoned() {
			if index >= 0 {
				return 0, marked(layout.ErrRange, "%s has more than one zoned namespace", im.path)
			}
			index = i
		}
	}
	if index < 0 {
		return 0, marked(layout.ErrRange, "%s has no zoned namespace %d", im.path, o.Namespace)
	}
	n := im.ns[index]
	switch {
	case !n.Zoned():
		return 0, marked(layout.ErrRange, "%s: namespace %d has no zones", im.path, n.ID)
	case o.Zones == 0:
		return 0, marked(layout.ErrGeometry, "%s: a namespace needs at least one zone", im.path)
	case n.MS > 0:
		return 0, marked(layout.ErrGeometry, "%s: namespace %d has LBA metadata after its last block, which resize cannot move", im.path, n.ID)
	case o.Zones < n.ZoneCount && !o.Shrink:
		return 0, layout.Errorf(ErrShrink, "%s: shrinking namespace %d from %d to %d zones would remove zones", im.path, n.ID, n.ZoneCount, o.Zones)
	}
	for _, later := range im.ns[index+1:] {
		if later.DataFile == n.DataFile {
			return 0, marked(layout.ErrGeometry, "%s: namespace %d is not the last one in its data file; only the last can be resized", im.path, n.ID)
		}
	}
	if o.Zones >= n.ZoneCount {
		return index, nil
	}
	i := o.Zones
	for z, err := range n.All(i, n.ZoneCount-i) {
		if err != nil {
			return 0, err
		}
		if z.State != layout.Empty {
			return 0, &ZoneDroppedError{Path: im.path, Namespace: n.ID, Zone: i, State: z.State}
		}
		i++
	}
	return index, nil
}

// resized is the plan of im with that many zones in one namespace, in the same layout.
func (im *Image) resized(index int, zones uint64) (*layout.Plan, error) {
	entries := make([]*layout.Entry, len(im.plan.Entries))
	for i, e := range im.plan.Entries {
		c := *e
		entries[i] = &c
	}
	e := entries[index]
	e.ZoneCount, e.Blocks = zones, layout.LBA(zones)*e.ZoneSize
	return layout.Place(im.plan.Kind, entries)
}

// writeArea writes the metadata area of plan to file, the locator apart: the zones of im, as many as plan has.
func (im *Image) writeArea(file disk.File, plan *layout.Plan, compat uint32) error {
	zones := make([]layout.Zones, len(im.ns))
	for i, n := range im.ns {
		if n.Zoned() {
			zones[i] = grownZones{n}
		}
	}
	b, err := buildTables(file, plan, zones)
	if err != nil {
		return err
	}
	h := im.hdr
	h.Counts, h.Committed, h.Tool, h.Compat = b.counts, im.files.stamp.now(), im.files.stamp.tool(), h.Compat&^layout.Moving|compat
	return writeHeaders(file, plan, &h, b.sums, im.hdr.Generation+1)
}

// resizeSidecar lets a new sidecar take the place of the old one. The data file is as long as the longer of the two says
// while that happens.
func (im *Image) resizeSidecar(index int, plan *layout.Plan) (err error) {
	e := plan.Entries[index]
	data := im.files.Data[e.DataFile]
	before, after := int64(im.plan.DataLen[e.DataFile]), int64(plan.DataLen[e.DataFile])
	size, err := data.Size()
	if err != nil {
		return err
	}
	if after > before { // what is after the data area becomes part of a zone: it must be zero
		if err := im.checkNothingAfter(data, before); err != nil {
			return err
		}
	}
	r, err := im.sidecarReplacement(naming{fs: im.files.FS, force: true})
	if err != nil {
		return err
	}
	defer func() { err = r.Abandon(err) }()
	meta, err := r.Create(im.files.MetaName())
	if err != nil {
		return err
	}
	if err := im.writeArea(meta, plan, 0); err != nil {
		return err
	}
	if err := writeLocator(meta, plan, im.hdr.UUID); err != nil {
		return err
	}
	if after > before {
		err := data.Truncate(before)
		if err == nil {
			err = data.Truncate(after)
		}
		if err == nil {
			err = data.Sync()
		}
		if err == nil {
			err = r.Publish()
		}
		if err != nil && !r.Published() {
			return errors.Join(err, data.Truncate(size))
		}
		return err
	}
	if err := r.Publish(); err != nil {
		return err
	}
	// The image is complete, and the rest of the data file is no longer part of it.
	if err := data.Truncate(after); err != nil {
		return err
	}
	return data.Sync()
}

// grownZones are the zones of a namespace, followed by Empty ones.
type grownZones struct{ *Namespace }

func (g grownZones) Zone(i uint64) (layout.Zone, error) {
	if i >= g.ZoneCount {
		return emptyZones{g.Namespace.Namespace}.Zone(i)
	}
	return g.Namespace.Zone(i)
}

func (g grownZones) All(first, count uint64) iter.Seq2[layout.Zone, error] {
	return func(yield func(layout.Zone, error) bool) {
		old := min(count, g.ZoneCount-min(first, g.ZoneCount))
		for z, err := range g.Namespace.All(first, old) {
			if !yield(z, err) || err != nil {
				return
			}
		}
		for z, err := range (emptyZones{g.Namespace.Namespace}).All(first+old, count-old) {
			if !yield(z, err) {
				return
			}
		}
	}
}

func (g grownZones) Extension(i uint64) ([]byte, error) {
	if i >= g.ZoneCount {
		return emptyZones{g.Namespace.Namespace}.Extension(i)
	}
	return g.Namespace.Extension(i)
}
