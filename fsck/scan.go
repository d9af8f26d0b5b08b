package fsck

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"

	"zimg/image"
	"zimg/layout"
)

// scanner finds the ends of the data in zones (see image.ZoneDataEnd), in several
// at once.
type scanner struct{ files *image.Files }

func newScanner(f *image.Files) *scanner { return &scanner{files: f} }

// zoneEnd is the LBA behind the last one of zone i that holds data; its start
// if there is none. It may lie beyond the capacity.
func (sc *scanner) zoneEnd(n *layout.Namespace, i uint64) (layout.LBA, error) {
	return image.ZoneDataEnd(sc.files.Data[n.DataFile], n, i)
}

// nonZeroEnd is the LBA behind the last block of [from, to) that is not all zero; from
// if there is none.
func (sc *scanner) nonZeroEnd(n *layout.Namespace, from, to layout.LBA) (layout.LBA, error) {
	return image.NonZeroEnd(sc.files.Data[n.DataFile], n, from, to)
}

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
	var crashed atomic.Value // a panic belongs to the goroutine that waits, which can report it
	slots := make(chan struct{}, 2*runtime.GOMAXPROCS(0))
	for k := range list {
		if list[k].end != 0 {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() {
				<-slots
				if v := recover(); v != nil {
					crashed.Store(fmt.Sprint(v))
				}
			}()
			list[k].end, list[k].err = sc.zoneEnd(n, list[k].i)
		})
	}
	wg.Wait()
	if v := crashed.Load(); v != nil {
		panic(v)
	}
}
