package fsck

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"zimg/image/disk"
	"zimg/layout"
)

// undoEntry is a record of an undo file.
type undoEntry struct {
	kind uint32
	file uint32 // undoMeta, undoData or undoBeside
	name string // of a data file where there are several, or a suffix
	mode fs.FileMode
	at   int64 // where the bytes belong, or the length of the file
	len  int64
	off  int64 // of the bytes in the undo file
}

// maxUndoRecords bounds the records that are kept in memory: a repair makes a few,
// and one for each extent of data that it discards.
const maxUndoRecords = 1 << 22

// undoReader reads an undo file.
type undoReader struct {
	file    disk.File
	uuid    [16]byte
	gen     uint64 // of the image after the repair
	place   uint32 // undoAtPath, undoAtZmeta or undoAtNamed
	metaOff int64
	locOff  int64 // of the locator after the repair
	records []undoEntry
}

// damagedUndo is the refusal of an undo file that is not as a repair writes it.
func damagedUndo(format string, args ...any) error {
	return layout.Errorf(ErrUndo, "damaged: %s", fmt.Sprintf(format, args...))
}

// load reads the header and all records, and checks everything in them, as well
// as the sum over the bytes.
func (r *undoReader) load() error {
	size, err := r.file.Size()
	if err != nil {
		return err
	}
	head, err := r.head()
	if err != nil {
		return err
	}
	if err := r.verify(size); err != nil {
		return err
	}
	if err := r.parseHead(head); err != nil {
		return err
	}
	return r.loadRecords(size - 4)
}

// head reads the bytes of the header.
func (r *undoReader) head() ([]byte, error) {
	head := make([]byte, undoHead)
	if _, err := r.file.ReadAt(head, 0); err != nil {
		return nil, shortUndo(err)
	}
	if string(head[:8]) != undoMagic {
		return nil, layout.Errorf(ErrUndo, "not an undo file")
	}
	return head, nil
}

// parseHead takes the fields of the header, and checks them.
func (r *undoReader) parseHead(head []byte) error {
	if v := binary.LittleEndian.Uint32(head[8:]); v != undoVersion {
		return layout.Errorf(ErrUndo, "unsupported undo file version %d, want %d", v, undoVersion)
	}
	r.place = binary.LittleEndian.Uint32(head[12:])
	copy(r.uuid[:], head[16:])
	r.gen = binary.LittleEndian.Uint64(head[32:])
	r.metaOff = int64(binary.LittleEndian.Uint64(head[40:]))
	r.locOff = int64(binary.LittleEndian.Uint64(head[48:]))
	switch {
	case r.place < undoAtPath || r.place > undoAtNamed:
		return damagedUndo("invalid metadata place %d", r.place)
	case r.metaOff < 0 || r.locOff < r.metaOff || r.locOff > 1<<62:
		return damagedUndo("metadata from byte %d to a locator at byte %d", r.metaOff, r.locOff)
	case binary.LittleEndian.Uint64(head[56:]) != 0:
		return damagedUndo("reserved bytes of the header are not zero")
	}
	return nil
}

// loadRecords reads the records, which must end at byte end with an end record.
func (r *undoReader) loadRecords(end int64) error {
	b := make([]byte, undoRecord)
	for off := int64(undoHead); ; {
		if off > end-undoRecord {
			return damagedUndo("no end record")
		}
		if _, err := r.file.ReadAt(b, off); err != nil {
			return shortUndo(err)
		}
		off += undoRecord
		rec := undoEntry{
			kind: binary.LittleEndian.Uint32(b), file: binary.LittleEndian.Uint32(b[4:]), mode: fs.FileMode(binary.LittleEndian.Uint32(b[12:])),
			at: int64(binary.LittleEndian.Uint64(b[16:])), len: int64(binary.LittleEndian.Uint64(b[24:])),
		}
		nameLen := int64(binary.LittleEndian.Uint32(b[8:]))
		if rec.kind == undoEnd {
			if off != end || !allZero(b) {
				return damagedUndo("data after the end record")
			}
			return nil
		}
		if nameLen > layout.NameLen || rec.at < 0 || rec.len < 0 || rec.len > end-off-nameLen || rec.at > 1<<62 {
			return damagedUndo("record at byte %d extends past the end", off-undoRecord)
		}
		if len(r.records) == maxUndoRecords {
			return damagedUndo("more than %d records", maxUndoRecords)
		}
		name := make([]byte, nameLen)
		if _, err := r.file.ReadAt(name, off); err != nil {
			return shortUndo(err)
		}
		rec.name, rec.off = string(name), off+nameLen
		if err := rec.check(); err != nil {
			return err
		}
		r.records = append(r.records, rec)
		off = rec.off + rec.len
	}
}

// check judges a record by itself.
func (rec *undoEntry) check() error {
	switch rec.kind {
	case undoRange, undoFile:
	case undoLength:
		if rec.len != 0 {
			return damagedUndo("length record of %d bytes", rec.len)
		}
	default:
		return damagedUndo("unknown record type %d", rec.kind)
	}
	if rec.kind == undoFile != (rec.file == undoBeside) || rec.kind == undoFile && rec.at != 0 || rec.mode&^fs.ModePerm != 0 {
		return damagedUndo("invalid record of type %d for file %d", rec.kind, rec.file)
	}
	switch rec.file {
	case undoMeta:
		if rec.name != "" {
			return damagedUndo("name record for the metadata file")
		}
	case undoData:
		if rec.name == "" {
			return nil
		}
		if err := layout.CheckFileName(rec.name); err != nil {
			return damagedUndo("%v", err)
		}
	case undoBeside:
		if !slices.Contains(undoSuffixes, rec.name) {
			return damagedUndo("invalid suffix %q", rec.name)
		}
	default:
		return damagedUndo("record for file %d, which does not exist", rec.file)
	}
	return nil
}

// shortUndo is what a failed read of an undo file means.
func shortUndo(err error) error {
	if errors.Is(err, io.EOF) {
		return damagedUndo("too short")
	}
	return err
}

// verify checks the sum at the end.
func (r *undoReader) verify(size int64) error {
	if size < undoHead+undoRecord+4 {
		return damagedUndo("too short")
	}
	sum := uint32(0)
	buf := make([]byte, 1<<20)
	for off := int64(0); off < size-4; {
		b := buf[:min(int64(len(buf)), size-4-off)]
		if _, err := r.file.ReadAt(b, off); err != nil {
			return shortUndo(err)
		}
		sum = layout.UpdateChecksum(sum, b)
		off += int64(len(b))
	}
	b := make([]byte, 4)
	if _, err := r.file.ReadAt(b, size-4); err != nil {
		return shortUndo(err)
	}
	if binary.LittleEndian.Uint32(b) != sum {
		return damagedUndo("wrong checksum")
	}
	return nil
}

// part is rec without what belongs before byte from and from byte to on.
func (rec undoEntry) part(from, to int64) undoEntry {
	skip := min(max(0, from-rec.at), rec.len)
	rec.at, rec.off, rec.len = rec.at+skip, rec.off+skip, rec.len-skip
	rec.len = max(0, min(rec.len, to-rec.at))
	return rec
}

// copy writes the bytes of rec to file.
func (r *undoReader) copy(file disk.File, rec undoEntry) error {
	return r.each(rec, func(b []byte, at int64) error {
		_, err := file.WriteAt(b, at)
		return err
	})
}

// holds reports whether file has the bytes of rec already.
func (r *undoReader) holds(file disk.File, rec undoEntry) (bool, error) {
	same := true
	var have []byte
	err := r.each(rec, func(b []byte, at int64) error {
		if !same {
			return nil
		}
		have = append(have[:0], b...)
		n, err := file.ReadAt(have, at)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		same = string(have[:n]) == string(b)
		return nil
	})
	return same, err
}

// each calls fn with the bytes of rec, a part at a time, and where they belong.
func (r *undoReader) each(rec undoEntry, fn func(b []byte, at int64) error) error {
	buf := make([]byte, min(rec.len, 1<<20))
	for done := int64(0); done < rec.len; {
		b := buf[:min(int64(len(buf)), rec.len-done)]
		if _, err := r.file.ReadAt(b, rec.off+done); err != nil {
			return shortUndo(err)
		}
		if err := fn(b, rec.at+done); err != nil {
			return err
		}
		done += int64(len(b))
	}
	return nil
}

func allZero(b []byte) bool {
	return !slices.ContainsFunc(b, func(c byte) bool { return c != 0 })
}
