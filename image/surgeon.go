package image

import "zimg/layout"

// Surgeon is what a checker may do to the raw metadata of an image, beyond what
// everyone may: look at single blocks, and put an image together of what is left of one and
// write it back whole. It judges nothing. Like the Image it is not safe for concurrent use.
type Surgeon struct{ im *Image }

// NewSurgeon puts an image together of the slot of the given index; the other may
// be nil. The files belong to the image from then on.
func NewSurgeon(f *Files, path string, slots [2]*Slot, live int) *Surgeon {
	return &Surgeon{assemble(f, path, slots, live)}
}

// Operate is the surgeon of an image that is open.
func Operate(im *Image) *Surgeon { return &Surgeon{im} }

// Image is the image.
func (s *Surgeon) Image() *Image { return s.im }

// assemble makes an image of the slot of the given index; the other may be nil. The
// files belong to it from then on.
func assemble(f *Files, path string, slots [2]*Slot, live int) *Image {
	im := &Image{files: f, path: path, slots: slots, live: live, dirty: map[uint64][]byte{}}
	im.hdr = *slots[live].Header
	im.hdr.Counts = append([]layout.Counts(nil), im.hdr.Counts...)
	im.plan = slots[live].Plan
	for i, e := range im.plan.Entries {
		im.ns = append(im.ns, &Namespace{Namespace: &e.Namespace, entry: e, im: im, index: i})
	}
	return im
}

// AllowWrites lets the image be committed.
func (s *Surgeon) AllowWrites() { s.im.write = true }

// TableBlocks is the number of table blocks in a slot.
func (s *Surgeon) TableBlocks() uint64 { return s.im.plan.ChecksumCount }

// RegionOf names the table that table block num belongs to.
func (s *Surgeon) RegionOf(num uint64) string { return s.im.regionOf(num) }

// TableOff is the offset in bytes of table block num of slot i in the metadata file.
func (s *Surgeon) TableOff(i int, num uint64) int64 {
	return s.im.slotOff(i) + int64(s.im.hdr.TableOff) + int64(num)*layout.BlockLen
}

// Tables are the places of the tables of n in a slot.
func (s *Surgeon) Tables(n *Namespace) layout.Tables { return n.entry.Tables }

// SetBlock replaces table block num; it goes to the next commit.
func (s *Surgeon) SetBlock(num uint64, b []byte) { s.im.dirty[num] = append([]byte(nil), b...) }

// SetCounts replaces the counts of n.
func (s *Surgeon) SetCounts(n *Namespace, c layout.Counts) { s.im.hdr.Counts[n.index] = c }

// CommitBoth commits to both slots, one after the other and each in the order of
// every commit, even if nothing has changed: so damage goes from both. The image is
// clean then.
func (s *Surgeon) CommitBoth() error {
	im := s.im
	im.verified = false
	if err := im.forceCommit(layout.Clean, layout.Session{}); err != nil {
		return err
	}
	im.slots[1-im.live] = nil // it may have been put together of what could be read: write all of it
	return im.forceCommit(layout.Clean, layout.Session{})
}

// RewriteLocator writes the locator anew where it belongs, and ends the file
// after it.
func (s *Surgeon) RewriteLocator() error {
	im := s.im
	meta := im.files.Meta
	if err := meta.Truncate(int64(im.plan.MetaFileLen())); err != nil {
		return err
	}
	if err := writeLocator(meta, im.plan, im.hdr.UUID); err != nil {
		return err
	}
	return meta.Sync()
}
