// Package writelog reads the logs that QEMU's blklogwrites filter keeps: every
// write, discard and flush of a block device in order, with the data. The format is that of the
// kernel's dm-log-writes target (Documentation/admin-guide/device-mapper/log-writes.rst).
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
}

// HasData reports whether e's data is in the log.
func (e Entry) HasData() bool { return e.Flags&(Discard|Mark) == 0 && e.Length > 0 }

// Read lists the entries of the log in r, which has size bytes. A log that ends
// within an entry, as that of a killed QEMU does, ends before it: the super block's count is
// only brought up to date now and then.
func Read(r io.ReaderAt, size int64) ([]Entry, error) {
	super := make([]byte, superLen)
	if size < superLen {
		return nil, fmt.Errorf("%d bytes: %w", size, ErrNotLog)
	}
	if _, err := r.ReadAt(super, 0); err != nil {
		return nil, err
	}
	if m := binary.LittleEndian.Uint64(super); m != magic {
		return nil, fmt.Errorf("magic %#x: %w", m, ErrNotLog)
	}
	if v := binary.LittleEndian.Uint64(super[8:]); v != version {
		return nil, fmt.Errorf("version %d, this program reads %d: %w", v, version, ErrNotLog)
	}
	count := binary.LittleEndian.Uint64(super[16:])
	sector := int64(binary.LittleEndian.Uint32(super[24:]))
	if sector < 512 || sector > 1<<23 || sector&(sector-1) != 0 {
		return nil, fmt.Errorf("sector size %d: %w", sector, ErrNotLog)
	}
	return readEntries(r, size, sector, count)
}

// readEntries walks the entries. Beyond count, which may be behind, an entry is
// believed as long as it makes sense.
func readEntries(r io.ReaderAt, size, sector int64, count uint64) ([]Entry, error) {
	var entries []Entry
	b := make([]byte, entryLen)
	for off := sector; off <= size-sector; {
		if _, err := r.ReadAt(b, off); err != nil {
			return entries, err
		}
		n := uint64(len(entries))
		first := binary.LittleEndian.Uint64(b)
		sectors := binary.LittleEndian.Uint64(b[8:])
		flags := Flags(binary.LittleEndian.Uint64(b[16:]))
		length := binary.LittleEndian.Uint64(b[24:])
		const most = 1 << 53
		sane := flags&^(Flush|FUA|Discard|Mark) == 0 && first < most && sectors < most && length < most &&
			(sectors > 0 || flags != 0) && (length == 0 || flags&Mark != 0)
		if !sane {
			if n < count {
				return entries, fmt.Errorf("entry %d at byte %d makes no sense: %w", n, off, ErrNotLog)
			}
			return entries, nil
		}
		e := Entry{Flags: flags, Off: int64(first) * sector, Length: int64(sectors) * sector, DataOff: off + sector}
		off += sector
		switch {
		case flags&Mark != 0: // its length is in bytes
			off += (int64(length) + sector - 1) &^ (sector - 1)
		case e.HasData():
			off += e.Length
		}
		if off > size {
			return entries, nil
		}
		entries = append(entries, e)
	}
	return entries, nil
}
