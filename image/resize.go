package image

import (
	"errors"
	"fmt"
	"iter"
	"path/filepath"

	"zimg/layout"
)

// ErrShrink is wrapped by the refusal to drop zones that nobody said may go.
var ErrShrink = errors.New("use the --shrink option to perform a shrink operation")

// ResizeOptions say what a namespace is to become.
type ResizeOptions struct {
	Options
	Namespace layout.NSID // 0: the only zoned one
	Zones     uint64      // the new number of zones
	Shrink    bool        // zones may be dropped; those that hold anything never are
}

// Resize adds Empty zones at the end of a namespace, or drops Empty ones. The
// namespace must be the last of its data file, since no data is moved.
//
// In the sidecar layout the new sidecar replaces the old one in one rename; the data file is
// as long as the longer of the two while that happens. A trailing image is taken
// through the sidecar layout and back, each step of which is safe on its own: an
// interruption may leave a sound image of the other layout.
func Resize(path string, o ResizeOptions) (err error) {
	o.Write = true
	im, err := Open(path, o.Options)
	if err != nil {
		return err
	}
	kind, name := im.hdr.Kind, im.files.Data[0].Name()
	index, err := im.resizable(o)
	var plan *layout.Plan
	if err == nil { // whether it can be is asked before anything is changed
		plan, err = im.resized(index, o.Zones)
	}
	if err == nil && kind == layout.Sidecar {
		err = im.resizeSidecar(index, plan)
	}
	if err = errors.Join(err, im.Close()); err != nil || kind == layout.Sidecar {
		return err
	}
	if err := ConvertInPlace(name, ConvertOptions{FS: o.FS, Layout: layout.Sidecar}); err != nil {
		return err
	}
	if err := Resize(name, o); err != nil {
		return errors.Join(err, ConvertInPlace(name, ConvertOptions{FS: o.FS, Layout: layout.Trailing}))
	}
	return ConvertInPlace(name, ConvertOptions{FS: o.FS, Layout: layout.Trailing, Force: true})
}

// resizable finds the namespace to resize and says why it cannot be.
func (im *Image) resizable(o ResizeOptions) (int, error) {
	index := -1
	for i, n := range im.ns {
		if o.Namespace == n.ID || o.Namespace == 0 && n.Zoned() {
			if index >= 0 {
				return 0, fmt.Errorf("%s: several zoned namespaces: say which with --ns: %w", im.path, layout.ErrRange)
			}
			index = i
		}
	}
	if index < 0 {
		return 0, fmt.Errorf("%s: no zoned namespace %d: %w", im.path, o.Namespace, layout.ErrRange)
	}
	n := im.ns[index]
	switch {
	case !n.Zoned():
		return 0, fmt.Errorf("%s: namespace %d has no zones: %w", im.path, n.ID, layout.ErrRange)
	case o.Zones == 0:
		return 0, fmt.Errorf("%s: a namespace has at least one zone: %w", im.path, layout.ErrGeometry)
	case n.MS > 0:
		return 0, fmt.Errorf("%s: namespace %d has per-block metadata behind its last block, which would have to move: %w", im.path, n.ID, layout.ErrGeometry)
	case o.Zones < n.ZoneCount && !o.Shrink:
		return 0, &HintError{Err: fmt.Errorf("%s: namespace %d has %d zones: %w", im.path, n.ID, n.ZoneCount, ErrShrink), Hint: "only Empty zones are dropped, never data"}
	}
	for _, later := range im.ns[index+1:] {
		if later.DataFile == n.DataFile {
			return 0, fmt.Errorf("%s: namespace %d is not the last of its data file: only the last can be resized: %w", im.path, n.ID, layout.ErrGeometry)
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
			return 0, &HintError{
				Err:  fmt.Errorf("%s: namespace %d zone %d is %v and would be dropped", im.path, n.ID, i, z.State),
				Hint: fmt.Sprintf("reset it first if its data is not needed: zimg zone reset --ns %d %s %d", n.ID, im.path, i),
			}
		}
		i++
	}
	return index, nil
}

// resized is the plan of im with that many zones in one namespace, as a sidecar.
func (im *Image) resized(index int, zones uint64) (*layout.Plan, error) {
	entries := make([]*layout.Entry, len(im.plan.Entries))
	for i, e := range im.plan.Entries {
		c := *e
		entries[i] = &c
	}
	e := entries[index]
	e.ZoneCount, e.Blocks = zones, layout.LBA(zones)*e.ZoneSize
	return layout.Place(layout.Sidecar, entries)
}

func (im *Image) resizeSidecar(index int, plan *layout.Plan) (err error) {
	e := plan.Entries[index]
	all := make([]layout.Zones, len(im.ns))
	for i, n := range im.ns {
		if n.Zoned() {
			all[i] = n
		}
	}
	all[index] = grownZones{Namespace: im.ns[index]}
	data := im.files.Data[e.DataFile]
	before, after := int64(im.plan.DataLen[e.DataFile]), int64(plan.DataLen[e.DataFile])
	if after > before {
		// Whatever was behind the data area becomes part of a zone: it must be zero.
		if err := im.nothingBehind(data, before); err != nil {
			return err
		}
		if err := data.Truncate(before); err != nil {
			return err
		}
		if err := data.Truncate(after); err != nil {
			return err
		}
		if err := data.Sync(); err != nil {
			return err
		}
	}
	name := im.files.MetaName()
	st := newStaging(im.files.FS, true)
	st.like(data.Name())
	defer func() { err = st.abandon(err) }()
	meta, err := st.create(filepath.Clean(name))
	if err != nil {
		return err
	}
	b, err := buildTables(meta, plan, all)
	if err != nil {
		return err
	}
	h := im.hdr
	h.Counts, h.Committed, h.Tool = b.counts, now(Clock), Tool
	if err := writeHeaders(meta, plan, &h, b.sums, im.hdr.Generation+1); err != nil {
		return err
	}
	if err := writeLocator(meta, plan, im.hdr.UUID); err != nil {
		return err
	}
	if err := st.publish(); err != nil {
		return err
	}
	if after < before {
		if err := data.Truncate(after); err != nil {
			return err
		}
		return data.Sync()
	}
	return nil
}

// grownZones are the zones of a namespace, followed by Empty ones.
type grownZones struct{ *Namespace }

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
