package fsck

import (
	"errors"
	"io"
	"runtime"
	"sync"

	"zimg/image"
	"zimg/image/disk"
	"zimg/layout"
)

// How far was a zone written? The file system knows where there is data
// (SEEK_DATA, SEEK_HOLE), to the granularity of its blocks, and that is the answer: zeroes
// that a guest wrote are data. A zone whose data reaches to the very end of the zone may as well
// be preallocated, or on a file system that has no holes: there the last block that is not
// zero is looked for, from the end backwards, in several zones at once.

// scanner finds the ends of the data in zones.
type scanner struct {
	files *image.Files
	bufs  sync.Pool
}

// scanBuf is how much is read at a time when reading backwards.
const scanBuf = 256 << 10

func newScanner(f *image.Files) *scanner {
	return &scanner{files: f, bufs: sync.Pool{New: func() any { b := make([]byte, scanBuf); return &b }}}
}

// zoneEnd is the LBA behind the last one of zone i that holds data; its start
// if there is none. It may lie beyond the capacity.
func (sc *scanner) zoneEnd(n *layout.Namespace, i uint64) (layout.LBA, error) {
	start := layout.LBA(i) * n.ZoneSize
	from := int64(n.DataOff + n.ByteOff(start))
	to := from + int64(n.ByteOff(n.ZoneSize))
	end, err := sc.lastData(sc.files.Data[n.DataFile], from, to)
	if err != nil {
		return 0, err
	}
	return start + layout.LBA((end-from+n.BlockSize()-1)>>n.BlockBits), nil
}

// nonZeroEnd is the LBA behind the last block of [from, to) that is not all zero; from
// if there is none.
func (sc *scanner) nonZeroEnd(n *layout.Namespace, from, to layout.LBA) (layout.LBA, error) {
	base := int64(n.DataOff)
	first := base + int64(n.ByteOff(from))
	end, err := sc.lastNonZero(sc.files.Data[n.DataFile], first, base+int64(n.ByteOff(to)))
	if err != nil {
		return 0, err
	}
	return from + layout.LBA((end-first+n.BlockSize()-1)>>n.BlockBits), nil
}

// lastData is the offset behind the last data in [from, to) of file, or from.
func (sc *scanner) lastData(file disk.File, from, to int64) (int64, error) {
	end := from
	for at := from; at < to; {
		data, err := file.SeekData(at)
		if errors.Is(err, io.EOF) || err == nil && data >= to {
			return end, nil
		}
		if err != nil {
			return 0, err
		}
		hole, err := file.SeekHole(data)
		if err != nil {
			return 0, err
		}
		if hole >= to {
			return sc.lastNonZero(file, from, to)
		}
		end, at = hole, hole
	}
	return end, nil
}

// lastNonZero is the offset behind the last byte of [from, to) that is not zero.
func (sc *scanner) lastNonZero(file disk.File, from, to int64) (int64, error) {
	p := sc.bufs.Get().(*[]byte)
	defer sc.bufs.Put(p)
	// A written zone is known by its last block: begin with little.
	for step := int64(4096); to > from; step = min(2*step, scanBuf) {
		b := (*p)[:min(step, to-from)]
		n, err := file.ReadAt(b, to-int64(len(b)))
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		clear(b[n:])
		if k := lastByte(b); k >= 0 {
			return to - int64(len(b)) + int64(k) + 1, nil
		}
		to -= int64(len(b))
	}
	return from, nil
}

// lastByte is the index of the last byte of b that is not zero, or -1.
func lastByte(b []byte) int {
	zero := zeroes[:]
	for len(b) >= len(zero) && string(b[len(b)-len(zero):]) == string(zero) {
		b = b[:len(b)-len(zero)]
	}
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] != 0 {
			return i
		}
	}
	return -1
}

var zeroes [4096]byte

// scanned is the end of the data of one zone.
type scanned struct {
	i   uint64
	end layout.LBA
	err error
}

// eachZone calls fn with the end of the data of every zone of n that has data or
// that want says is of interest, in order. Where the file system knows holes,
// zones without data cost nothing: it goes from extent to extent.
func (sc *scanner) eachZone(n *layout.Namespace, want func(i uint64) bool, fn func(i uint64, end layout.LBA) error) error {
	const batch = 256
	file := sc.files.Data[n.DataFile]
	zoneLen := int64(n.ByteOff(n.ZoneSize))
	base := int64(n.DataOff)
	next := int64(-1) // offset of the next data, if known
	var pending []scanned
	flush := func() error {
		sc.parallel(n, pending)
		for _, p := range pending {
			if p.err != nil {
				return p.err
			}
			if err := fn(p.i, p.end); err != nil {
				return err
			}
		}
		pending = pending[:0]
		return nil
	}
	for i := uint64(0); i < n.ZoneCount; i++ {
		from := base + int64(i)*zoneLen
		if next < from {
			data, err := file.SeekData(from)
			switch {
			case errors.Is(err, io.EOF):
				next = base + int64(n.ZoneCount)*zoneLen
			case err != nil:
				return err
			default:
				next = data
			}
		}
		switch {
		case next < from+zoneLen:
			pending = append(pending, scanned{i: i})
		case want(i):
			pending = append(pending, scanned{i: i, end: layout.LBA(i) * n.ZoneSize})
		default:
			continue
		}
		if len(pending) == batch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// parallel fills the ends of list.
func (sc *scanner) parallel(n *layout.Namespace, list []scanned) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, 2*runtime.GOMAXPROCS(0))
	for k := range list {
		if list[k].end != 0 {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			list[k].end, list[k].err = sc.zoneEnd(n, list[k].i)
			<-slots
		})
	}
	wg.Wait()
}
