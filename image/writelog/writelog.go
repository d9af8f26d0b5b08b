// Package writelog reads and writes logs of every write, discard and flush of a block device in order, with the
// data: those of QEMU's blklogwrites filter, and of zimg's own drive. The format is that of the kernel's dm-log-writes
// target (Documentation/admin-guide/device-mapper/log-writes.rst).
//
//	0                  sector size       ...
//	+------------------+-----------------+--------------+-----------------+----
//	| super            | entry           | its data     | entry           | ...
//	+------------------+-----------------+--------------+-----------------+----
//
// Super and entries take a sector each, data whole sectors. All integers are little-endian. An entry: first
// sector, number of sectors, flags, and the length of what follows if it is a mark.
package writelog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The super block: magic, version, number of entries (8 bytes each), sector
// size (4 bytes).
const (
	magic    = 0x6a736677736872
	version  = 1
	superLen = 28
	entryLen = 32

	// defaultSector is QEMU's, and the kernel's, unless another is set.
	defaultSector = 512
)

// ErrNotLog says that a file is no write log.
var ErrNotLog = errors.New("not a write log")

// Flags of an entry.
type Flags uint64

// What an entry can be besides a write of data.
const (
	Flush   Flags = 1 << 0
	FUA     Flags = 1 << 1
	Discard Flags = 1 << 2
	Mark    Flags = 1 << 3
)

// Entry is one request, in the order in which the device saw them complete.
type Entry struct {
	Flags   Flags
	Off     int64 // on the device, in bytes
	Length  int64 // in bytes
	DataOff int64 // of the data in the log; meaningless without
	MarkLen int64 // of the text of a mark, which is at DataOff, in bytes
}

// HasData reports whether e's data is in the log.
func (e Entry) HasData() bool { return e.Flags&(Discard|Mark) == 0 && e.Length > 0 }

// Log is a log that was read.
type Log struct {
	Entries []Entry
	// Missing is how many entries the super block counts beyond those that are there.
	Missing uint64
	sector  int64
}

// Pos is where in the log entry i begins.
func (l *Log) Pos(i int) int64 { return l.Entries[i].DataOff - l.sector }

// Read lists the entries of the log in r, which has size bytes. A log that ends
// within an entry, as that of a killed QEMU does, ends before it. The super block's count is no
// measure: QEMU brings it up to date at flushes, and counts entries that it has yet to write.
// Before the first flush there is none at all, and with no write there is nothing.
func Read(r io.ReaderAt, size int64) (*Log, error) {
	super := make([]byte, superLen)
	if size == 0 {
		return &Log{sector: defaultSector}, nil
	}
	if size < superLen {
		return nil, fmt.Errorf("%d bytes: %w", size, ErrNotLog)
	}
	if _, err := r.ReadAt(super, 0); err != nil {
		return nil, err
	}
	if [superLen]byte(super) == [superLen]byte{} {
		l := &Log{sector: defaultSector}
		return l, l.read(r, size, 0)
	}
	if m := binary.LittleEndian.Uint64(super); m != magic {
		return nil, fmt.Errorf("magic %#x: %w", m, ErrNotLog)
	}
	if v := binary.LittleEndian.Uint64(super[8:]); v != version {
		return nil, fmt.Errorf("unsupported version %d, want %d: %w", v, version, ErrNotLog)
	}
	count := binary.LittleEndian.Uint64(super[16:])
	sector := int64(binary.LittleEndian.Uint32(super[24:]))
	if sector < 512 || sector > 1<<23 || sector&(sector-1) != 0 {
		return nil, fmt.Errorf("sector size %d: %w", sector, ErrNotLog)
	}
	l := &Log{sector: sector}
	if err := l.read(r, size, count); err != nil {
		return nil, err
	}
	if n := uint64(len(l.Entries)); n < count {
		l.Missing = count - n
	}
	return l, nil
}

// read walks the entries. What is not there yet reads as zeroes, which no entry
// is; beyond count, which may be late, anything that makes no sense is the end.
func (l *Log) read(r io.ReaderAt, size int64, count uint64) error {
	b := make([]byte, entryLen)
	for off := l.sector; off <= size-l.sector; {
		if _, err := r.ReadAt(b, off); err != nil {
			return err
		}
		e, length, ok := l.decode(b, off)
		if !ok {
			if n := uint64(len(l.Entries)); n < count && [entryLen]byte(b) != [entryLen]byte{} {
				return fmt.Errorf("entry %d at byte %d is invalid: %w", n, off, ErrNotLog)
			}
			return nil
		}
		if length > size-off {
			return nil
		}
		off += length
		l.Entries = append(l.Entries, e)
	}
	return nil
}

// decode takes apart the entry at off; length is that of the entry with all that belongs to it.
func (l *Log) decode(b []byte, off int64) (e Entry, length int64, ok bool) {
	first := binary.LittleEndian.Uint64(b)
	sectors := binary.LittleEndian.Uint64(b[8:])
	e.Flags = Flags(binary.LittleEndian.Uint64(b[16:]))
	extra := binary.LittleEndian.Uint64(b[24:]) // of a mark, in bytes
	most := uint64(1<<61) / uint64(l.sector)
	if e.Flags&^(Flush|FUA|Discard|Mark) != 0 || first > most || sectors > most || extra > 1<<61 ||
		sectors == 0 && e.Flags == 0 || extra != 0 && e.Flags&Mark == 0 {
		return e, 0, false
	}
	e.Off, e.Length, e.DataOff = int64(first)*l.sector, int64(sectors)*l.sector, off+l.sector
	length = l.sector
	switch {
	case e.Flags&Mark != 0:
		e.MarkLen = int64(extra)
		length += (int64(extra) + l.sector - 1) &^ (l.sector - 1)
	case e.HasData():
		length += e.Length
	}
	return e, length, true
}
