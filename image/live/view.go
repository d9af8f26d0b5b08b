package live

import (
	"errors"
	"io"
	"iter"
	"unsafe"

	"zimg/image"
	"zimg/image/disk"
	"zimg/image/zns"
	"zimg/layout"
)

// View is what an image that was being served has become by the death of its owner. Nothing is changed by looking.
// The caller closes it.
type View struct {
	Recovery
	im   *image.Image
	file disk.File
}

// Repair is what there is to be done about one zone.
type Repair struct {
	Namespace *image.Namespace
	Zone      uint64
	Now       layout.Zone // as it is after the power cycle
	Ext       []byte      // its extension; nil if it is as in the slots
	// Damaged is why the record of the zone cannot be believed; it wraps layout.ErrDamaged. Now is then the zone of
	// the slots, and all data beyond it was written since the last flush.
	Damaged error
	// Discard says that blocks from DiscardFrom to the end of the zone are not part of it; they must not be touched
	// before Now is committed.
	Discard     bool
	DiscardFrom layout.LBA
}

// NewView finds out where the truth about im is. im may be open for reading only.
func NewView(im *image.Image, o Options) (*View, error) {
	f, err := inspect(im, o, disk.ReadOnly)
	if err != nil {
		return nil, err
	}
	return &View{Recovery: f.Recovery, im: im, file: f.file}, nil
}

// RecordOff is where in the live file the record of zone i of n is, in bytes.
func (v *View) RecordOff(n *image.Namespace, i uint64) int64 {
	for _, other := range v.im.Namespaces() {
		if other == n {
			break
		}
		i += other.ZoneCount
	}
	return recordsOff + int64(i)*recordLen
}

// FileName is the path of the live file, whether there is one or not.
func (v *View) FileName() string { return fileName(v.im) }

// Close closes the live file.
func (v *View) Close() error {
	if v.file == nil {
		return nil
	}
	return v.file.Close()
}

// viewChunk is the number of records read at a time.
const viewChunk = 4096

// Repairs yields the zones that differ from the slots, or have data that is not part of them, or whose records are
// damaged, in order.
func (v *View) Repairs() iter.Seq2[Repair, error] {
	return func(yield func(Repair, error) bool) {
		if v.Source == Clean {
			return
		}
		p := placesOf(v.im)
		words := make([]uint64, viewChunk*recordWords)
		var b scratch
		number := uint64(0)
		for k, n := range v.im.Namespaces() {
			for i := uint64(0); i < n.ZoneCount; i, number = i+1, number+1 {
				if v.Source == Records && (i%viewChunk == 0) {
					if err := v.records(words, number, min(viewChunk, n.ZoneCount-i)); err != nil {
						yield(Repair{}, err)
						return
					}
				}
				r, needed, err := v.repair(n, i, number, (*record)(words[i%viewChunk*recordWords:]), p.ext[k], &b)
				if !needed && err == nil {
					continue
				}
				if !yield(r, err) || err != nil {
					return
				}
			}
		}
	}
}

// records reads count records from number first on.
func (v *View) records(words []uint64, first, count uint64) error {
	b := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), count*recordLen)
	if n, err := v.file.ReadAt(b, recordsOff+int64(first*recordLen)); n < len(b) {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	return nil
}

func (v *View) repair(n *image.Namespace, i, number uint64, r *record, extOff int64, b *scratch) (Repair, bool, error) {
	was, err := n.Zone(i)
	if err != nil {
		return Repair{}, false, err
	}
	c := Repair{Namespace: n, Zone: i, Now: was, DiscardFrom: was.Written, Discard: true}
	if v.Source == Commits && layout.CheckZone(n.Namespace, i, was) != nil {
		return c, false, nil // what is beyond a write pointer that makes no sense is for whoever repairs that
	}
	if v.Source == Records {
		z, sel, err := decode(r, b, number, n.Namespace, i)
		if errors.Is(err, layout.ErrDamaged) {
			c.Discard, c.Damaged = false, err
			if layout.CheckZone(n.Namespace, i, was) == nil {
				c.Now = zns.AtRest(n.Namespace, was)
			}
			return c, true, nil
		}
		if err != nil {
			return c, false, err
		}
		c.Now, c.DiscardFrom = z, z.Written
		c.Discard = max(layout.LBA(r.load(wordReach)), was.Written) > z.Written
		if sel != 0 && z.Attrs&layout.ZDEV != 0 {
			c.Ext = make([]byte, n.ExtSize())
			at := extOff + (2*int64(i)+int64(sel)-1)*int64(len(c.Ext))
			if _, err := v.file.ReadAt(c.Ext, at); err != nil {
				return c, false, err
			}
		}
	}
	c.Now = zns.AtRest(n.Namespace, c.Now)
	c.Discard = c.Discard && c.Now.Type != layout.Conventional && c.DiscardFrom < layout.LBA(i+1)*n.ZoneSize
	return c, c.Discard || c.Now != was || c.Ext != nil, nil
}
