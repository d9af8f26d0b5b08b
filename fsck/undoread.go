package fsck

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"zimg/image"
	"zimg/image/disk"
	"zimg/layout"
)

// undoFileRecord is a record of an undo file that was read.
type undoFileRecord struct {
	kind uint32
	name string // path of the file it is about
	at   int64  // where the bytes belong, or the file's length
	len  int64
	off  int64 // of the bytes in the undo file
}

// undoReader is an undo file that was found sound.
type undoReader struct {
	fs      disk.FS
	file    disk.File
	uuid    [16]byte
	gen     uint64 // of the image after the repair
	records []undoFileRecord
	open    map[string]disk.File
}

// Undo takes back the last repair of the image at path, byte for byte, and
// removes the undo file. Unless forced it refuses if the image was changed since. An undo
// that was interrupted is simply done again.
func Undo(path string, o Options, force bool) (err error) {
	fsys := o.fs()
	name := path + UndoSuffix
	file, err := fsys.Open(name, disk.ReadOnly, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: no repair to take back, there is no %s: %w", path, name, ErrUndo)
	}
	if err != nil {
		return err
	}
	r := &undoReader{fs: fsys, file: file, open: map[string]disk.File{}}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.load(filepath.Dir(name)); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := r.openAll(); err != nil {
		return err
	}
	if !force {
		if err := r.fits(path); err != nil {
			return err
		}
	}
	if err := r.restore(); err != nil {
		return err
	}
	return removeAll(fsys, []string{name})
}

func (r *undoReader) close() error {
	errs := []error{r.file.Close()}
	for _, f := range r.open {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// load reads and checks everything but the bytes themselves, whose sum it checks.
func (r *undoReader) load(dir string) error {
	size, err := r.file.Size()
	if err != nil {
		return err
	}
	if err := r.verify(size); err != nil {
		return err
	}
	bad := func(what string) error { return fmt.Errorf("damaged: %s: %w", what, ErrUndo) }
	head := make([]byte, undoHead)
	if _, err := r.file.ReadAt(head, 0); err != nil {
		return bad("no header")
	}
	if string(head[:8]) != undoMagic || binary.LittleEndian.Uint32(head[8:]) != undoVersion {
		return bad("not an undo file that this zimg knows")
	}
	copy(r.uuid[:], head[16:])
	r.gen = binary.LittleEndian.Uint64(head[32:])
	b := make([]byte, undoRecord)
	for off := int64(undoHead); ; {
		if _, err := r.file.ReadAt(b, off); err != nil {
			return bad("no end")
		}
		rec := undoFileRecord{kind: binary.LittleEndian.Uint32(b), at: int64(binary.LittleEndian.Uint64(b[8:])), len: int64(binary.LittleEndian.Uint64(b[16:]))}
		if rec.kind == undoEnd {
			return nil
		}
		nameLen := int64(binary.LittleEndian.Uint32(b[4:]))
		off += undoRecord
		if nameLen > 4096 || rec.at < 0 || rec.len < 0 || rec.len > size-off-nameLen {
			return bad("a record goes on beyond the end")
		}
		name := make([]byte, nameLen)
		if _, err := r.file.ReadAt(name, off); err != nil {
			return bad("a record goes on beyond the end")
		}
		rec.name, rec.off = filepath.Join(dir, string(name)), off+nameLen
		r.records = append(r.records, rec)
		off = rec.off + rec.len
	}
}

// verify checks the sum at the end.
func (r *undoReader) verify(size int64) error {
	sum := uint32(0)
	buf := make([]byte, 1<<20)
	for off := int64(0); off < size-4; {
		b := buf[:min(int64(len(buf)), size-4-off)]
		if _, err := r.file.ReadAt(b, off); err != nil {
			return err
		}
		sum = layout.UpdateChecksum(sum, b)
		off += int64(len(b))
	}
	b := make([]byte, 4)
	if _, err := r.file.ReadAt(b, max(0, size-4)); err != nil || binary.LittleEndian.Uint32(b) != sum {
		return fmt.Errorf("damaged: its checksum is wrong: %w", ErrUndo)
	}
	return nil
}

// openAll opens and locks the files to be written to.
func (r *undoReader) openAll() error {
	for _, rec := range r.records {
		if rec.kind == undoFile || r.open[rec.name] != nil {
			continue
		}
		f, err := r.fs.Open(rec.name, disk.ReadWrite, 0)
		if err != nil {
			return err
		}
		r.open[rec.name] = f
		if err := f.Lock(disk.LockWrite); err != nil {
			return err
		}
	}
	return nil
}

// fits refuses if the image has been committed to since the repair. Headers
// that are not sound do not count: an undo was interrupted.
func (r *undoReader) fits(path string) error {
	if len(r.records) == 0 || r.records[0].kind != undoRange {
		return nil
	}
	meta, off := r.open[r.records[0].name], r.records[0].at
	for range 2 {
		h, err := image.ReadHeader(meta, off)
		if err != nil {
			continue
		}
		if h.UUID != r.uuid || h.Generation > r.gen {
			return &image.HintError{
				Err:  fmt.Errorf("%s: has been changed since the repair: %w", path, ErrUndo),
				Hint: "--force takes the repair back, and with it all changes since",
			}
		}
		off += int64(h.SlotLen)
	}
	return nil
}

// restore writes everything back.
func (r *undoReader) restore() error {
	for _, rec := range r.records {
		var err error
		switch rec.kind {
		case undoRange:
			err = r.copy(r.open[rec.name], rec)
		case undoLength:
			err = r.open[rec.name].Truncate(rec.at)
		case undoFile:
			err = r.restoreFile(rec)
		}
		if err != nil {
			return err
		}
	}
	for _, f := range r.open {
		if err := f.Sync(); err != nil {
			return err
		}
	}
	return nil
}

func (r *undoReader) copy(to disk.File, rec undoFileRecord) error {
	buf := make([]byte, 1<<20)
	for done := int64(0); done < rec.len; {
		b := buf[:min(int64(len(buf)), rec.len-done)]
		if _, err := r.file.ReadAt(b, rec.off+done); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if _, err := to.WriteAt(b, rec.at+done); err != nil {
			return err
		}
		done += int64(len(b))
	}
	return nil
}

// restoreFile makes a file that the repair removed.
func (r *undoReader) restoreFile(rec undoFileRecord) (err error) {
	if err := r.fs.Remove(rec.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := r.fs.Open(rec.name, disk.CreateNew, 0o666)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := r.copy(f, rec); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return r.fs.SyncDir(rec.name)
}
