package live

import (
	"fmt"

	"zimg/image"
	"zimg/image/disk"
	"zimg/layout"
)

// found is what inspect finds; file is open if the source is Records.
type found struct {
	Recovery
	file disk.File
}

// inspect finds out where the truth about the zones of im is.
func inspect(im *image.Image, o Options, mode disk.Mode) (f found, err error) {
	h := im.Header()
	switch {
	case h.Flags&layout.Clean != 0:
		return f, nil
	case h.Flags&layout.InUse == 0 || h.Session.Kind != layout.Served:
		return f, layout.Errorf(image.ErrUnclean, "%s was neither closed cleanly nor served", im.Path())
	}
	boot := o.bootID()
	if boot != h.Session.BootID || boot == [16]byte{} {
		f.Source, f.Reason = Commits, "the computer was restarted"
		return f, nil
	}
	f.file, f.Reason, err = readFile(im, boot, mode)
	switch {
	case err != nil:
		return f, err
	case f.Reason == "":
	case f.Reason == reasonLost || f.Reason == reasonCopy || o.LoseUnflushed:
		f.Source = Commits
		return f, nil
	default:
		return f, fmt.Errorf("%s: its server was killed, and %s: %w", im.Path(), f.Reason, ErrNoRecords)
	}
	f.Source = Records
	return f, nil
}

// discardBeyond discards all data that the slots do not call written, and syncs: after a power failure it is whatever
// the disk has kept of writes that were not flushed. Zones side by side are discarded in one go.
func discardBeyond(im *image.Image) error {
	for _, n := range im.Namespaces() {
		var from, to layout.LBA
		discard := func() error {
			if from == to {
				return nil
			}
			return punchBlocks(n, from, to)
		}
		i := uint64(0)
		for z, err := range n.All(0, n.ZoneCount) {
			if err != nil {
				return err
			}
			if z.Written != to || z.Type == layout.Conventional {
				if err := discard(); err != nil {
					return err
				}
				from = z.Written
			}
			to = layout.LBA(i+1) * n.ZoneSize
			if z.Type == layout.Conventional {
				from = to
			}
			i++
		}
		if err := discard(); err != nil {
			return err
		}
	}
	return im.SyncData()
}

// punchBlocks discards the blocks of [from, to) and their metadata.
func punchBlocks(n *image.Namespace, from, to layout.LBA) error {
	if err := n.File().PunchHole(int64(n.DataOff+n.ByteOff(from)), int64(n.ByteOff(to-from))); err != nil {
		return err
	}
	ms := layout.Bytes(n.MS)
	if ms == 0 {
		return nil
	}
	return n.File().PunchHole(int64(n.DataOff+n.MetadataOff()+layout.Bytes(from)*ms), int64(layout.Bytes(to-from)*ms))
}
