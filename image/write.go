package image

import (
	"errors"
	"fmt"
	"io"

	"zimg/image/pi"
	"zimg/image/zns"
	"zimg/layout"
)

// How data and zones change
//
// Data written goes beyond write pointers:        Data discarded is what a reset gives up:
//
//	0. the zone rules allow it                      0. the zone rules allow it
//	1. commit: the image is being changed           1. commit: the new zones, and that the image
//	2. write data and LBA metadata                     is being changed
//	3. sync the data area                           2. discard data beyond the write pointers
//	4. commit: the new write pointers, clean        3. sync the data area
//	                                                4. commit: clean
//
// Until a commit is complete the one before it counts (commit.go). So writing is cut
// off either with the old write pointers, and the mark says that data beyond them was
// left by a command that did not end; or with the new ones, and step 3 made sure that
// the data before them is there. Discarding is cut off either with the old zones
// and all their data, since nothing is discarded before commit 1 is complete; or with the
// new zones, and the mark says the same of data beyond them. In both cases a
// check discards that, and nothing is lost.
//
// Step 0 comes first, so that a command that is refused changes nothing: not even the
// mark. Data can be refused in the middle, when a stream goes on into a zone that takes no
// more; and the disk may fail. Then writing is undone: zones as they were, what was written
// beyond their write pointers discarded, sync, commit. If that fails as well the mark stays.
//
// A namespace without zones has no write pointers: data is written in place, and what a
// command that failed has overwritten stays so.

// WriteOptions say how data is written.
type WriteOptions struct {
	// Progress, if not nil, is called with the number of bytes written so far. An
	// error from it stops the work, which is then undone.
	Progress func(done int64) error
	// Pad fills a short last block with zeroes. Otherwise it is refused with ErrShortBlock.
	Pad bool
}

// ErrShortBlock is wrapped by the refusal of data that ends within a block.
var ErrShortBlock = errors.New("the data is not a whole number of blocks")

// AppendLimit is how many bytes one append of Append has at most: what a controller
// with an MDTS of 7 and pages of 4 KiB takes, which does not set ZASL.
const AppendLimit = 512 << 10

// writeChunk is how many bytes are written at a time; a multiple of every block size.
const writeChunk = 256 << 10

// An Extent is a range of blocks.
type Extent struct{ LBA, Blocks layout.LBA }

// Write writes all of r to the namespace from block at on and commits, under the
// rules of its zones: data begins at the write pointer of a zone, and goes on in the next
// zone, which must be Empty, where the capacity ends. Zones are at rest afterwards. An
// error leaves zones and data as they were; in a namespace without zones, data may have
// been overwritten. Zone errors are *zns.StatusError.
func (n *Namespace) Write(r io.Reader, at layout.LBA, o WriteOptions) error {
	w := newWriting(n, o)
	w.lba = at
	return w.run(func() error { return w.write(r) })
}

// Append appends all of r to zone i and commits: one append for each AppendLimit
// bytes. It returns where they went. An error leaves zone and data as they were, also if
// only the last append did not fit (Zone Boundary Error).
func (n *Namespace) Append(r io.Reader, i uint64, o WriteOptions) ([]Extent, error) {
	if err := n.CheckZoneNumber(i); err != nil {
		return nil, err
	}
	w := newWriting(n, o)
	var list []Extent
	err := w.run(func() error {
		var err error
		list, err = w.append(r, i)
		return err
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// WritePointer is where data can be written to zone i; its start if the zone takes
// none in its state.
func (n *Namespace) WritePointer(i uint64) (layout.LBA, error) {
	z, err := n.checkedZone(i)
	if err != nil || !z.State.HasWP() {
		return layout.LBA(i) * n.ZoneSize, err
	}
	return z.WP, nil
}

// writing is one command that writes.
type writing struct {
	n     *Namespace
	o     WriteOptions
	zones *zns.Machine // nil without zones
	pi    pi.Format
	lba   layout.LBA // of Write: where the next block goes
	done  int64
	meta  []byte
	begun bool
	// before is for each zone written to how far it was written before.
	before map[uint64]layout.LBA
}

func newWriting(n *Namespace, o WriteOptions) *writing {
	w := &writing{n: n, o: o, pi: pi.Of(n.Namespace), before: map[uint64]layout.LBA{}}
	if n.Zoned() {
		w.zones = zns.New(n.Namespace, n, n.Counts())
	}
	return w
}

// run does the work of a command, and ends it or undoes it.
func (w *writing) run(work func() error) error {
	err := work()
	if err == nil && w.begun {
		err = w.end()
	}
	if err != nil {
		return errors.Join(err, w.undo())
	}
	if !w.begun {
		return nil
	}
	return w.n.im.Commit()
}

// end makes the data durable and the zones ready for the commit.
func (w *writing) end() error {
	if w.zones != nil {
		if err := w.zones.PowerCycle(); err != nil {
			return err
		}
	}
	return w.n.im.SyncData()
}

// undo makes the image as it was before.
func (w *writing) undo() error {
	im := w.n.im
	im.rollback()
	if !w.begun {
		return nil
	}
	for i, from := range w.before {
		if err := w.n.DiscardZone(i, from); err != nil {
			return err
		}
	}
	if err := im.SyncData(); err != nil {
		return err
	}
	return im.Commit()
}

// write writes all of r from w.lba on.
func (w *writing) write(r io.Reader) error {
	buf := make([]byte, writeChunk)
	for end := false; !end; {
		if err := w.progress(); err != nil {
			return err
		}
		room, err := w.room()
		if err != nil {
			return err
		}
		if room == 0 {
			return w.expectEnd(r)
		}
		var p []byte
		if p, end, err = w.read(r, buf[:room]); err != nil || len(p) == 0 {
			return err
		}
		blocks := layout.LBA(len(p) >> w.n.BlockBits)
		c := zns.Change{LBA: w.lba}
		if w.zones != nil {
			if c, err = w.zones.PlanWrite(w.lba, blocks); err != nil {
				return err
			}
		}
		if err := w.put(c, p); err != nil {
			return err
		}
		w.lba += blocks
	}
	return w.progress()
}

// append appends all of r to zone i.
func (w *writing) append(r io.Reader, i uint64) ([]Extent, error) {
	if _, err := w.n.checkedZone(i); err != nil {
		return nil, err
	}
	var list []Extent
	buf := make([]byte, AppendLimit)
	for end := false; !end; {
		if err := w.progress(); err != nil {
			return nil, err
		}
		var p []byte
		var err error
		if p, end, err = w.read(r, buf); err != nil {
			return nil, err
		}
		if len(p) == 0 {
			break
		}
		blocks := layout.LBA(len(p) >> w.n.BlockBits)
		c, err := w.zones.PlanAppend(layout.LBA(i)*w.n.ZoneSize, blocks)
		if err != nil {
			return nil, err
		}
		if err := w.put(c, p); err != nil {
			return nil, err
		}
		list = append(list, Extent{c.LBA, blocks})
	}
	return list, w.progress()
}

func (w *writing) progress() error {
	if w.o.Progress == nil {
		return nil
	}
	return w.o.Progress(w.done)
}

// read fills buf, whole blocks, from r, and reports whether that was the end: then
// there may be less.
func (w *writing) read(r io.Reader, buf []byte) (p []byte, end bool, err error) {
	length, err := io.ReadFull(r, buf)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, false, err
	}
	size := int(w.n.BlockSize())
	if over := length % size; over != 0 {
		if !w.o.Pad {
			return nil, true, fmt.Errorf("%w: %d bytes follow the last whole block of %d bytes", ErrShortBlock, over, size)
		}
		clear(buf[length : length-over+size])
		w.done -= int64(size - over)
		length += size - over
	}
	return buf[:length], err != nil, nil
}

// room is how many bytes can be written in one go: up to a zone's capacity, after
// which the next zone begins.
func (w *writing) room() (int, error) {
	if w.lba >= w.n.Blocks {
		return 0, nil
	}
	space := w.n.Blocks - w.lba
	if w.zones != nil {
		i := uint64(w.lba / w.n.ZoneSize)
		z, err := w.n.checkedZone(i)
		if err != nil {
			return 0, err
		}
		if _, ours := w.before[i]; ours && w.lba == z.End() {
			w.lba = layout.LBA(i+1) * w.n.ZoneSize
			return w.room()
		}
		space = max(1, z.End()-min(w.lba, z.End())) // a block that has no place is refused by the zone
	}
	return int(w.n.ByteOff(min(space, writeChunk>>w.n.BlockBits))), nil
}

// expectEnd refuses data that is left at the end of the namespace.
func (w *writing) expectEnd(r io.Reader) error {
	_, err := io.ReadFull(r, make([]byte, 1))
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("%s: the data does not fit: namespace %d ends at block %d", w.n.im.path, w.n.ID, w.n.Blocks)
}

// put writes the blocks p at the LBA of c, with their metadata, and makes the change.
func (w *writing) put(c zns.Change, p []byte) error {
	if !w.begun {
		if err := w.n.im.BeginChange(); err != nil {
			return err
		}
		w.begun = true
	}
	if w.zones != nil {
		if _, known := w.before[c.Zone]; !known {
			w.before[c.Zone] = c.From.Written
		}
	}
	if _, err := w.n.WriteAt(p, int64(w.n.ByteOff(c.LBA))); err != nil {
		return err
	}
	if err := w.putMeta(c.LBA, p); err != nil {
		return err
	}
	w.done += int64(len(p))
	if w.zones == nil {
		return nil
	}
	return w.zones.Make(c)
}

// putMeta writes the metadata of the blocks p at lba: zeroes, and their protection
// information if the namespace has any.
func (w *writing) putMeta(lba layout.LBA, p []byte) error {
	if w.n.MS == 0 {
		return nil
	}
	length := (len(p) >> w.n.BlockBits) * int(w.n.MS)
	if cap(w.meta) < length {
		w.meta = make([]byte, length)
	}
	meta := w.meta[:length]
	clear(meta)
	if w.pi.Enabled() {
		if err := w.pi.Generate(p, meta, w.pi.TagsAt(lba)); err != nil {
			return err
		}
	}
	_, err := w.n.File().WriteAt(meta, w.n.metaOff(lba))
	return err
}

// metaOff is the file offset of the metadata of block lba.
func (n *Namespace) metaOff(lba layout.LBA) int64 {
	return int64(n.DataOff + n.MetadataOff() + layout.Bytes(lba)*layout.Bytes(n.MS))
}
