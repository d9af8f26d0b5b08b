// Package transfer moves namespaces between images of ours and the formats of other programs, which package foreign
// knows: from one file to another (transfer.go), or in place where both formats have their data in a plain file
// (inplace.go).
package transfer

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"

	"zimg/image"
	"zimg/image/disk"
	"zimg/image/foreign"
	"zimg/layout"
)

// ErrLossy is wrapped by the refusal to leave out what a format cannot hold.
var ErrLossy = errors.New("would be lost")

// UnsoundError is the refusal to convert foreign files that are damaged or whose zones contradict each other.
type UnsoundError struct {
	Path   string
	Format string // the name of its format
	Err    error
}

func (e *UnsoundError) Error() string { return e.Err.Error() }
func (e *UnsoundError) Unwrap() error { return e.Err }

// Options say how something is moved from one format to another.
type Options struct {
	FS       disk.FS
	From, To *foreign.Format // nil: an image of ours
	// Source is the source's second file, or its sidecar; Second is the destination's. Empty: beside
	// the first.
	Source, Second string
	Geometry       *layout.Namespace // what a source does not record
	Unsaid         foreign.Unsaid    // the parts of Geometry that are defaults
	NS             layout.NSID       // 0: the only one
	Lossy          bool              // leave out what the destination cannot hold
	KeepOpen       bool              // zones that are open stay so
	Force          bool
	Stamp          image.Stamp // of an image that is made
	Layout         layout.Kind // of an image that is made; 0 for trailing
	Progress       func(done, total int64) error
	// Say is called with how to run the destination's own program; Note with what a user should know.
	Say, Note func(format string, args ...any)
}

// Open decodes what path names. The returned function closes its files. With share they are read although others have them open
// for writing.
func Open(path string, f *foreign.Format, o Options, share bool) (*foreign.Decoded, func() error, error) {
	fsys := o.fs()
	path, err := disk.Resolve(fsys, path)
	if err != nil {
		return nil, nil, err
	}
	in := &foreign.Input{FS: fsys, Path: path, Second: o.Source, Geometry: o.Geometry, Unsaid: o.Unsaid, Pick: o.NS, ForceShare: share, Format: f}
	d, err := f.Decode(in)
	if err != nil {
		return nil, nil, errors.Join(err, in.Close())
	}
	d.Format = f
	return d, in.Close, nil
}

func (o *Options) fs() disk.FS {
	if o.FS != nil {
		return o.FS
	}
	return disk.OS
}

// source is a namespace to be moved, and the files it is made of.
type source struct {
	content *foreign.Content
	files   []string // see dataFiles
	lost    []string
	assumed []string
	close   func() error
}

func openSource(path string, o *Options) (*source, error) {
	if o.From == nil {
		return openOwn(path, o)
	}
	d, closer, err := Open(path, o.From, *o, false)
	if err != nil {
		return nil, err
	}
	c, err := d.Content(o.NS)
	if err == nil && d.Guess != nil {
		err = fmt.Errorf("%s: %w", path, d.Guess)
	}
	if err == nil && c.Data == nil {
		err = fmt.Errorf("%s: %w next to it", path, foreign.ErrNoData)
	}
	if err == nil {
		if !o.KeepOpen {
			c = c.AtRest()
		}
		if err = c.CheckSound(path); err != nil {
			err = &UnsoundError{Path: path, Format: o.From.Name, Err: err}
		}
	}
	s := &source{content: c, lost: d.Lost, assumed: d.Assumed, close: closer}
	if err == nil {
		err = s.keepLimits()
	}
	if err == nil {
		s.files, err = dataFiles(c, path, o.Source)
	}
	if err != nil {
		return nil, errors.Join(err, closer())
	}
	return s, nil
}

// keepLimits gives the source limits that its zones keep, and notes what is lost by that.
func (s *source) keepLimits() error {
	c, what, err := s.content.WithinLimits()
	if err != nil {
		return err
	}
	if what != "" {
		s.lost = append(slices.Clip(s.lost), what)
	}
	s.content = c
	return nil
}

// dataFiles are the files whose permissions say who may read c: those that the user named, and the first that data is in,
// which speaks for all.
func dataFiles(c *foreign.Content, named ...string) ([]string, error) {
	for e, err := range c.Data(0, int64(c.NS.Size())) {
		if err != nil {
			return nil, err
		}
		return append(named, e.File.Name()), nil
	}
	return named, nil
}

// openOwn opens an image of ours as a source.
func openOwn(path string, o *Options) (_ *source, err error) {
	im, err := image.Open(path, image.Options{FS: o.FS, Sidecar: o.Source})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, im.Close())
		}
	}()
	if err := im.CheckClean(); err != nil {
		return nil, err
	}
	if err := im.CheckZones(); err != nil {
		return nil, err
	}
	d := &foreign.Decoded{}
	for _, n := range im.Namespaces() {
		d.Contents = append(d.Contents, foreign.ContentOf(n))
	}
	c, err := d.Content(o.NS)
	if err != nil {
		return nil, fmt.Errorf("%s has %w", path, err)
	}
	if !o.KeepOpen {
		c = c.AtRest()
	}
	s := &source{content: c, close: im.Close}
	if err := s.keepLimits(); err != nil {
		return nil, err
	}
	s.files, err = dataFiles(c, path, o.Source)
	return s, err
}

// Copy makes dst of src: an image of ours from a foreign format, the reverse, or from one foreign
// format to another. The source is only read. The destination gets its name when it is
// complete and has been read back.
func Copy(src, dst string, o Options) (err error) {
	if o.Say == nil {
		o.Say = func(string, ...any) {}
	}
	if o.Note == nil {
		o.Note = o.Say
	}
	if dst, err = disk.Resolve(o.fs(), dst); err != nil {
		return err
	}
	s, err := openSource(src, &o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	losses := s.lost
	fitted := &foreign.Fitted{Content: s.content}
	if o.To != nil {
		if o.To.Encode == nil {
			return fmt.Errorf("format %s is read-only: writing it is %w", o.To.Name, foreign.ErrUnsupported)
		}
		if fitted, err = o.To.Holds.Fit(s.content, o.KeepOpen); err != nil {
			return fmt.Errorf("%s as %s: %w", src, o.To.Name, err)
		}
		losses = append(losses, fitted.Lost()...)
	}
	if err := o.accept(src, s.assumed, losses, fitted.Notes); err != nil {
		return err
	}
	tick, err := ticker(fitted.Content, o.To, o.Progress)
	if err != nil {
		return err
	}
	if o.To == nil {
		return o.toOwn(dst, fitted.Content, s.files, tick)
	}
	return o.toForeign(src, dst, fitted, s.files, tick)
}

// accept reports what a user should know of a conversion of path before it begins, and refuses one that loses
// something without leave.
func (o *Options) accept(path string, assumed, losses, notes []string) error {
	for _, a := range assumed {
		o.Note("%s: assumed: %s", path, a)
	}
	if len(losses) > 0 && !o.Lossy {
		return fmt.Errorf("%s: %w: %s", path, ErrLossy, strings.Join(losses, "; "))
	}
	for _, l := range losses {
		o.Note("%s: lost: %s", path, l)
	}
	for _, n := range notes {
		o.Note("%s: %s", path, n)
	}
	return nil
}

// ticker turns bytes that were moved into progress.
func ticker(c *foreign.Content, to *foreign.Format, progress func(done, total int64) error) (foreign.Tick, error) {
	if progress == nil {
		return nil, nil
	}
	total, err := c.Written()
	if err != nil {
		return nil, err
	}
	if to != nil && to.Shape == foreign.Device { // which is read back as well
		total *= 2
	}
	var done int64
	return func(n int64) error {
		done += n
		return progress(min(done, total), total)
	}, nil
}

// toOwn makes an image of c, which comes from the files named like.
func (o *Options) toOwn(dst string, c *foreign.Content, like []string, tick foreign.Tick) error {
	n := *c.NS
	n.DataFile, n.DataOff, n.DataLen = 0, 0, 0
	return image.Create(dst, image.CreateOptions{
		FS: o.FS, Stamp: o.Stamp, Layout: o.Layout, Sidecar: o.Second, Force: o.Force,
		Namespaces: []image.NamespaceSpec{{Namespace: n}}, Zones: []layout.Zones{c.Zones}, Like: like,
		Fill: func(data []disk.File, plan *layout.Plan) error {
			e := plan.Entries[0]
			out := &foreign.Output{Content: c, Tick: tick}
			if err := out.CopyLinear(data[0], int64(e.DataOff)); err != nil {
				return err
			}
			return c.CopyMeta(data[0], int64(e.DataOff+e.MetadataOff()), tick)
		},
	})
}

// toForeign writes f, which comes from the files named like, reads it back, and only then gives the files their names.
func (o *Options) toForeign(src, dst string, f *foreign.Fitted, like []string, tick foreign.Tick) (err error) {
	fsys := o.fs()
	second := o.Second
	if second == "" {
		second = dst + o.To.Suffix
	}
	if err := image.CheckUnclaimed(fsys, dst); err != nil {
		return err
	}
	r := &disk.Replacement{FS: fsys, Policy: image.Overwrite(o.Force), Sources: o.parts(src)}
	if r.Like, err = disk.CommonAccess(fsys, like); err != nil {
		return err
	}
	defer func() { err = r.Abandon(err) }()
	out := &foreign.Output{
		Content: f.Content, Path: dst, Second: second, Force: o.Force, Tick: tick, Say: o.Say,
		Create: r.Create,
		Finish: r.Finish,
		Mkdir: func(path string) error {
			err := r.Mkdir(path)
			if errors.Is(err, fs.ErrExist) {
				return &image.HintError{Err: layout.Errorf(fs.ErrExist, "%s already exists", path), Hint: "remove it, or choose another name; directories are not overwritten"}
			}
			return err
		},
	}
	err = o.To.Encode(out)
	if errors.Is(err, foreign.ErrUnfinished) {
		err = &image.HintError{Err: err, Hint: dst + " is incomplete: all its zones were reset, and not all written"}
	}
	if err != nil || o.To.Shape == foreign.Device { // which has nothing staged
		return err
	}
	if err := o.verify(dst, r, f.Content); err != nil {
		return fmt.Errorf("%s, read back: %w", dst, err)
	}
	return r.Publish()
}

// parts are the names of the files that the source may be made of.
func (o *Options) parts(src string) []string {
	suffix := image.SidecarSuffix
	if o.From != nil { // then one of ours is not part of the source
		suffix = o.From.Suffix
	}
	parts := []string{src, src + suffix}
	if o.Source != "" {
		parts = append(parts, o.Source)
	}
	return parts
}

// verify decodes the files as they are staged and compares the zones with what they should be.
func (o *Options) verify(dst string, r *disk.Replacement, want *foreign.Content) error {
	g := *want.NS
	d, closer, err := Open(dst, o.To, Options{FS: r.View(), Source: o.Second, Geometry: &g}, true)
	if err != nil {
		return err
	}
	err = sameZones(d, want, o.To)
	return errors.Join(err, closer())
}

func sameZones(d *foreign.Decoded, want *foreign.Content, f *foreign.Format) error {
	c, err := d.Content(0)
	if err != nil {
		return err
	}
	a, b := c.NS, want.NS
	if a.ZoneCount != b.ZoneCount || a.ZoneSize != b.ZoneSize || a.ZoneCap != b.ZoneCap || a.BlockBits != b.BlockBits || a.ZDES != b.ZDES {
		return layout.Errorf(layout.ErrDamaged, "the geometry is %s, want %s", geometry(a), geometry(b))
	}
	if f.Holds.NoZones {
		return nil
	}
	next, stop := iter.Pull2(c.Zones.All(0, a.ZoneCount))
	defer stop()
	var i uint64
	for z, err := range want.Zones.All(0, b.ZoneCount) {
		if err != nil {
			return err
		}
		got, err, ok := next()
		if err != nil {
			return err
		}
		if !ok || got != z {
			return layout.Errorf(layout.ErrDamaged, "zone %d is %v with write pointer %d and %d blocks written, want %v, %d and %d", i, got.State, got.WP, got.Written-min(got.Start, got.Written), z.State, z.WP, z.Written-min(z.Start, z.Written))
		}
		if z.Attrs&layout.ZDEV != 0 {
			x, err := c.Zones.Extension(i)
			if err != nil {
				return err
			}
			y, err := want.Zones.Extension(i)
			if err != nil {
				return err
			}
			if string(x) != string(y) {
				return layout.Errorf(layout.ErrDamaged, "zone %d has another descriptor extension", i)
			}
		}
		i++
	}
	return nil
}

// geometry describes a namespace for the message that it should be another.
func geometry(n *layout.Namespace) string {
	return fmt.Sprintf("%d zones of %d blocks of %d bytes, capacity %d, extensions of %d bytes", n.ZoneCount, n.ZoneSize, n.BlockSize(), n.ZoneCap, n.ExtSize())
}
