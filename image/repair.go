package image

import (
	"zimg/image/disk"
	"zimg/layout"
)

// What a checker needs beyond what everyone may do: an image put together of
// what is left of one, and written back whole. Nothing here judges.

// Assemble makes an image of the slot of the given index; the other may be nil. The
// files belong to it from then on.
func Assemble(f *Files, path string, slots [2]*Slot, live int) *Image {
	im := &Image{files: f, path: path, slots: slots, live: live, dirty: map[uint64][]byte{}}
	im.hdr = *slots[live].Header
	im.hdr.Counts = append([]layout.Counts(nil), im.hdr.Counts...)
	im.plan = slots[live].Plan
	for i, e := range im.plan.Entries {
		im.ns = append(im.ns, &Namespace{Namespace: &e.Namespace, entry: e, im: im, index: i})
	}
	return im
}

// AllowWrites lets an assembled image be committed.
func (im *Image) AllowWrites() { im.write = true }

// TableBlocks is the number of table blocks in a slot.
func (im *Image) TableBlocks() uint64 { return im.plan.ChecksumCount }

// RegionOf names the table that table block num belongs to.
func (im *Image) RegionOf(num uint64) string { return im.regionOf(num) }

// TableOff is the offset of table block num of slot i in the metadata file.
func (im *Image) TableOff(i int, num uint64) int64 {
	return im.slotOff(i) + int64(im.hdr.TableOff) + int64(num)*layout.BlockLen
}

// SetBlock replaces table block num; it goes to the next commit.
func (im *Image) SetBlock(num uint64, b []byte) { im.dirty[num] = append([]byte(nil), b...) }

// SetCounts replaces the counts of n.
func (n *Namespace) SetCounts(c layout.Counts) { n.im.hdr.Counts[n.index] = c }

// Tables are the places of the tables of n in a slot.
func (n *Namespace) Tables() layout.Tables { return n.entry.Tables }

// CommitBoth commits to both slots, one after the other and each in the way of
// every commit, even if nothing has changed: so damage goes from both. The image is
// clean then.
func (im *Image) CommitBoth() error {
	im.verified = false
	if err := im.forceCommit(layout.Clean, layout.Session{}); err != nil {
		return err
	}
	im.slots[1-im.live] = nil // it may have been put together of what could be read: write all of it
	return im.forceCommit(layout.Clean, layout.Session{})
}

// RewriteLocator writes the locator anew where it belongs, and ends the file
// behind it.
func (im *Image) RewriteLocator() error {
	meta := im.files.Meta
	if err := meta.Truncate(int64(im.plan.MetaFileLen())); err != nil {
		return err
	}
	if err := writeLocator(meta, im.plan, im.hdr.UUID); err != nil {
		return err
	}
	return meta.Sync()
}

// ReadSidecarSlot is the newest sound slot of the sidecar called name.
func ReadSidecarSlot(fsys disk.FS, name string) (*Slot, error) {
	file, err := fsys.Open(name, disk.ReadOnly, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	return chooseSlot(file, nil)
}
