package image

import (
	"zimg/image/disk"
	"zimg/layout"
)

// File is the data file that n is in; its bytes begin at DataOff.
func (n *Namespace) File() disk.File { return n.im.files.Data[n.DataFile] }

// inside checks that length bytes from off are bytes of the namespace's blocks.
func (n *Namespace) inside(off, length int64) error {
	if off < 0 || length < 0 || off > int64(n.Size())-length {
		return layout.Errorf(layout.ErrRange, "namespace %d has %d bytes; there are no %d bytes at %d", n.ID, n.Size(), length, off)
	}
	return nil
}

// ReadAt reads what the guest sees: off is in bytes from the start of the
// namespace. Zone rules are not its business.
func (n *Namespace) ReadAt(p []byte, off int64) (int, error) {
	if err := n.inside(off, int64(len(p))); err != nil {
		return 0, err
	}
	if err := readFull(n.File(), p, int64(n.DataOff)+off); err != nil {
		return 0, err
	}
	return len(p), nil
}

// WriteAt writes as ReadAt reads.
func (n *Namespace) WriteAt(p []byte, off int64) (int, error) {
	if err := n.inside(off, int64(len(p))); err != nil {
		return 0, err
	}
	return n.File().WriteAt(p, int64(n.DataOff)+off)
}

// DiscardZone makes zone i read as zeroes from block `from` on, and gives its
// space back: the data of the whole zone size, beyond the capacity too, and its
// per-block metadata.
func (n *Namespace) DiscardZone(i uint64, from layout.LBA) error {
	if err := n.CheckZoneNumber(i); err != nil {
		return err
	}
	end := layout.LBA(i+1) * n.ZoneSize
	if start := layout.LBA(i) * n.ZoneSize; from < start || from > end {
		return layout.Errorf(layout.ErrRange, "block %d is not in zone %d", from, i)
	}
	return n.discard(from, end, disk.File.PunchHole)
}

// discard punches the data and the metadata of the blocks from from to end.
func (n *Namespace) discard(from, end layout.LBA, punch func(f disk.File, off, length int64) error) error {
	if from == end {
		return nil
	}
	if err := punch(n.File(), int64(n.DataOff+n.ByteOff(from)), int64(n.ByteOff(end-from))); err != nil {
		return err
	}
	if n.MS == 0 {
		return nil
	}
	ms := layout.Bytes(n.MS)
	return punch(n.File(), int64(n.DataOff+n.MetadataOff()+layout.Bytes(from)*ms), int64(layout.Bytes(end-from)*ms))
}

// SyncData makes the data area durable.
func (im *Image) SyncData() error {
	for _, f := range im.files.Data {
		if err := f.Sync(); err != nil {
			return &SyncError{err}
		}
	}
	return nil
}
