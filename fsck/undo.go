package fsck

import (
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"path/filepath"

	"zimg/image/disk"
	"zimg/layout"
)

// UndoSuffix is added to the name of an image for its undo file.
const UndoSuffix = ".zundo"

// ErrUndo is wrapped by the refusal of an undo file that does not fit.
var ErrUndo = errors.New("cannot undo")

// An undo file holds the bytes that a repair was about to change, little-endian:
//
//	magic 8 | version 4 | reserved 4 | image UUID 16 | generation after the repair 8
//	records: type 4 | name length 4 | offset 8 | length 8 | name | bytes
//	end record: type 0, all else 0 | CRC-32C of everything before 4
//
// A record is a range of a file (type 1, its bytes follow), a file's length (type 2, in
// offset), or a whole file that the repair removed (type 3). Names are relative to the undo
// file's directory. Undoing is writing them back in order; it can be done twice.
const (
	undoMagic   = "\x89ZIMU\r\n\x1a"
	undoVersion = 1
	undoHead    = 40
	undoRecord  = 24
)

// The kinds of records.
const (
	undoEnd uint32 = iota
	undoRange
	undoLength
	undoFile
)

// undoWriter writes an undo file, summing as it goes.
type undoWriter struct {
	file disk.File
	dir  string
	off  int64
	sum  uint32
}

func (u *undoWriter) write(b []byte) error {
	_, err := u.file.WriteAt(b, u.off)
	u.off += int64(len(b))
	u.sum = layout.UpdateChecksum(u.sum, b)
	return err
}

func (u *undoWriter) record(kind uint32, name string, off, length int64) error {
	if name != "" {
		rel, err := filepath.Rel(u.dir, name)
		if err != nil {
			return err
		}
		name = rel
	}
	b := make([]byte, undoRecord, undoRecord+len(name))
	binary.LittleEndian.PutUint32(b, kind)
	binary.LittleEndian.PutUint32(b[4:], uint32(len(name)))
	binary.LittleEndian.PutUint64(b[8:], uint64(off))
	binary.LittleEndian.PutUint64(b[16:], uint64(length))
	return u.write(append(b, name...))
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
		if err := u.saveRange(file, file.Name(), undoRange, data, hole-data); err != nil {
			return err
		}
		off = hole
	}
	return nil
}

func (u *undoWriter) saveRange(file disk.File, name string, kind uint32, off, length int64) error {
	if err := u.record(kind, name, off, length); err != nil {
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

// saveUndo saves what apply is about to change.
func (s *state) saveUndo() (err error) {
	fsys := s.o.fs()
	name := s.path + UndoSuffix
	temp := name + ".tmp"
	if err := fsys.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := fsys.Open(temp, disk.CreateNew, 0o666)
	if err != nil {
		return err
	}
	u := &undoWriter{file: file, dir: filepath.Dir(name)}
	err = s.writeUndo(u)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return errors.Join(err, fsys.Remove(temp))
	}
	if err := fsys.Rename(temp, name); err != nil {
		return err
	}
	s.report.UndoFile = name
	return fsys.SyncDir(name)
}

func (s *state) writeUndo(u *undoWriter) error {
	head := make([]byte, undoHead)
	copy(head, undoMagic)
	binary.LittleEndian.PutUint32(head[8:], undoVersion)
	uuid := s.im.Header().UUID
	copy(head[16:], uuid[:])
	binary.LittleEndian.PutUint64(head[32:], s.im.Header().Generation+2)
	if err := u.write(head); err != nil {
		return err
	}
	meta := s.files.Meta
	size, err := meta.Size()
	if err != nil {
		return err
	}
	if off := int64(s.loc.MetaOff); off < size {
		if err := u.saveRange(meta, meta.Name(), undoRange, off, size-off); err != nil {
			return err
		}
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
		if err := u.record(undoLength, file.Name(), old, 0); err != nil {
			return err
		}
	}
	if err := u.record(undoLength, meta.Name(), size, 0); err != nil {
		return err
	}
	for _, name := range s.remove {
		if err := u.saveWhole(s.o.fs(), name); err != nil {
			return err
		}
	}
	if err := u.record(undoEnd, "", 0, 0); err != nil {
		return err
	}
	sum := make([]byte, 4)
	binary.LittleEndian.PutUint32(sum, u.sum)
	return u.write(sum)
}

func (u *undoWriter) saveWhole(fsys disk.FS, name string) (err error) {
	file, err := fsys.Open(name, disk.ReadOnly, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	size, err := file.Size()
	if err != nil {
		return err
	}
	return u.saveRange(file, name, undoFile, 0, size)
}
