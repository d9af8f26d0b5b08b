package live

import (
	"errors"
	"fmt"
	"io/fs"

	"zimg/image"
	"zimg/image/disk"
	"zimg/image/zns"
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

// Recovered brings an image that was being served when its owner died into order: its zones are those that were
// answered, or after a power failure those of the last commit, and then as after a power cycle. The image becomes
// clean. im is open for writing (image.OpenUnclean). An image that is clean is left as it is.
func Recovered(im *image.Image, o Options) (Recovery, error) {
	if err := im.CheckZones(); err != nil {
		return Recovery{}, err
	}
	f, err := inspect(im, o, disk.ReadOnly)
	if err != nil || f.Source == Clean {
		return f.Recovery, err
	}
	if f.Source == Commits {
		if err := discardBeyond(im); err != nil {
			return f.Recovery, err
		}
		if err := putAtRest(im); err != nil {
			return f.Recovery, err
		}
		if err := im.EndSession(); err != nil {
			return f.Recovery, err
		}
		return f.Recovery, removeFile(im)
	}
	_ = f.file.Close() // Open opens it for writing
	s, err := Open(im, o)
	if err != nil {
		return f.Recovery, err
	}
	return s.recovery, s.Close()
}

func removeFile(im *image.Image) error {
	err := im.Files().FS.Remove(fileName(im))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// putAtRest puts the zones of im at rest.
func putAtRest(im *image.Image) error {
	for _, n := range im.Namespaces() {
		i := uint64(0)
		for z, err := range n.All(0, n.ZoneCount) {
			if err != nil {
				return err
			}
			if rest := zns.AtRest(n.Namespace, z); rest != z {
				if err := n.SetZone(i, rest); err != nil {
					return err
				}
			}
			i++
		}
	}
	return nil
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
