package live

import (
	"zimg/layout"
)

// inside checks that n blocks from lba are blocks of the namespace, and p n units of size bytes.
func (n *Namespace) inside(p []byte, size int, lba layout.LBA) (blocks layout.LBA, err error) {
	if size == 0 || len(p)%size != 0 {
		return 0, layout.Errorf(layout.ErrRange, "namespace %d: %d bytes are not whole blocks of %d bytes", n.ID, len(p), size)
	}
	blocks = layout.LBA(len(p) / size)
	if blocks > n.Blocks || lba > n.Blocks-blocks {
		return 0, layout.Errorf(layout.ErrRange, "namespace %d: %d blocks at LBA %d of %d", n.ID, blocks, lba, n.Blocks)
	}
	return blocks, nil
}

// ReadData reads whole blocks. What is not written in a zone reads as zeroes.
func (n *Namespace) ReadData(p []byte, lba layout.LBA) error {
	return n.read(p, 1<<n.BlockBits, int64(n.DataOff), lba)
}

// ReadMeta reads the metadata of blocks, MS bytes each, as ReadData reads the blocks.
func (n *Namespace) ReadMeta(p []byte, lba layout.LBA) error {
	return n.read(p, int(n.MS), int64(n.DataOff+n.MetadataOff()), lba)
}

func (n *Namespace) read(p []byte, size int, base int64, lba layout.LBA) error {
	blocks, err := n.inside(p, size, lba)
	if err != nil || blocks == 0 {
		return err
	}
	for len(p) > 0 {
		part, written := blocks, blocks
		if n.Zoned() {
			i := uint64(lba / n.ZoneSize)
			part = min(blocks, layout.LBA(i+1)*n.ZoneSize-lba)
			z, err := n.Zone(i)
			if err != nil {
				return err
			}
			written = min(part, max(z.Written, lba)-lba)
		}
		b := p[:int(part)*size]
		if data := b[:int(written)*size]; len(data) > 0 {
			if got, err := n.img.File().ReadAt(data, base+int64(lba)*int64(size)); got < len(data) {
				return err
			}
		}
		clear(b[int(written)*size:])
		p, lba, blocks = p[len(b):], lba+part, blocks-part
	}
	return nil
}

// WriteData writes whole blocks, in one zone. The caller holds the zone's lock, has had the write judged, and sets the
// zone after it. When it returns the data survives the death of the process.
func (n *Namespace) WriteData(p []byte, lba layout.LBA) error {
	return n.write(p, 1<<n.BlockBits, int64(n.DataOff), lba)
}

// WriteMeta writes the metadata of blocks, MS bytes each, as WriteData writes the blocks.
func (n *Namespace) WriteMeta(p []byte, lba layout.LBA) error {
	return n.write(p, int(n.MS), int64(n.DataOff+n.MetadataOff()), lba)
}

func (n *Namespace) write(p []byte, size int, base int64, lba layout.LBA) error {
	blocks, err := n.inside(p, size, lba)
	if err != nil || blocks == 0 {
		return err
	}
	if n.Zoned() {
		if err := n.prepare(lba, blocks); err != nil {
			return err
		}
	}
	off := base + int64(lba)*int64(size)
	if _, err := n.img.File().WriteAt(p, off); err != nil {
		n.tear(lba)
		return err
	}
	n.s.wrote.Store(true)
	return nil
}

// Deallocate makes blocks of a namespace without zones, or of conventional zones, read as zeroes, and gives their
// space back.
func (n *Namespace) Deallocate(lba, blocks layout.LBA) error {
	if blocks > n.Blocks || lba > n.Blocks-blocks {
		return layout.Errorf(layout.ErrRange, "namespace %d: %d blocks at LBA %d of %d", n.ID, blocks, lba, n.Blocks)
	}
	return n.punch(lba, blocks)
}

// Zeroes writes blocks as zeroes: holes, where the file system can make them. The rules are those of WriteData.
// Who moves Written on over blocks that were not written, as SetWP does, calls it first.
func (n *Namespace) Zeroes(lba, blocks layout.LBA) error {
	if blocks == 0 || blocks > n.Blocks || lba > n.Blocks-blocks {
		return layout.Errorf(layout.ErrRange, "namespace %d: %d blocks at LBA %d of %d", n.ID, blocks, lba, n.Blocks)
	}
	if !n.Zoned() {
		return n.punch(lba, blocks)
	}
	if err := n.prepare(lba, 0); err != nil {
		return err
	}
	i := uint64(lba / n.ZoneSize)
	z, reach, err := n.extent(i)
	if err != nil {
		return err
	}
	if end := max(z.Written, reach); lba < end {
		if err := n.punch(lba, min(blocks, end-lba)); err != nil {
			return err
		}
	}
	return n.reach(i, lba+blocks)
}

// extent is zone i, and how far there may be data in it.
func (n *Namespace) extent(i uint64) (z layout.Zone, reach layout.LBA, err error) {
	defer n.s.unlock(n.s.lock(), &err)
	z, _ = n.zone(i)
	return z, layout.LBA(n.record(i).load(wordReach)), nil
}

// punch makes blocks read as zeroes, and their metadata.
func (n *Namespace) punch(lba, blocks layout.LBA) error {
	parts := []struct{ base, size layout.Bytes }{{0, 1 << n.BlockBits}, {n.MetadataOff(), layout.Bytes(n.MS)}}
	for _, part := range parts {
		off, length := int64(part.base+layout.Bytes(lba)*part.size), int64(layout.Bytes(blocks)*part.size)
		if length == 0 {
			continue
		}
		if err := n.img.File().PunchHole(int64(n.DataOff)+off, length); err != nil {
			return err
		}
		n.s.wrote.Store(true)
	}
	return nil
}

// prepare makes a zone ready for data in n blocks from lba on: nothing that the slots call written is in the way, what
// is beyond Written reads as zeroes, and the record knows how far the data may go. The caller has the zone's lock.
func (n *Namespace) prepare(lba, blocks layout.LBA) error {
	i := uint64(lba / n.ZoneSize)
	if lba+blocks > layout.LBA(i+1)*n.ZoneSize {
		return layout.Errorf(layout.ErrRange, "namespace %d: %d blocks at LBA %d are in two zones", n.ID, blocks, lba)
	}
	conventional, stale, torn, err := n.look(i)
	if err != nil || conventional {
		return err
	}
	if stale {
		if err := n.s.commitStale(n, i); err != nil {
			return err
		}
	}
	if stale || torn {
		if err := n.discard(i); err != nil {
			return err
		}
	}
	return n.reach(i, lba+blocks)
}

// look says whether zone i is conventional, whether the slots call more of it written than it is, and whether data
// beyond Written is to be discarded.
func (n *Namespace) look(i uint64) (conventional, stale, torn bool, err error) {
	defer n.s.unlock(n.s.lock(), &err)
	if n.s.failed != nil {
		return false, false, false, n.s.failed
	}
	z, _ := n.zone(i)
	return z.Type == layout.Conventional, n.stale.has(i), n.torn.has(i), nil
}

// tear says that a write at lba failed, and may have been done in part.
func (n *Namespace) tear(lba layout.LBA) {
	if n.Zoned() {
		n.s.mu.Lock()
		n.torn.set(uint64(lba / n.ZoneSize))
		n.s.mu.Unlock()
	}
}

// reach notes that there may be data in zone i up to block end.
func (n *Namespace) reach(i uint64, end layout.LBA) (err error) {
	defer n.s.unlock(n.s.lock(), &err)
	r := n.record(i)
	if r.load(wordReach) >= uint64(end) {
		return nil
	}
	r.store(wordReach, uint64(end))
	return n.wrote(i)
}

// discard makes zone i read as zeroes beyond Written, if there may be something else. The caller has the zone's lock,
// and the slots call nothing there written.
func (n *Namespace) discard(i uint64) error {
	z, err := n.Zone(i)
	if err != nil {
		return err
	}
	if err := n.punch(z.Written, layout.LBA(i+1)*n.ZoneSize-z.Written); err != nil {
		return err
	}
	return n.clean(i, z.Written)
}

func (n *Namespace) clean(i uint64, written layout.LBA) (err error) {
	defer n.s.unlock(n.s.lock(), &err)
	n.torn.clear(i)
	n.record(i).store(wordReach, uint64(written))
	return n.wrote(i)
}
