package writelog

import (
	"encoding/binary"
	"fmt"
	"io"
)

// A Writer writes a log from its beginning. What it has written survives the death of the process; nothing is synced.
// One goroutine at a time may use it.
type Writer struct {
	w     io.WriterAt
	off   int64 // of the next entry
	count uint64
	buf   []byte
}

// NewWriter begins a log in w, which is empty, with sectors of 512 bytes.
func NewWriter(w io.WriterAt) (*Writer, error) {
	l := &Writer{w: w, off: defaultSector}
	return l, l.Sync()
}

// Sync brings the number of entries in the super block up to date. Readers that go by it see what was written before.
func (l *Writer) Sync() error {
	super := make([]byte, defaultSector)
	binary.LittleEndian.PutUint64(super, magic)
	binary.LittleEndian.PutUint64(super[8:], version)
	binary.LittleEndian.PutUint64(super[16:], l.count)
	binary.LittleEndian.PutUint32(super[24:], defaultSector)
	_, err := l.w.WriteAt(super, 0)
	return err
}

// Write adds the write of p at byte off of the device, both in whole sectors. It returns where in the log the entry is,
// for SetFlags.
func (l *Writer) Write(off int64, p []byte) (pos int64, err error) {
	return l.add(Entry{Off: off, Length: int64(len(p))}, p)
}

// Discard adds a discard of length bytes at off.
func (l *Writer) Discard(off, length int64) (pos int64, err error) {
	return l.add(Entry{Flags: Discard, Off: off, Length: length}, nil)
}

// Flush adds a flush.
func (l *Writer) Flush() (pos int64, err error) { return l.add(Entry{Flags: Flush}, nil) }

// Mark adds a mark, which is not a request to the device: text for whoever reads the log.
func (l *Writer) Mark(text []byte) (pos int64, err error) { return l.add(Entry{Flags: Mark}, text) }

// SetFlags replaces the flags of the entry at pos. What is data and what is not cannot change.
func (l *Writer) SetFlags(pos int64, flags Flags) error {
	_, err := l.w.WriteAt(binary.LittleEndian.AppendUint64(nil, uint64(flags)), pos+flagsOff)
	return err
}

// flagsOff is where the flags of an entry are in it.
const flagsOff = 16

// add writes an entry. The sector of the entry itself comes last: an entry that is in the log is there with its data.
func (l *Writer) add(e Entry, data []byte) (pos int64, err error) {
	if e.Off%defaultSector != 0 || e.Length%defaultSector != 0 {
		return 0, fmt.Errorf("%d bytes at %d are not whole sectors of %d bytes", e.Length, e.Off, defaultSector)
	}
	size := defaultSector + (len(data)+defaultSector-1)/defaultSector*defaultSector
	if cap(l.buf) < size {
		l.buf = make([]byte, size)
	}
	b := l.buf[:size]
	clear(b[:defaultSector])
	binary.LittleEndian.PutUint64(b, uint64(e.Off/defaultSector))
	binary.LittleEndian.PutUint64(b[8:], uint64(e.Length/defaultSector))
	binary.LittleEndian.PutUint64(b[flagsOff:], uint64(e.Flags))
	if e.Flags&Mark != 0 {
		binary.LittleEndian.PutUint64(b[24:], uint64(len(data)))
	}
	clear(b[defaultSector+copy(b[defaultSector:], data):])
	if _, err := l.w.WriteAt(b[defaultSector:], l.off+defaultSector); err != nil {
		return 0, err
	}
	if _, err := l.w.WriteAt(b[:defaultSector], l.off); err != nil {
		return 0, err
	}
	pos = l.off
	l.off += int64(size)
	l.count++
	return pos, nil
}
