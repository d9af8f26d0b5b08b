package qcow2

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

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

// clusters finds guest data in a container. One L2 table at a time is in memory, and a piece of the
// L1 table.
type clusters struct {
	h    *header
	file disk.File
	size int64 // of the file

	l1      []byte
	l1First int64 // entry that l1 begins with
	table   []byte
	tableAt int64

	counted int64 // guest clusters below this one are in the two counts
	plain   int64 // clusters of the file that hold data of guest clusters
	packed  int64 // compressed guest clusters
}

// checkL1 refuses an L1 table with two entries for one L2 table. QEMU writes none: only snapshots share L2 tables, with
// an L1 table of their own. So the work of reading a file is bounded by its length.
func (m *clusters) checkL1() error {
	var tables []int64
	for k := range int64(m.h.l1Size) {
		e, err := m.l1Entry(k)
		if err != nil {
			return err
		}
		if at := int64(e & offsetMask); at != 0 {
			tables = append(tables, at)
		}
	}
	slices.Sort(tables)
	for i := 1; i < len(tables); i++ {
		if tables[i] == tables[i-1] {
			return foreign.Field(m.file, "qcow2 L1 table", "L2 table offset", m.h.l1, tables[i], "one entry for each L2 table")
		}
	}
	return nil
}

// maxInflation is the most that deflate makes of one byte.
const maxInflation = 1032

// count keeps count of the data that the entries lead to, and refuses more than the file has room for: a cluster of
// the file belongs to one guest cluster.
func (m *clusters) count(c int64, e uint64, at int64) error {
	if c < m.counted {
		return nil
	}
	m.counted = c + 1
	cs := m.h.clusterSize()
	switch {
	case e&l2Compressed != 0:
		m.packed++
	case e&l2Zero == 0 && e&offsetMask != 0:
		m.plain++
	default:
		return nil
	}
	if m.plain > m.size/cs+1 || m.packed > m.size*maxInflation/cs+1 {
		return foreign.Field(m.file, "qcow2 L2 table", fmt.Sprintf("entry of guest cluster %d", c), at,
			fmt.Sprintf("%d clusters of data and %d compressed ones", m.plain, m.packed), fmt.Sprintf("no more than %d bytes hold", m.size))
	}
	return nil
}

// inHole reports whether the table at byte at of the file is in a hole of it.
func (m *clusters) inHole(at int64) (bool, error) {
	data, err := m.file.SeekData(at)
	if errors.Is(err, io.EOF) {
		return true, nil
	}
	return err == nil && data >= at+m.h.clusterSize(), err
}

// l1Entry is the L1 entry k.
func (m *clusters) l1Entry(k int64) (uint64, error) {
	const piece = 512
	if at := k - m.l1First; at >= 0 && at < int64(len(m.l1)/8) {
		return be.Uint64(m.l1[8*at:]), nil
	}
	first := k / piece * piece
	b := make([]byte, 8*min(piece, int64(m.h.l1Size)-first))
	if err := foreign.ReadFull(m.file, b, m.h.l1+8*first); err != nil {
		return 0, err
	}
	m.l1, m.l1First = b, first
	return be.Uint64(b[8*(k-first):]), nil
}

// entry is the L2 entry of guest cluster c, and how many clusters from c on are known to be like
// it: 1, or as many as a table that is not there has.
func (m *clusters) entry(c int64) (e uint64, like int64, err error) {
	perTable := m.h.perTable()
	k := c / perTable
	l1, err := m.l1Entry(k)
	if err != nil {
		return 0, 0, err
	}
	at := int64(l1 & offsetMask)
	if at == 0 {
		return 0, perTable - c%perTable, nil
	}
	if at%m.h.clusterSize() != 0 || at > m.size-m.h.clusterSize() {
		return 0, 0, foreign.Field(m.file, "qcow2 L1 table", fmt.Sprintf("entry %d", k), m.h.l1+8*k, at, "a cluster of the file")
	}
	if m.tableAt != at {
		hole, err := m.inHole(at)
		if err != nil {
			return 0, 0, err
		}
		if hole {
			return 0, perTable - c%perTable, nil
		}
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
	return e, 1, m.count(c, e, at+c%perTable*8)
}

// extents yields runs of clusters that follow each other in the file.
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
				next.File, next.FileOff = &packed{File: m.file, h: m.h, size: m.size, entry: e}, at%cs
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

// packed is a compressed cluster as a file for reading, unpacked when it is read; all else is that of
// the file it came from.
type packed struct {
	disk.File
	h     *header
	size  int64
	entry uint64
	plain []byte
}

// inflate unpacks the cluster: raw deflate, at an offset of bytes.
func (p *packed) inflate() error {
	if p.h.incompat&bitZstd != 0 {
		return fmt.Errorf("%s has clusters compressed by zstd, which is %w", p.Name(), foreign.ErrUnsupported)
	}
	x := 62 - (p.h.clusterBits - 8)
	off := int64(p.entry & (1<<x - 1))
	length := int64(p.entry&(1<<62-1)>>x+1)*sector - off%sector
	field := func(name string, got, want any) error {
		return foreign.Field(p.File, "qcow2 compressed cluster", name, off, got, want)
	}
	if off >= p.size {
		return field("offset", off, fmt.Sprintf("below %d", p.size))
	}
	b := make([]byte, min(length, p.size-off))
	if err := foreign.ReadFull(p.File, b, off); err != nil {
		return err
	}
	plain := make([]byte, p.h.clusterSize())
	if n, err := io.ReadFull(flate.NewReader(bytes.NewReader(b)), plain); err != nil {
		return field("unpacked length", fmt.Sprintf("%d (%v)", n, err), len(plain))
	}
	p.plain = plain
	return nil
}

func (p *packed) Size() (int64, error) { return p.h.clusterSize(), nil }

func (p *packed) ReadAt(b []byte, off int64) (int, error) {
	if p.plain == nil {
		if err := p.inflate(); err != nil {
			return 0, err
		}
	}
	if off >= int64(len(p.plain)) {
		return 0, io.EOF
	}
	n := copy(b, p.plain[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (p *packed) SeekData(off int64) (int64, error) {
	if off >= p.h.clusterSize() {
		return 0, io.EOF
	}
	return off, nil
}

func (p *packed) SeekHole(off int64) (int64, error) {
	if off >= p.h.clusterSize() {
		return 0, io.EOF
	}
	return p.h.clusterSize(), nil
}
