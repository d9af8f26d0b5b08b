package qcow2

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"

	"zimg/image/disk"
	"zimg/image/foreign"
)

// Bits of an L2 entry, and of an L1 entry where they have the same meaning.
const (
	l2Zero       = 1
	l2Compressed = 1 << 62
	copied       = 1 << 63
	offsetMask   = 0x00FFFFFFFFFFFE00
)

// clusters finds guest data in a container. One L2 table at a time is in memory.
type clusters struct {
	h    *header
	file disk.File
	size int64 // of the file

	table   []byte
	tableAt int64
}

// entry is the L2 entry of guest cluster c, and how many clusters from c on are known to be like
// it: 1, or as many as a table that is not there has.
func (m *clusters) entry(c int64) (e uint64, like int64, err error) {
	perTable := m.h.clusterSize() / 8
	if c/perTable >= int64(m.h.l1Size) {
		return 0, math.MaxInt64>>m.h.clusterBits - c, nil
	}
	var b [8]byte
	if err := foreign.ReadFull(m.file, b[:], m.h.l1+c/perTable*8); err != nil {
		return 0, 0, err
	}
	at := int64(be.Uint64(b[:]) & offsetMask)
	if at == 0 {
		return 0, perTable - c%perTable, nil
	}
	if at%m.h.clusterSize() != 0 || at > m.size-m.h.clusterSize() {
		return 0, 0, foreign.Field(m.file, "qcow2 L1 table", fmt.Sprintf("entry %d", c/perTable), m.h.l1+c/perTable*8, at, "a cluster of the file")
	}
	if m.tableAt != at {
		if m.table == nil {
			m.table = make([]byte, m.h.clusterSize())
		}
		m.tableAt = 0
		if err := foreign.ReadFull(m.file, m.table, at); err != nil {
			return 0, 0, err
		}
		m.tableAt = at
	}
	e = be.Uint64(m.table[c%perTable*8:])
	if e&l2Compressed == 0 && e&l2Zero == 0 {
		if off := int64(e & offsetMask); off%m.h.clusterSize() != 0 || off >= m.size {
			return 0, 0, foreign.Field(m.file, "qcow2 L2 table", fmt.Sprintf("entry of guest cluster %d", c), at+c%perTable*8, off, "a cluster of the file")
		}
	}
	return e, 1, nil
}

// extents yields runs of clusters that lie in a row in the file.
func (m *clusters) extents(from, to int64) iter.Seq2[foreign.Extent, error] {
	return func(yield func(foreign.Extent, error) bool) {
		var run foreign.Extent
		flush := func() bool {
			ok := run.Len == 0 || yield(run, nil)
			run = foreign.Extent{}
			return ok
		}
		cs := m.h.clusterSize()
		for at := from; at < to; {
			e, like, err := m.entry(at / cs)
			if err != nil {
				yield(foreign.Extent{}, err)
				return
			}
			end := min(to, (at/cs+like)*cs)
			next := foreign.Extent{Off: at, Len: end - at, File: m.file, FileOff: int64(e&offsetMask) + at%cs}
			switch {
			case e&l2Compressed != 0:
				plain, err := m.inflate(e)
				if err != nil {
					yield(foreign.Extent{}, err)
					return
				}
				next.File, next.FileOff = plain, at%cs
			case e&l2Zero != 0 || e&offsetMask == 0:
				next.Len = 0
			default: // the file may end in the middle of its last cluster
				next.Len = max(0, min(next.Len, m.size-next.FileOff))
			}
			if next.Len > 0 && next.File == m.file && run.File == m.file && run.Off+run.Len == next.Off && run.FileOff+run.Len == next.FileOff {
				run.Len += next.Len
			} else {
				if !flush() {
					return
				}
				run = next
			}
			at = end
		}
		flush()
	}
}

// inflate unpacks a compressed cluster: raw deflate, at an offset of bytes.
func (m *clusters) inflate(e uint64) (disk.File, error) {
	if m.h.incompat&bitZstd != 0 {
		return nil, fmt.Errorf("%s: clusters compressed by zstd (qemu-img convert makes a copy without): %w", m.file.Name(), foreign.ErrUnsupported)
	}
	x := 62 - (m.h.clusterBits - 8)
	off := int64(e & (1<<x - 1))
	length := int64(e&(1<<62-1)>>x+1)*512 - off%512
	if off >= m.size {
		return nil, foreign.Field(m.file, "qcow2 L2 table", "offset of a compressed cluster", 0, off, fmt.Sprintf("below %d", m.size))
	}
	packed := make([]byte, min(length, m.size-off))
	if err := foreign.ReadFull(m.file, packed, off); err != nil {
		return nil, err
	}
	plain := make([]byte, m.h.clusterSize())
	if _, err := io.ReadFull(flate.NewReader(bytes.NewReader(packed)), plain); err != nil {
		return nil, fmt.Errorf("%s: compressed cluster at byte %d: %w", m.file.Name(), off, err)
	}
	return &memory{File: m.file, b: plain}, nil
}

// memory is a file that is in memory, for reading; all else is that of the file it came from.
type memory struct {
	disk.File
	b []byte
}

func (m *memory) Size() (int64, error) { return int64(len(m.b)), nil }

func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(m.b)) {
		return 0, io.EOF
	}
	n := copy(p, m.b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (m *memory) SeekData(off int64) (int64, error) {
	if off >= int64(len(m.b)) {
		return 0, io.EOF
	}
	return off, nil
}

func (m *memory) SeekHole(off int64) (int64, error) {
	if off >= int64(len(m.b)) {
		return 0, errors.New("beyond the end")
	}
	return int64(len(m.b)), nil
}
