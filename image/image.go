// Package image makes files of the structures of package layout: it finds,
// opens, reads, changes and converts images.
//
//	files.go    which files an image is made of; probe.go  how they are found
//	slot.go     the two copies of the metadata          open.go    the strict door
//	image.go    an open image and its namespaces        data.go    what the guest sees
//	zonetables.go  zone descriptor extensions, and walks over all zones
//	edit.go     adopt.go  zones put as they are, and a sidecar made or removed in place
//	commit.go   the only code that changes metadata, and why that is safe
//	write.go    zonechange.go  data and zones under the zone rules, and why that is safe
//	surgeon.go  raw metadata, for a checker               correct.go  a flipped bit, flipped back
//	create.go   convert.go  resize.go   new images out of geometry, or other images
//
// All access to the system goes through package image/disk.
package image

import (
	"errors"
	"fmt"
	"io"

	"zimg/layout"
)

// Image is an open image. Changes to zones stay in memory until Commit. It is
// not safe for concurrent use, but for the data methods of Namespace.
type Image struct {
	files *Files
	path  string
	write bool

	slots [2]*Slot // nil where a slot is not sound
	live  int      // index of the slot that was opened, or last committed
	hdr   layout.Header
	plan  *layout.Plan
	ns    []*Namespace

	others   io.Closer         // of zones that somebody else has, see ShowZones
	dirty    map[uint64][]byte // table blocks changed since the last commit, by number from TableOff
	verified bool              // the older slot's blocks are known to match its checksums

	// cache has the table blocks read last: a walk over zones goes through three tables at once.
	cache     [4]cachedBlock
	cacheNext int // the one to be replaced
}

type cachedBlock struct {
	num uint64
	b   []byte // nil: none
}

// Path is the path that the image was opened by.
func (im *Image) Path() string { return im.path }

// Files are the open files of the image.
func (im *Image) Files() *Files { return im.files }

// Header is the header of the live slot, with the counts of zones as they are
// now. The caller must not change it.
func (im *Image) Header() *layout.Header { return &im.hdr }

// Plan says where everything in the image is.
func (im *Image) Plan() *layout.Plan { return im.plan }

// Close closes the files; changes that were not committed are dropped.
func (im *Image) Close() error {
	if im.others != nil {
		return errors.Join(im.others.Close(), im.files.Close())
	}
	return im.files.Close()
}

// ZoneSource has the zones of a namespace while a process other than this one has the image.
type ZoneSource interface {
	layout.Zones
	Counts() layout.Counts
}

// ShowZones makes im, which is open for reading only, show the zones that sources have, one for each namespace in
// their order and nil for one without zones, instead of those of the slots. Close closes c as well.
func (im *Image) ShowZones(sources []ZoneSource, c io.Closer) {
	im.others = c
	for i, s := range sources {
		if s != nil {
			im.ns[i].source = s
			im.hdr.Counts[i] = s.Counts()
		}
	}
}

// ShowsOthers reports whether the zones are those of another process, as they are now.
func (im *Image) ShowsOthers() bool { return im.others != nil }

// Namespaces are the namespaces in the order of the namespace table.
func (im *Image) Namespaces() []*Namespace { return im.ns }

// Namespace returns the namespace with the given id.
func (im *Image) Namespace(id layout.NSID) (*Namespace, error) {
	var ids []layout.NSID
	for _, n := range im.ns {
		if n.ID == id {
			return n, nil
		}
		ids = append(ids, n.ID)
	}
	return nil, layout.Errorf(layout.ErrRange, "%s has no namespace %d; namespaces: %s", im.path, id, layout.ListIDs(ids))
}

// Metadata is the image in the form that every format shares; zones are read
// from the image as they are asked for.
func (im *Image) Metadata() *layout.Metadata {
	m := &layout.Metadata{Label: im.hdr.Label, UUID: im.hdr.UUID}
	for _, n := range im.ns {
		m.Namespaces = append(m.Namespaces, n.Namespace)
		if n.Zoned() {
			m.Zones = append(m.Zones, n)
		} else {
			m.Zones = append(m.Zones, nil)
		}
	}
	return m
}

// SetLabel changes the label with the next commit.
func (im *Image) SetLabel(label string) error {
	if err := layout.CheckLabel(label); err != nil {
		return err
	}
	im.hdr.Label = label
	return nil
}

// block returns table block num, checked against the live slot's checksum.
func (im *Image) block(num uint64) ([]byte, error) {
	if b, ok := im.dirty[num]; ok {
		return b, nil
	}
	for _, c := range im.cache {
		if c.b != nil && c.num == num {
			return c.b, nil
		}
	}
	b := make([]byte, layout.BlockLen)
	if err := im.readBlocks(b, num); err != nil {
		return nil, err
	}
	im.cache[im.cacheNext] = cachedBlock{num, b}
	im.cacheNext = (im.cacheNext + 1) % len(im.cache)
	return b, nil
}

// slotOff is the file offset of slot i.
func (im *Image) slotOff(i int) int64 {
	return int64(im.hdr.MetaOff) + int64(i)*int64(im.hdr.SlotLen)
}

// readBlocks fills b, whole blocks, with changes that are not committed and from the
// live slot, which is checked.
func (im *Image) readBlocks(b []byte, num uint64) error {
	off := im.slotOff(im.live) + int64(im.hdr.TableOff) + int64(num)*layout.BlockLen
	// Where every block is in memory there need be nothing on disk at all.
	if changed := im.changedFrom(num, len(b)/layout.BlockLen); changed < len(b)/layout.BlockLen {
		if err := readFull(im.files.Meta, b, off); err != nil {
			return err
		}
	}
	sums, err := im.slots[im.live].Sums()
	if err != nil {
		return err
	}
	for i := 0; i < len(b); i += layout.BlockLen {
		n := num + uint64(i/layout.BlockLen)
		if d, ok := im.dirty[n]; ok { // what is on disk does not matter, and may be damaged
			copy(b[i:i+layout.BlockLen], d)
			continue
		}
		if got, want := layout.Checksum(b[i:i+layout.BlockLen]), sums[n]; got != want {
			return needsRepair(im.files, im.path, fmt.Errorf("%s: %w", im.files.MetaName(), checksumError(im.regionOf(n), off+int64(i), got, want)))
		}
	}
	return nil
}

// changedFrom is how many of the n blocks from num on have changes, up to the
// first that has none.
func (im *Image) changedFrom(num uint64, n int) int {
	for i := range n {
		if _, ok := im.dirty[num+uint64(i)]; !ok {
			return i
		}
	}
	return n
}

// regionOf names the table that block num belongs to.
func (im *Image) regionOf(num uint64) string {
	off := im.hdr.TableOff + layout.Bytes(num)*layout.BlockLen
	region := "namespace table"
	for _, e := range im.plan.Entries {
		if !e.Zoned() {
			continue
		}
		if off >= e.Tables.Desc {
			region = fmt.Sprintf("namespace %d zone descriptor table", e.ID)
		}
		if off >= e.Tables.WP {
			region = fmt.Sprintf("namespace %d write-pointer array", e.ID)
		}
		if e.ZDES > 0 && off >= e.Tables.Ext {
			region = fmt.Sprintf("namespace %d zone descriptor extensions", e.ID)
		}
	}
	return region
}

// change returns table block num for writing: it goes to the next commit.
func (im *Image) change(num uint64) ([]byte, error) {
	if b, ok := im.dirty[num]; ok {
		return b, nil
	}
	b, err := im.block(num)
	if err != nil {
		return nil, err
	}
	b = append([]byte(nil), b...)
	im.dirty[num] = b
	return b, nil
}

// Namespace is a namespace of an open image; it is the layout.Zones of its
// zones.
type Namespace struct {
	*layout.Namespace
	entry *layout.Entry
	im    *Image
	index int

	source ZoneSource // where zones are read from, if not from the slots
}

// Counts are the numbers of zones by state, uncommitted changes included. They
// come from the header and cost nothing.
func (n *Namespace) Counts() layout.Counts { return n.im.hdr.Counts[n.index] }

// Image is the image that n is part of.
func (n *Namespace) Image() *Image { return n.im }

// at is the table block, counted from TableOff, and the offset in it of entry i of
// a table at off with size bytes an entry.
func (n *Namespace) at(off layout.Bytes, size, i uint64) (num uint64, in int) {
	pos := uint64(off-n.im.hdr.TableOff) + i*size
	return pos / layout.BlockLen, int(pos % layout.BlockLen)
}

// Zone returns zone i.
func (n *Namespace) Zone(i uint64) (layout.Zone, error) {
	var z layout.Zone
	if err := n.CheckZoneNumber(i); err != nil {
		return z, err
	}
	if n.source != nil {
		return n.source.Zone(i)
	}
	num, in := n.at(n.entry.Tables.Desc, layout.DescriptorSize, i)
	b, err := n.im.block(num)
	if err != nil {
		return z, err
	}
	if z.ZoneDescriptor, err = layout.DecodeZoneDescriptor(b[in:]); err != nil {
		return z, err
	}
	num, in = n.at(n.entry.Tables.WP, layout.WPLen, i)
	if b, err = n.im.block(num); err != nil {
		return z, err
	}
	z.Written, err = layout.DecodeWP(b[in:], 0)
	return z, err
}

// SetZone replaces zone i; a commit makes it durable. It keeps the counts, and
// does not judge z: package zns does.
func (n *Namespace) SetZone(i uint64, z layout.Zone) error {
	old, err := n.Zone(i)
	if err != nil || old == z {
		return err
	}
	num, in := n.at(n.entry.Tables.Desc, layout.DescriptorSize, i)
	if old.ZoneDescriptor != z.ZoneDescriptor {
		b, err := n.im.change(num)
		if err != nil {
			return err
		}
		z.Encode(b[in:])
	}
	if old.Written != z.Written {
		num, in = n.at(n.entry.Tables.WP, layout.WPLen, i)
		b, err := n.im.change(num)
		if err != nil {
			return err
		}
		layout.EncodeWP(b[in:], 0, z.Written)
	}
	c := &n.im.hdr.Counts[n.index]
	if j := old.State.Index(); j >= 0 && c[j] > 0 {
		c[j]--
	}
	if j := z.State.Index(); j >= 0 {
		c[j]++
	}
	return nil
}
