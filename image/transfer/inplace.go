package transfer

import (
	"errors"
	"fmt"

	"zimg/image"
	"zimg/image/disk"
	"zimg/image/foreign"
	"zimg/layout"
)

// Formats of two files have plain data in the first, as a sidecar image has. So one becomes the
// other without the data being touched: only the second file is made anew. What is above write
// pointers, which such formats keep and hide, is discarded, since our images promise that it
// reads as zeroes.

// InPlace turns data and second file at path into data and sidecar, or the other way round: o
// says which. It ends with the old second file still there when it came from a foreign format (it is
// nobody's but its owner's), and with our sidecar removed when it goes to one.
func InPlace(path string, o Options) error {
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
	path, err := disk.Resolve(o.fs(), path)
	if err != nil {
		return err
	}
	if o.From != nil {
		return o.adopt(path)
	}
	return o.release(path)
}

// adopt makes a sidecar for the data file at path out of the foreign second file.
func (o *Options) adopt(path string) (err error) {
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
	n := *c.NS
	n.DataFile, n.DataOff, n.DataLen = 0, 0, 0
	opts := image.CreateOptions{
		FS: o.FS, Stamp: o.Stamp, Sidecar: o.Second, Force: o.Force,
		Namespaces: []image.NamespaceSpec{{Namespace: n}}, Zones: []layout.Zones{c.Zones},
	}
	// The gaps are collected first, for the source's read lock has to go before the data can be changed.
	err = image.AddSidecar(path, opts, o.parts(path), func() ([]image.Range, error) {
		gaps, err := unwritten(c)
		return gaps, errors.Join(err, closeSource())
	})
	if err != nil {
		return err
	}
	o.Say("the state file of format %s is still there, but is no longer updated", o.From.Name)
	return nil
}

// unwritten is what c has beyond the write pointers of its zones.
func unwritten(c *foreign.Content) ([]image.Range, error) {
	var gaps []image.Range
	end := int64(0)
	for r, err := range c.Runs() {
		if err != nil {
			return nil, err
		}
		if r.From > end {
			gaps = append(gaps, image.Range{From: end, To: r.From})
		}
		end = r.To
	}
	if size := int64(c.NS.Size()); end < size {
		gaps = append(gaps, image.Range{From: end, To: size})
	}
	return gaps, nil
}

// release makes a foreign second file for the data of a sidecar image, and removes the sidecar.
func (o *Options) release(path string) (err error) {
	im, err := image.Open(path, image.Options{FS: o.FS, Write: true, Sidecar: o.Source, Stamp: o.Stamp})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, im.Close()) }()
	if err := im.CheckDataAlone(); err != nil {
		return err
	}
	if err := im.CheckZones(); err != nil {
		return err
	}
	n := im.Namespaces()[0]
	fitted, err := o.To.Holds.Fit(foreign.ContentOf(n), o.KeepOpen)
	if err != nil {
		return fmt.Errorf("%s as %s: %w", path, o.To.Name, err)
	}
	if err := o.accept(path, nil, fitted.Lost(), fitted.Notes); err != nil {
		return err
	}
	data := n.File().Name()
	second := o.Second
	if second == "" {
		second = data + o.To.Suffix
	}
	return im.ReplaceSidecar(o.Force, func(r *disk.Replacement) error {
		out := &foreign.Output{
			Content: fitted.Content, Path: data, Second: second, InPlace: true, Say: o.Say,
			Create: r.Create,
		}
		if err := o.To.Encode(out); err != nil {
			return err
		}
		if err := o.verify(data, r, fitted.Content); err != nil {
			return fmt.Errorf("%s, read back: %w", second, err)
		}
		return nil
	})
}
