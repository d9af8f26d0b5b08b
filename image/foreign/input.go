package foreign

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"zimg/image/disk"
	"zimg/layout"
)

// Input is what a decoder is handed: names, what the user said, and the means to open
// files, for reading only.
type Input struct {
	FS     disk.FS
	Path   string // as the user named it
	Second string // the second file, if the user named one
	// Geometry is what the user said of the namespace, nil if nothing; ZoneCount 0 means as
	// many as there is room for. Unsaid says which parts of it are defaults.
	Geometry *layout.Namespace
	Unsaid   Unsaid
	// Pick is the namespace wanted, 0 if the user did not say.
	Pick layout.NSID
	// ForceShare takes no locks.
	ForceShare bool
	// Format is the one that decodes.
	Format *Format

	files []disk.File
	dirs  []io.Closer // locks on directories
}

// Unsaid are the parts of a geometry that the user did not give, so that they say nothing
// about the file.
type Unsaid struct{ BlockSize, ZoneSize, ZoneCap, ExtSize bool }

// SaidBlockBits is log2 of the block size that the user gave.
func (in *Input) SaidBlockBits() (uint8, bool) {
	if in.Geometry == nil || in.Unsaid.BlockSize {
		return 0, false
	}
	return in.Geometry.BlockBits, true
}

// SaidZoneSize is the zone size that the user gave, in blocks of 1<<bits bytes.
func (in *Input) SaidZoneSize(bits uint8) (layout.LBA, bool) {
	if in.Geometry == nil || in.Unsaid.ZoneSize {
		return 0, false
	}
	return layout.LBA(in.Geometry.ByteOff(in.Geometry.ZoneSize) >> bits), true
}

// SaidZoneCap is the zone capacity that the user gave, in blocks of 1<<bits bytes.
func (in *Input) SaidZoneCap(bits uint8) (layout.LBA, bool) {
	if in.Geometry == nil || in.Unsaid.ZoneCap {
		return 0, false
	}
	return layout.LBA(in.Geometry.ByteOff(in.Geometry.ZoneCap) >> bits), true
}

// SaidExtSize is the size of a zone descriptor extension that the user gave, in bytes.
func (in *Input) SaidExtSize() (int, bool) {
	if in.Geometry == nil || in.Unsaid.ExtSize {
		return 0, false
	}
	return in.Geometry.ExtSize(), true
}

// Open opens and locks a file for reading; Close closes it.
func (in *Input) Open(path string) (disk.File, error) {
	file, err := in.open(path)
	if err == nil {
		in.files = append(in.files, file)
	}
	return file, err
}

func (in *Input) open(path string) (disk.File, error) {
	file, err := in.FS.Open(path, disk.ReadOnly, 0)
	if err != nil || in.ForceShare {
		return file, err
	}
	if err := file.Lock(disk.LockRead); err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}

// Keep has Close close a file that was opened in another way: a device.
func (in *Input) Keep(file disk.File) { in.files = append(in.files, file) }

// LockDir takes a shared lock on the directory that Path names, until Close.
func (in *Input) LockDir() error {
	if in.ForceShare {
		return nil
	}
	lock, err := disk.LockDir(in.FS, in.Path)
	if err == nil {
		in.dirs = append(in.dirs, lock)
	}
	return err
}

// Brief opens a file that is closed when fn returns.
func (in *Input) Brief(path string, fn func(disk.File) error) error {
	file, err := in.open(path)
	if err != nil {
		return err
	}
	return errors.Join(fn(file), file.Close())
}

// Close closes all files and gives back the locks.
func (in *Input) Close() error {
	var errs []error
	for _, f := range in.files {
		errs = append(errs, f.Close())
	}
	for _, d := range in.dirs {
		errs = append(errs, d.Close())
	}
	in.files, in.dirs = nil, nil
	return errors.Join(errs...)
}

// Pair opens data file and second file: Path may name either. data is nil if Path is the second
// one and no data file is beside it: then zones can be read, but no data can be copied.
func (in *Input) Pair() (data, second disk.File, err error) {
	suffix := in.Format.Suffix
	dataName, secondName := in.Path, in.Second
	if secondName == "" {
		secondName = in.Path + suffix
		if _, err := in.FS.Stat(secondName); errors.Is(err, fs.ErrNotExist) {
			// The path given is the second file.
			secondName, dataName = in.Path, ""
			if base, ok := strings.CutSuffix(in.Path, suffix); ok && filepath.Base(in.Path) != suffix {
				if info, err := in.FS.Stat(base); err == nil && info.Mode().IsRegular() {
					dataName = base
				}
			}
		} else if err != nil {
			return nil, nil, err
		}
	}
	if second, err = in.Open(secondName); err != nil {
		return nil, nil, err
	}
	if dataName == "" {
		return nil, second, nil
	}
	data, err = in.Open(dataName)
	return data, second, err
}

// sector is the unit in which QEMU's block layer knows the length of a file: it rounds up.
const sector = 512

// DeviceLength is the length that QEMU takes a file of size bytes to have.
func DeviceLength(size int64) int64 { return int64(layout.RoundUp(layout.Bytes(size), sector)) }

// NeedGeometry is the error of a format that does not say how its zones are.
func (in *Input) NeedGeometry() error {
	if _, err := in.FS.Stat(in.Path); err != nil {
		return err
	}
	return fmt.Errorf("%s: %w: the format %s does not hold it", in.Path, ErrNoGeometry, in.Format.Name)
}

// Head is the beginning of what a path names, for detection.
type Head struct {
	FS    disk.FS
	Path  string
	IsDir bool
	Size  int64
	First []byte // up to 4096 bytes
	Last  []byte // up to 4096 bytes
	file  disk.File
}

// NewHead opens path for detection.
func NewHead(fsys disk.FS, path string) (*Head, error) {
	h := &Head{FS: fsys, Path: path}
	info, err := fsys.Stat(path)
	if err != nil {
		return nil, err
	}
	if h.IsDir = info.IsDir(); h.IsDir {
		return h, nil
	}
	if h.file, err = fsys.Open(path, disk.ReadOnly, 0); err != nil {
		return nil, err
	}
	if h.Size, err = h.file.Size(); err == nil {
		n := min(4096, h.Size)
		h.First, h.Last = make([]byte, n), make([]byte, n)
		if err = ReadFull(h.file, h.First, 0); err == nil {
			err = ReadFull(h.file, h.Last, h.Size-n)
		}
	}
	if err != nil {
		_ = h.file.Close()
		return nil, err
	}
	return h, nil
}

// Exists reports whether a directory has an entry called name.
func (h *Head) Exists(name string) bool {
	_, err := h.FS.Stat(filepath.Join(h.Path, name))
	return err == nil
}

// Close closes what NewHead opened.
func (h *Head) Close() error {
	if h.file == nil {
		return nil
	}
	return h.file.Close()
}

// HostOrder is the byte order in which b begins with magic: that of the host that wrote a structure of
// length bytes out of its memory.
func HostOrder(b []byte, magic uint32, length int) (binary.ByteOrder, bool) {
	if len(b) < length {
		return nil, false
	}
	for _, bo := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		if bo.Uint32(b) == magic {
			return bo, true
		}
	}
	return nil, false
}

// ReadFull fills b from off; a file that is too short is an error that says so.
func ReadFull(file disk.File, b []byte, off int64) error {
	n, err := file.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return Short(file, "the format", off+int64(len(b)))
	}
	return err
}

// Short is the error of a file that must have more bytes than it has.
func Short(file disk.File, region string, want int64) error {
	size, err := file.Size()
	if err != nil {
		return err
	}
	return layout.Errorf(layout.ErrDamaged, "%s is too short for %s: it has %d bytes, and needs at least %d", file.Name(), region, size, want)
}

// Field is the error of a field of file that is not as it must be.
func Field(file disk.File, region, field string, off int64, got, want any) error {
	return fmt.Errorf("%s: %w", file.Name(), &layout.FieldError{Region: region, Off: layout.Bytes(off), Field: field, Got: got, Want: want, Err: layout.ErrDamaged})
}
