package fsck

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"zimg/image"
	"zimg/image/disk"
	"zimg/image/journal"
	"zimg/image/live"
	"zimg/layout"
)

// UndoSuffix is added to the name of an image for its undo file.
const UndoSuffix = ".zundo"

// ErrUndo is wrapped by the refusal of an undo file that does not fit.
var ErrUndo = errors.New("cannot undo")

// An undo file holds the bytes that a repair was about to change. docs/FORMAT.md
// has the format; in short, little-endian:
//
//	magic 8 | version 4 | place of the metadata 4 | image UUID 16
//	generation after the repair 8 | metadata offset 8 | locator offset after the repair 8 | reserved 8
//	records: type 4 | file 4 | name length 4 | mode 4 | offset 8 | length 8 | name | bytes
//	end record: type 0, all else 0
//	CRC-32C of everything before 4
//
// A record is a range of a file (its bytes follow), the length of a file, or a
// whole file that the repair removed. It names no paths: an undo file may come from
// a stranger, and must not lead to any file but those of the image that it is beside.
const (
	undoMagic   = "\x89ZIMU\r\n\x1a"
	undoVersion = 1
	undoHead    = 64
	undoRecord  = 32
)

// The kinds of records.
const (
	undoEnd    uint32 = 0
	undoRange  uint32 = 1 // length bytes at offset
	undoLength uint32 = 2 // the length of the file, in offset
	undoFile   uint32 = 3 // a file that was removed: length bytes, and its mode
)

// What file a record is about.
const (
	undoMeta   uint32 = 1 // the one with the metadata area; no name
	undoData   uint32 = 2 // a data file; its bare name if there are several, else no name
	undoBeside uint32 = 3 // the image's path followed by the name, one of undoSuffixes
)

// Where the metadata area was when the repair began.
const (
	undoAtPath  uint32 = 1 // in the file that the image is named by
	undoAtZmeta uint32 = 2 // in the sidecar beside it
	undoAtNamed uint32 = 3 // in a sidecar that the user named
)

// undoSuffixes are what a repair may remove beside an image.
var undoSuffixes = []string{
	image.SidecarSuffix, journal.StartSuffix, journal.TraceSuffix, live.Suffix, image.SidecarSuffix + live.Suffix,
}

// undoWriter writes an undo file, summing as it goes.
type undoWriter struct {
	s    *state
	file disk.File
	off  int64
	sum  uint32
}

func (u *undoWriter) write(b []byte) error {
	_, err := u.file.WriteAt(b, u.off)
	u.off += int64(len(b))
	u.sum = layout.UpdateChecksum(u.sum, b)
	return err
}

// record writes the head of a record about the file at path.
func (u *undoWriter) record(kind uint32, path string, mode fs.FileMode, off, length int64) error {
	file, name, err := u.s.undoName(path)
	if err != nil {
		return err
	}
	b := make([]byte, undoRecord, undoRecord+len(name))
	binary.LittleEndian.PutUint32(b, kind)
	binary.LittleEndian.PutUint32(b[4:], file)
	binary.LittleEndian.PutUint32(b[8:], uint32(len(name)))
	binary.LittleEndian.PutUint32(b[12:], uint32(mode.Perm()))
	binary.LittleEndian.PutUint64(b[16:], uint64(off))
	binary.LittleEndian.PutUint64(b[24:], uint64(length))
	return u.write(append(b, name...))
}

// undoName says how a record refers to the file at path.
func (s *state) undoName(path string) (file uint32, name string, err error) {
	if path == s.files.MetaName() {
		return undoMeta, "", nil
	}
	for _, f := range s.files.Data {
		switch {
		case path != f.Name():
		case len(s.files.Data) == 1:
			return undoData, "", nil
		default:
			return undoData, filepath.Base(path), nil
		}
	}
	suffix, beside := strings.CutPrefix(path, s.path)
	if !beside || !slices.Contains(undoSuffixes, suffix) {
		return 0, "", fmt.Errorf("%s cannot belong to an undo file of %s", path, s.path)
	}
	return undoBeside, suffix, nil
}

// saveData saves the data of file from off on; holes are left out, so that what
// they are replaced with has to be a hole or zeroes (as discards and trims are).
func (u *undoWriter) saveData(file disk.File, off, length int64) error {
	for end := off + length; off < end; {
		data, err := file.SeekData(off)
		if errors.Is(err, io.EOF) || err == nil && data >= end {
			return nil
		}
		if err != nil {
			return err
		}
		hole, err := file.SeekHole(data)
		if err != nil {
			return err
		}
		hole = min(hole, end)
		if err := u.saveRange(file, undoRange, 0, data, hole-data); err != nil {
			return err
		}
		off = hole
	}
	return nil
}

func (u *undoWriter) saveRange(file disk.File, kind uint32, mode fs.FileMode, off, length int64) error {
	if err := u.record(kind, file.Name(), mode, off, length); err != nil {
		return err
	}
	buf := make([]byte, 1<<20)
	for length > 0 {
		b := buf[:min(int64(len(buf)), length)]
		if _, err := file.ReadAt(b, off); err != nil {
			return err
		}
		if err := u.write(b); err != nil {
			return err
		}
		off, length = off+int64(len(b)), length-int64(len(b))
	}
	return nil
}

// saveUndo saves what apply is about to change. The file belongs to who owns the image, since it has the image's data.
func (s *state) saveUndo() (err error) {
	name := s.path + UndoSuffix
	r := &disk.Replacement{FS: s.o.fs(), Policy: func(*disk.Target) error { return nil }}
	if r.Like, err = disk.Like(s.files.Data[0]); err != nil {
		return err
	}
	// A symbolic link is not followed, not even to find out whom the file is to belong to.
	if info, err := r.FS.Lstat(name); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		if err := r.FS.Remove(name); err != nil {
			return err
		}
	}
	defer func() { err = r.Abandon(err) }()
	file, err := r.Create(name)
	if err != nil {
		return err
	}
	u := &undoWriter{s: s, file: file}
	if err := s.writeUndo(u); err != nil {
		return err
	}
	if err := r.Publish(); err != nil {
		return err
	}
	s.report.UndoFile = name
	return nil
}

// undoPlace says where the metadata area is, for the header of an undo file.
func (s *state) undoPlace() uint32 {
	switch {
	case s.files.MetaName() == s.path:
		return undoAtPath
	case s.o.Sidecar != "":
		return undoAtNamed
	}
	return undoAtZmeta
}

// writeUndo writes the records in the order in which they are taken back: the
// metadata last, since what a reader needs to recognise the image is in it.
func (s *state) writeUndo(u *undoWriter) error {
	head := make([]byte, undoHead)
	copy(head, undoMagic)
	binary.LittleEndian.PutUint32(head[8:], undoVersion)
	binary.LittleEndian.PutUint32(head[12:], s.undoPlace())
	uuid := s.im.Header().UUID
	copy(head[16:], uuid[:])
	commits := uint64(2) // see apply
	if s.served {
		commits++
	}
	binary.LittleEndian.PutUint64(head[32:], s.im.Header().Generation+commits)
	binary.LittleEndian.PutUint64(head[40:], uint64(s.loc.MetaOff))
	binary.LittleEndian.PutUint64(head[48:], uint64(s.loc.MetaOff+2*s.loc.SlotLen))
	if err := u.write(head); err != nil {
		return err
	}
	for _, d := range s.discard {
		if err := u.saveData(s.files.Data[d.file], d.off, d.len); err != nil {
			return err
		}
	}
	for _, t := range s.trim {
		file := s.files.Data[t.file]
		old, err := file.Size()
		if err != nil {
			return err
		}
		if t.size < old {
			if err := u.saveData(file, t.size, old-t.size); err != nil {
				return err
			}
		}
		if err := u.record(undoLength, file.Name(), 0, old, 0); err != nil {
			return err
		}
	}
	for _, name := range s.remove {
		if err := u.saveWhole(s.o.fs(), name); err != nil {
			return err
		}
	}
	meta := s.files.Meta
	size, err := meta.Size()
	if err != nil {
		return err
	}
	if off := int64(s.loc.MetaOff); off < size {
		if err := u.saveRange(meta, undoRange, 0, off, size-off); err != nil {
			return err
		}
	}
	if err := u.record(undoLength, meta.Name(), 0, size, 0); err != nil {
		return err
	}
	if err := u.write(make([]byte, undoRecord)); err != nil {
		return err
	}
	sum := make([]byte, 4)
	binary.LittleEndian.PutUint32(sum, u.sum)
	return u.write(sum)
}

// saveWhole saves a file that the repair removes; one that is not there is none.
func (u *undoWriter) saveWhole(fsys disk.FS, name string) (err error) {
	// Through a link the undo file would get what the owner of the image may not read.
	file, err := disk.OpenBeside(fsys, filepath.Dir(name), filepath.Base(name), disk.ReadOnly)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := fsys.Stat(name)
	if err != nil {
		return err
	}
	size, err := file.Size()
	if err != nil {
		return err
	}
	return u.saveRange(file, undoFile, info.Mode(), 0, size)
}
