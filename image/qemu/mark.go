package qemu

import (
	"errors"
	"os"
	"time"

	"zimg/image"
	"zimg/image/disk"
	"zimg/image/journal"
	"zimg/layout"
)

// begin writes the journals and marks the images as in use; from here on a
// crash needs a repair.
func (d *stock) begin() error {
	d.run = image.NewUUID()
	if err := d.mark(); err != nil {
		return errors.Join(err, d.abort())
	}
	d.began = true
	return nil
}

// mark writes down what the zones are like and marks the images as in use.
func (d *stock) mark() error {
	if err := d.beginTrace(); err != nil {
		return err
	}
	for _, im := range d.Images {
		session := layout.Session{ID: d.run, BootID: disk.BootID(), PID: uint32(os.Getpid()), Start: time.Now().UTC()}
		if err := im.BeginSession(session); err != nil {
			return err
		}
	}
	return nil
}

// unmark makes the error of a run that failed before its guest could do anything: the images are as they were.
func (d *stock) unmark(err error) error {
	if !d.began {
		return errors.Join(err, d.removeJournal())
	}
	d.began = false
	return errors.Join(err, d.abort())
}

// suspend takes the mark off until begin sets it again: the resets of another attempt to restore zones must not be
// in the journal of an image in use, where a repair would take them for the guest's.
func (d *stock) suspend() error {
	for _, im := range d.Images {
		if err := im.EndSession(); err != nil {
			return err
		}
	}
	d.began = false
	if d.trace == nil {
		return nil
	}
	d.endTrace()
	return d.trace.disable(d.session)
}

// abort takes the mark off again.
func (d *stock) abort() error {
	errs := []error{d.removeJournal()}
	for _, im := range d.Images {
		errs = append(errs, im.EndSession())
	}
	return errors.Join(errs...)
}

// removeJournal removes the journal of a run that has ended well, or has not begun.
func (d *stock) removeJournal() error {
	if d.trace == nil {
		return nil
	}
	errs := []error{d.closeTrace()}
	for _, im := range d.Images {
		errs = append(errs, journal.Remove(im.Files().FS, im.Path()))
	}
	return errors.Join(errs...)
}

// zeroTails are the zones that end in zeroes which take no space, with the end of
// their data: a journal distinguishes them from zones that were reset.
func zeroTails(im *image.Image) (map[layout.NSID]map[uint64]layout.LBA, error) {
	tails := map[layout.NSID]map[uint64]layout.LBA{}
	for _, n := range im.Namespaces() {
		if !n.Zoned() {
			continue
		}
		i := uint64(0)
		for z, err := range n.All(0, n.ZoneCount) {
			if err != nil {
				return nil, err
			}
			if z.Written > z.Start {
				end, err := image.ZoneAllocatedEnd(n.File(), n.Namespace, i)
				if err != nil {
					return nil, err
				}
				if end < z.Written {
					if tails[n.ID] == nil {
						tails[n.ID] = map[uint64]layout.LBA{}
					}
					tails[n.ID][i] = end
				}
			}
			i++
		}
	}
	return tails, nil
}
