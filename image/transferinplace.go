package image

import (
	"errors"
	"fmt"
	"path/filepath"

	"zimg/image/disk"
	"zimg/image/foreign"
	"zimg/layout"
)

// Formats of two files have plain data in the first, as a sidecar image has. So one becomes the
// other without the data being touched: only the second file is made anew. What is above write
// pointers, which such formats keep and hide, is discarded, since our images promise that it
// reads as zeroes.

// TransferInPlace turns data and second file at path into data and sidecar, or the other way round: o
// says which. It ends with the old second file still there when it came from a foreign format (it is
// nobody's but its owner's), and with our sidecar removed when it goes to one.
func TransferInPlace(path string, o TransferOptions) error {
	if o.Say == nil {
		o.Say = func(string, ...any) {}
	}
	if o.Note == nil {
		o.Note = o.Say
	}
	f := o.To
	if f == nil {
		f = o.From
	}
	if f == nil || f.Shape != foreign.TwoFiles {
		return fmt.Errorf("in-place conversion of a format without a separate state file is %w", foreign.ErrUnsupported)
	}
	if o.To != nil && o.From != nil {
		return fmt.Errorf("in-place conversion from one foreign format to another is %w", foreign.ErrUnsupported)
	}
	path, err := Options{FS: o.FS}.resolve(path)
	if err != nil {
		return err
	}
	if o.From != nil {
		return o.adopt(path)
	}
	return o.release(path)
}

// adopt makes a sidecar for the data file at path out of the foreign second file.
func (o *TransferOptions) adopt(path string) (err error) {
	s, err := openSource(path, o)
	if err != nil {
		return err
	}
	c, closed := s.content, false
	closeSource := func() error {
		if closed {
			return nil
		}
		closed = true
		return s.close()
	}
	defer func() { err = errors.Join(err, closeSource()) }()
	if err := o.accept(path, s.assumed, s.lost, nil); err != nil {
		return err
	}
	fsys := Options{FS: o.FS}.fs()
	n := *c.NS
	n.DataFile, n.DataOff, n.DataLen = 0, 0, 0
	opts := CreateOptions{FS: o.FS, Stamp: o.Stamp, Layout: layout.Sidecar, Namespaces: []NamespaceSpec{{Namespace: n}}, Zones: []layout.Zones{c.Zones}}
	plan, err := opts.Complete()
	if err != nil {
		return err
	}
	plan.Entries[0].Name = layout.HintName(filepath.Base(path))
	sidecar := o.Second
	if sidecar == "" {
		sidecar = path + SidecarSuffix
	}
	name := naming{fs: fsys, force: o.Force, sidecar: sidecar}
	r := &disk.Replacement{FS: fsys, Policy: name.allow, Sources: o.parts(path)}
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
	if err := writeFresh(meta, plan, opts, 0); err != nil {
		return err
	}
	if err := o.clean(fsys, path, c, plan, closeSource); err != nil {
		return err
	}
	if err := r.Publish(); err != nil {
		return err
	}
	o.Say("the state file of format %s is still there, but is no longer updated", o.From.Name)
	return nil
}

// clean discards what is above write pointers, and makes the data file as long as it has to be. The
// zones are collected first, for the source's read lock has to go before the data can be written.
func (o *TransferOptions) clean(fsys disk.FS, path string, c *foreign.Content, plan *layout.Plan, closeSource func() error) error {
	type gap struct{ from, to int64 }
	var gaps []gap
	end := int64(0)
	for r, err := range c.Runs() {
		if err != nil {
			return err
		}
		if r.From > end {
			gaps = append(gaps, gap{end, r.From})
		}
		end = r.To
	}
	if size := int64(c.NS.Size()); end < size {
		gaps = append(gaps, gap{end, size})
	}
	if err := closeSource(); err != nil {
		return err
	}
	file, err := openLocked(fsys, path, Options{Write: true})
	if err != nil {
		return err
	}
	for _, g := range gaps {
		if err := file.PunchHole(g.from, g.to-g.from); err != nil {
			return errors.Join(err, file.Close())
		}
	}
	size, err := file.Size()
	if want := int64(plan.DataLen[0]); err == nil && size < want {
		err = file.Truncate(want)
	}
	return errors.Join(err, file.Sync(), file.Close())
}

// release makes a foreign second file for the data of a sidecar image, and removes the sidecar.
func (o *TransferOptions) release(path string) (err error) {
	im, err := Open(path, Options{FS: o.FS, Write: true, Sidecar: o.Source, Stamp: o.Stamp})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, im.Close()) }()
	if im.hdr.Kind != layout.Sidecar || len(im.ns) != 1 {
		return &markedError{
			text: fmt.Sprintf("%s (layout %v, %d namespaces): only a sidecar image with one namespace can be converted in place",
				path, im.hdr.Kind, len(im.ns)),
			kinds: []error{layout.ErrGeometry, ErrNotInPlace},
		}
	}
	if err := im.CheckZones(); err != nil {
		return err
	}
	n, data := im.ns[0], im.files.Data[0]
	fitted, err := o.To.Holds.Fit(n.content(), o.KeepOpen)
	if err != nil {
		return fmt.Errorf("%s as %s: %w", path, o.To.Name, err)
	}
	if err := o.accept(path, nil, fitted.Lost(), fitted.Notes); err != nil {
		return err
	}
	if size, err := data.Size(); err != nil || size != int64(n.Size()) {
		return errors.Join(err, marked(layout.ErrGeometry, "%s has %d bytes, but its namespace has %d; the format requires the same size", data.Name(), size, n.Size()))
	}
	second := o.Second
	if second == "" {
		second = data.Name() + o.To.Suffix
	}
	r, err := im.sidecarReplacement(naming{fs: im.files.FS, force: o.Force})
	if err != nil {
		return err
	}
	r.Sources = append(r.Sources, im.files.MetaName())
	defer func() { err = r.Abandon(err) }()
	out := &foreign.Output{
		Content: fitted.Content, Path: data.Name(), Second: second, InPlace: true, Say: o.Say,
		Create: r.Create,
	}
	if err := o.To.Encode(out); err != nil {
		return err
	}
	if err := o.verify(data.Name(), r, fitted.Content); err != nil {
		return fmt.Errorf("%s, read back: %w", second, err)
	}
	if err := r.Publish(); err != nil {
		return err
	}
	return im.removeSidecar(im.files.MetaName())
}
