package fsck

import (
	"errors"
	"io"
	"runtime"

	"zimg/image"
	"zimg/image/disk"
	"zimg/image/goroutine"
	"zimg/layout"
)

// scanner finds where the data of zones ends (see image.ZoneDataEnd), in several at once.
type scanner struct{ files *image.Files }

func newScanner(f *image.Files) *scanner { return &scanner{files: f} }

// zoneEnd is the LBA after the last block of zone i that is not zero; its start if there is none. It may be beyond
// the capacity.
func (sc *scanner) zoneEnd(n *layout.Namespace, i uint64) (layout.LBA, error) {
	return image.ZoneDataEnd(sc.files.Data[n.DataFile], n, i)
}

// scanned is the end of the data of one zone, looked for in the blocks from "from" on.
type scanned struct {
	i         uint64
	from, end layout.LBA
	err       error
}

// eachZone calls fn, in order, for every zone of n that may have data or that want says is of interest, with the end of
// its data after block from(i); from(i) itself if there is none. Where the file system knows holes, zones without data
// cost nothing: it goes from extent to extent.
func (sc *scanner) eachZone(n *layout.Namespace, want func(i uint64) bool, from func(i uint64) (layout.LBA, error), fn func(i uint64, end layout.LBA) error) error {
	const batch = 256
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
	extents := extentWalk{file: sc.files.Data[n.DataFile], end: int64(n.DataOff + n.DataLen)}
	for i := uint64(0); i < n.ZoneCount; i++ {
		start := int64(n.DataOff) + int64(i)*int64(n.ByteOff(n.ZoneSize))
		data, err := extents.next(start)
		if err != nil {
			return err
		}
		// Metadata of blocks is elsewhere: with it every zone is looked at.
		if data >= start+int64(n.ByteOff(n.ZoneSize)) && n.MS == 0 && !want(i) {
			continue
		}
		first, err := from(i)
		if err != nil {
			return err
		}
		if pending = append(pending, scanned{i: i, from: first}); len(pending) == batch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// extentWalk finds the first data at or after rising offsets of a file.
type extentWalk struct {
	file disk.File
	end  int64 // of what is of interest
	at   int64 // of the data found last
	any  bool
}

func (w *extentWalk) next(off int64) (int64, error) {
	if w.any && w.at >= off {
		return w.at, nil
	}
	data, err := w.file.SeekData(off)
	if errors.Is(err, io.EOF) {
		data, err = w.end, nil
	}
	w.at, w.any = data, true
	return data, err
}

// parallel fills the ends of list.
func (sc *scanner) parallel(n *layout.Namespace, list []scanned) {
	var workers goroutine.Group
	slots := make(chan struct{}, 2*runtime.GOMAXPROCS(0))
	for k := range list {
		slots <- struct{}{}
		workers.Go(func() {
			defer func() { <-slots }()
			p := &list[k]
			p.end, p.err = image.NonZeroEnd(sc.files.Data[n.DataFile], n, p.from, layout.LBA(p.i+1)*n.ZoneSize)
		})
	}
	workers.Wait()
}
