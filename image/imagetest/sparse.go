package imagetest

import (
	"io"
	"maps"
	"slices"
)

const (
	// PageSize is the grain of a MemFS file's holes, and of its counters of blocks.
	PageSize = 4096
	// SectorSize is what a MemFS disk writes as one: a torn write ends at such a boundary.
	SectorSize = 512
)

type page [PageSize]byte

// sparse is the content of a file. A page in the map is never changed, only
// replaced, so that copies can share pages.
type sparse struct {
	size  int64
	pages map[int64]*page
	order []int64 // the sorted keys of pages; nil when they have changed
}

func newSparse() *sparse { return &sparse{pages: map[int64]*page{}} }

func (s *sparse) clone() *sparse {
	return &sparse{size: s.size, pages: maps.Clone(s.pages)}
}

func (s *sparse) readAt(b []byte, off int64) (int, error) {
	if off >= s.size {
		if len(b) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	var err error
	if int64(len(b)) > s.size-off {
		b, err = b[:s.size-off], io.EOF
	}
	for n := 0; n < len(b); {
		at := off + int64(n)
		chunk := b[n:min(len(b), n+int(PageSize-at%PageSize))]
		if p := s.pages[at/PageSize]; p != nil {
			copy(chunk, p[at%PageSize:])
		} else {
			clear(chunk)
		}
		n += len(chunk)
	}
	return len(b), err
}

// write puts b at off and grows the file if need be.
func (s *sparse) write(b []byte, off int64) {
	s.size = max(s.size, off+int64(len(b)))
	for len(b) > 0 {
		n := min(len(b), int(PageSize-off%PageSize))
		fresh := new(page)
		if old := s.pages[off/PageSize]; old != nil {
			*fresh = *old
		} else {
			s.order = nil
		}
		copy(fresh[off%PageSize:], b[:n])
		s.pages[off/PageSize] = fresh
		b, off = b[n:], off+int64(n)
	}
}

// punch makes [off, end) zeroes: holes for whole pages.
func (s *sparse) punch(off, end int64) {
	end = min(end, s.size)
	if off >= end {
		return
	}
	first, last := (off+PageSize-1)/PageSize, end/PageSize
	if end == s.size { // nothing follows it in the last page
		last = (end + PageSize - 1) / PageSize
	}
	if first > last { // within one page
		s.zero(off, end)
		return
	}
	s.zero(off, min(first*PageSize, end))
	s.zero(last*PageSize, end)
	s.drop(first, last)
}

// zero writes zeroes over what is there of [off, end), which is in one page.
func (s *sparse) zero(off, end int64) {
	if off < end && s.pages[off/PageSize] != nil {
		s.write(make([]byte, end-off), off)
	}
}

// drop removes the pages [first, last).
func (s *sparse) drop(first, last int64) {
	keys := s.sorted()
	from, _ := slices.BinarySearch(keys, first)
	to, _ := slices.BinarySearch(keys, last)
	if from < to {
		for _, k := range keys[from:to] {
			delete(s.pages, k)
		}
		s.order = nil
	}
}

func (s *sparse) truncate(size int64) {
	if size < s.size {
		s.punch(size, s.size)
	}
	s.size = size
}

func (s *sparse) sorted() []int64 {
	if s.order == nil {
		s.order = slices.Sorted(maps.Keys(s.pages))
	}
	return s.order
}

func (s *sparse) seekData(off int64) (int64, error) {
	keys := s.sorted()
	i, found := slices.BinarySearch(keys, off/PageSize)
	if off >= s.size || i == len(keys) {
		return 0, io.EOF
	}
	if found {
		return off, nil
	}
	return keys[i] * PageSize, nil
}

func (s *sparse) seekHole(off int64) (int64, error) {
	if off >= s.size {
		return 0, io.EOF
	}
	p := off / PageSize
	if s.pages[p] == nil {
		return off, nil
	}
	for s.pages[p] != nil {
		p++
	}
	return min(p*PageSize, s.size), nil
}

func (s *sparse) allocated() int64 { return int64(len(s.pages)) * PageSize }
