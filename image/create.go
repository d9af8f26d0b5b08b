package image

import (
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"

	"zimg/image/disk"
	"zimg/layout"
)

// Preallocation says what becomes of the data area when an image is made.
type Preallocation string

// The ways to preallocate, as qemu-img names them.
const (
	PreallocOff    Preallocation = "off"    // sparse
	PreallocFull   Preallocation = "full"   // zeroes are written
	PreallocFalloc Preallocation = "falloc" // space is reserved
)

// NamespaceSpec is a namespace to be made. The zero values of ID, UUID and the
// placement are filled in.
type NamespaceSpec struct {
	layout.Namespace
	// File is the name of the namespace's own data file, which is in the folder of the image: a bare name, or with
	// the image's folder before it (sidecar layout, either all namespaces or none).
	File string
}

// CreateOptions say what image to make.
type CreateOptions struct {
	FS            disk.FS
	Layout        layout.Kind
	Sidecar       string // path of the sidecar; empty for IMAGE.zmeta
	Namespaces    []NamespaceSpec
	Label         string
	UUID          [16]byte // zero for a random one
	Preallocation Preallocation
	Force         bool // overwrite
	Stamp         Stamp

	// Zones are the zones to begin with, an element for each namespace (nil: all
	// Empty); nil for Empty zones everywhere.
	Zones []layout.Zones
	// Progress, if not nil, is called with the bytes preallocated and the total; an error stops it.
	Progress func(done, total int64) error
	// Fill, if not nil, writes the data area; the data files have their lengths.
	Fill func(data []disk.File, plan *layout.Plan) error

	// Like are the files that the data is read from: the image gets the permissions that all of them give, and must not
	// replace one of them.
	Like []string
}

// NewUUID makes a random UUID (RFC 9562, version 4).
func NewUUID() [16]byte {
	var u [16]byte
	_, _ = rand.Read(u[:]) // documented never to fail
	u[6] = u[6]&0x0F | 0x40
	u[8] = u[8]&0x3F | 0x80
	return u
}

// Complete fills what o leaves open, and plans the image. It changes nothing on
// disk.
func (o *CreateOptions) Complete() (*layout.Plan, error) {
	if o.Layout == 0 {
		o.Layout = layout.Trailing
	}
	if err := layout.CheckLabel(o.Label); err != nil {
		return nil, err
	}
	if o.UUID == ([16]byte{}) {
		o.UUID = NewUUID()
	}
	entries := make([]*layout.Entry, len(o.Namespaces))
	files := map[string]bool{}
	for i := range o.Namespaces {
		n := &o.Namespaces[i]
		if n.ID == 0 {
			n.ID = layout.NSID(i + 1)
		}
		if n.UUID == ([16]byte{}) {
			n.UUID = derivedUUID(o.UUID, n.ID)
		}
		if n.MOR == layout.NoLimit && n.Zoned() {
			n.MOR, _ = layout.Limits(0, uint32(n.MaxActive()))
		}
		if (n.File == "") != (o.Namespaces[0].File == "") {
			return nil, marked(layout.ErrGeometry, "set a data file for every namespace or for none")
		}
		name := ""
		if n.File != "" {
			if o.Layout != layout.Sidecar {
				return nil, marked(layout.ErrGeometry, "separate data files require the sidecar layout")
			}
			name = filepath.Base(n.File)
			if err := layout.CheckFileName(name); err != nil {
				return nil, err
			}
			if files[name] {
				return nil, marked(layout.ErrGeometry, "two namespaces have the same data file, %s", name)
			}
			files[name] = true
			n.DataFile = uint32(i)
		}
		entries[i] = &layout.Entry{Namespace: n.Namespace, Name: name}
	}
	return layout.Place(o.Layout, entries)
}

// derivedUUID gives namespace id of image u an identity of its own that is the
// same each time.
func derivedUUID(u [16]byte, id layout.NSID) [16]byte {
	for i := range 4 {
		u[i] ^= byte(id >> (8 * i))
	}
	return u
}

// Create makes an image. With a data file of its own for each namespace, path is
// the sidecar's. The files get their names when all of them are complete and durable (see
// product); with Force they take the places of files that exist, which are locked meanwhile: one that is in use is
// not replaced.
//
// It returns ErrExists without Force, disk.ErrLocked for a file in use, layout.ErrGeometry for what
// cannot be an image.
func Create(path string, o CreateOptions) error {
	fsys := Options{FS: o.FS}.fs()
	path, err := disk.Resolve(fsys, path)
	if err != nil {
		return err
	}
	plan, err := o.Complete()
	if err != nil {
		return err
	}
	p := product{fs: fsys, plan: plan, naming: naming{force: o.Force}, like: disk.DefaultAccess}
	switch {
	case o.Namespaces[0].File != "":
		if o.Sidecar != "" && filepath.Clean(o.Sidecar) != filepath.Clean(path) {
			return marked(layout.ErrGeometry, "an image with separate data files is named by its sidecar: %s, not %s", path, o.Sidecar)
		}
		for _, n := range o.Namespaces {
			file, err := besideImage(path, n.File)
			if err != nil {
				return err
			}
			p.data = append(p.data, file)
		}
		p.sidecar = path
	case o.Layout == layout.Sidecar:
		p.data, p.sidecar = []string{path}, o.Sidecar
		if p.sidecar == "" {
			p.sidecar = path + SidecarSuffix
		}
		for _, e := range plan.Entries {
			e.Name = layout.HintName(filepath.Base(path))
		}
	default:
		if o.Sidecar != "" {
			return marked(layout.ErrGeometry, "trailing images have no sidecar (%s)", o.Sidecar)
		}
		p.data = []string{path}
	}
	if len(o.Like) > 0 {
		if p.like, err = disk.CommonAccess(fsys, o.Like); err != nil {
			return err
		}
	}
	p.sources = o.Like
	tick := o.preallocated(plan)
	p.fill = func(data []disk.File) error {
		for i, length := range plan.DataLen {
			if err := makeData(data[i], int64(length), o.Preallocation, tick); err != nil {
				return fmt.Errorf("%s: %w", p.data[i], err)
			}
		}
		if o.Fill == nil {
			return nil
		}
		return o.Fill(data, plan)
	}
	p.meta = func(file disk.File, plan *layout.Plan, compat uint32) error { return writeFresh(file, plan, o, compat) }
	return p.make()
}

// besideImage is the path of a data file of the image at path: name is a bare name, or has the folder of the image before it.
// Anywhere else the file would not be found again.
func besideImage(path, name string) (string, error) {
	folder := filepath.Dir(path)
	if name != filepath.Base(name) && filepath.Dir(name) != folder {
		return "", &HintError{
			Err:  marked(layout.ErrGeometry, "data file %s is not in the directory of %s", name, path),
			Hint: fmt.Sprintf("name it %s; it is created next to the image", filepath.Base(name)),
		}
	}
	return filepath.Join(folder, filepath.Base(name)), nil
}

// preallocated adds up bytes for Progress.
func (o *CreateOptions) preallocated(plan *layout.Plan) func(n int64) error {
	var done, total int64
	for _, length := range plan.DataLen {
		total += int64(length)
	}
	return func(n int64) error {
		if done += n; o.Progress == nil {
			return nil
		}
		return o.Progress(done, total)
	}
}

// makeData gives file a data area of length bytes that reads as zeroes.
func makeData(file disk.File, length int64, p Preallocation, tick func(n int64) error) error {
	switch p {
	case PreallocFalloc:
		if err := file.Allocate(0, length); !errors.Is(err, disk.ErrUnsupported) {
			return err
		}
		return fmt.Errorf("preallocation falloc is %w; use full or off", disk.ErrUnsupported)
	case PreallocFull:
		zero := make([]byte, chunk)
		for off := int64(0); off < length; off += chunk {
			n, err := file.WriteAt(zero[:min(chunk, length-off)], off)
			if err == nil {
				err = tick(int64(n))
			}
			if err != nil {
				return err
			}
		}
		return nil
	case PreallocOff, "":
		return file.Truncate(length)
	}
	return fmt.Errorf("invalid preallocation %q: must be off, falloc or full", p)
}

// writeFresh writes the metadata area of a new image: both slots whole, so that
// the first commit is as small as any. Nothing is synced: the name the area is
// to be found by does not exist yet.
func writeFresh(file disk.File, plan *layout.Plan, o CreateOptions, compat uint32) error {
	stamp := o.Stamp.now()
	h := &layout.Header{
		Compat: compat, UUID: o.UUID, Flags: layout.Clean, Created: stamp, Committed: stamp, Tool: o.Stamp.tool(), Label: o.Label,
	}
	zones := o.Zones
	if zones == nil {
		zones = make([]layout.Zones, len(plan.Entries))
	}
	b, err := buildTables(file, plan, zones)
	if err != nil {
		return err
	}
	h.Counts = b.counts
	if err := writeHeaders(file, plan, h, b.sums, 1); err != nil {
		return err
	}
	return writeLocator(file, plan, o.UUID)
}

// writeBoth writes b, whole table blocks from block first on, to both slots.
func writeBoth(file disk.File, plan *layout.Plan, first uint64, b []byte) error {
	for slot := range 2 {
		off := plan.MetaOff + layout.Bytes(slot)*plan.SlotLen + plan.TableOff + layout.Bytes(first)*layout.BlockLen
		if _, err := file.WriteAt(b, int64(off)); err != nil {
			return err
		}
	}
	return nil
}

// writeHeaders writes checksum array and header of both slots: slot 1 of
// generation gen, slot 0 of the next one, and so live.
func writeHeaders(file disk.File, plan *layout.Plan, h *layout.Header, sums []uint32, gen uint64) error {
	array := layout.EncodeChecksums(sums)
	plan.Header(h)
	h.ChecksumCRC = layout.Checksum(array)
	for slot := range 2 {
		h.Slot = uint32(slot)
		h.Generation = gen + uint64(1-slot)
		off := int64(plan.MetaOff) + int64(slot)*int64(plan.SlotLen)
		if _, err := file.WriteAt(array, off+int64(plan.ChecksumOff)); err != nil {
			return err
		}
		if _, err := file.WriteAt(h.Encode(), off); err != nil {
			return err
		}
	}
	return nil
}

func writeLocator(file disk.File, plan *layout.Plan, uuid [16]byte) error {
	_, err := file.WriteAt(plan.Locator(uuid).Encode(), int64(plan.MetaOff+2*plan.SlotLen))
	return err
}
