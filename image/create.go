package image

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"zimg/image/disk"
	"zimg/layout"
)

// ErrExists is wrapped by the refusal to overwrite a file.
var ErrExists = errors.New("exists")

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
	// File is the path of the namespace's own data file (sidecar layout, either
	// all namespaces or none).
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

	// Zones are the zones to begin with, an element for each namespace (nil: all
	// Empty); nil for Empty zones everywhere.
	Zones []layout.Zones
	// Progress, if not nil, is told the bytes preallocated and to preallocate; an error stops it.
	Progress func(done, total int64) error
	// Fill, if not nil, writes the data area; the data files have their lengths.
	Fill func(data []disk.File, plan *layout.Plan) error

	like []string // the files whose permissions the image's are to have
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
	files := map[string]int{}
	for i := range o.Namespaces {
		n := &o.Namespaces[i]
		if n.ID == 0 {
			n.ID = layout.NSID(i + 1)
		}
		if n.UUID == ([16]byte{}) {
			n.UUID = derivedUUID(o.UUID, n.ID)
		}
		if n.MOR == layout.NoLimit && n.Zoned() {
			n.MOR = n.MAR // QEMU does the same: no more open than active
		}
		if (n.File == "") != (o.Namespaces[0].File == "") {
			return nil, fmt.Errorf("either every namespace has a data file of its own or none: %w", layout.ErrGeometry)
		}
		if n.File != "" {
			if o.Layout != layout.Sidecar {
				return nil, fmt.Errorf("a data file a namespace needs the sidecar layout: %w", layout.ErrGeometry)
			}
			if _, twice := files[n.File]; twice {
				return nil, fmt.Errorf("two namespaces in data file %s: %w", n.File, layout.ErrGeometry)
			}
			files[n.File] = i
			n.DataFile = uint32(i)
		}
		entries[i] = &layout.Entry{Namespace: n.Namespace, Name: filepath.Base(n.File)}
		if n.File == "" {
			entries[i].Name = ""
		}
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
// the sidecar's. Files are made under temporary names and renamed when all of them are
// complete and synced, the one with the metadata last: so an interrupted create leaves no
// image, and with Force the old one or, of several files, no metadata.
func Create(path string, o CreateOptions) (err error) {
	fsys := Options{FS: o.FS}.fs()
	plan, err := o.Complete()
	if err != nil {
		return err
	}
	var names []string // of the data files, then of the sidecar
	switch {
	case o.Namespaces[0].File != "":
		for _, n := range o.Namespaces {
			if filepath.Dir(n.File) != filepath.Dir(path) {
				return &HintError{
					Err:  fmt.Errorf("%s: is not in the folder of %s, where its data files are looked for: %w", n.File, path, layout.ErrGeometry),
					Hint: fmt.Sprintf("the data file can be %s", filepath.Join(filepath.Dir(path), filepath.Base(n.File))),
				}
			}
			names = append(names, n.File)
		}
		names = append(names, path)
	case o.Layout == layout.Sidecar:
		if o.Sidecar == "" {
			o.Sidecar = path + SidecarSuffix
		}
		names = []string{path, o.Sidecar}
		for _, e := range plan.Entries {
			e.Name = layout.HintName(filepath.Base(path))
		}
	default:
		if o.Sidecar != "" {
			return fmt.Errorf("a sidecar %s for an image of trailing layout: %w", o.Sidecar, layout.ErrGeometry)
		}
		names = []string{path}
	}
	if err := distinct(names); err != nil {
		return err
	}
	if err := vacant(fsys, names, o, false); err != nil {
		return err
	}
	st := newStaging(fsys, o.Force)
	st.like(o.like...)
	defer func() { err = st.abandon(err) }()
	tick := o.preallocated(plan)
	for i, length := range plan.DataLen {
		file, err := st.create(names[i])
		if err != nil {
			return err
		}
		if err := makeData(file, int64(length), o.Preallocation, tick); err != nil {
			return fmt.Errorf("%s: %w", names[i], err)
		}
	}
	if o.Fill != nil {
		if err := o.Fill(st.files, plan); err != nil {
			return err
		}
	}
	if o.Layout == layout.Sidecar {
		if _, err := st.create(names[len(names)-1]); err != nil {
			return err
		}
	}
	meta := st.files[len(st.files)-1]
	if err := writeFresh(meta, plan, o); err != nil {
		return fmt.Errorf("%s: %w", names[len(names)-1], err)
	}
	return st.publish()
}

// distinct refuses a name that occurs twice.
func distinct(names []string) error {
	seen := map[string]bool{}
	for _, n := range names {
		c := filepath.Clean(n)
		if seen[c] {
			return bothDataAndSidecar(n)
		}
		seen[c] = true
	}
	return nil
}

func bothDataAndSidecar(name string) error {
	return fmt.Errorf("%s is both data file and sidecar: %w", name, layout.ErrGeometry)
}

// vacant refuses to overwrite what is there, and to leave a sidecar beside a
// new image that would be taken for its own, unless it is known what becomes of that.
func vacant(fsys disk.FS, names []string, o CreateOptions, sidecarKnown bool) error {
	for _, name := range names {
		info, err := fsys.Stat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := replaceable(fsys, name, info, o.Force); err != nil {
			return err
		}
	}
	if sidecarKnown {
		return nil
	}
	data, sidecar := names, ""
	if o.Layout == layout.Sidecar {
		data, sidecar = names[:len(names)-1], names[len(names)-1]
	}
	for _, name := range data {
		if err := unclaimed(fsys, name, sidecar); err != nil {
			return err
		}
	}
	return nil
}

// unclaimed refuses data beside which there is a sidecar that would be taken for its own, and is not the one called
// sidecar.
func unclaimed(fsys disk.FS, data, sidecar string) error {
	name := data + SidecarSuffix
	if filepath.Clean(name) == filepath.Clean(sidecar) {
		return nil
	}
	_, err := fsys.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return &HintError{
		Err:  fmt.Errorf("%s: a sidecar of that name: %w", name, ErrExists),
		Hint: "it would be taken for the image's own; move it away or choose another name",
	}
}

// replaceable refuses to put a file in the place of what has its name: without force, and with it what is
// no file, or in use, for it must not be replaced under its user.
func replaceable(fsys disk.FS, name string, info fs.FileInfo, force bool) error {
	switch {
	case info.IsDir():
		return fmt.Errorf("%s: is a directory", name)
	case !info.Mode().IsRegular():
		return &HintError{Err: fmt.Errorf("%s: is not a regular file, and is not replaced by one", name), Hint: "what is to be on a block device is made as a file, and copied there"}
	case !force:
		return &HintError{Err: fmt.Errorf("%s: %w", name, ErrExists), Hint: "--force overwrites it"}
	}
	file, err := openLocked(fsys, name, Options{Write: true})
	if err != nil {
		return err
	}
	return file.Close()
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
		return fmt.Errorf("preallocation=falloc: %w; full or off work everywhere", disk.ErrUnsupported)
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
	return fmt.Errorf("preallocation %q: off, falloc or full", p)
}

// writeFresh writes the metadata area of a new image: both slots whole, so that
// the first commit is as small as any. Nothing is synced: the name the area is
// to be found by does not exist yet.
func writeFresh(file disk.File, plan *layout.Plan, o CreateOptions) error {
	stamp := now(Clock)
	h := &layout.Header{
		UUID: o.UUID, Flags: layout.Clean, Created: stamp, Committed: stamp, Tool: Tool, Label: o.Label,
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
