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
func (s *session) begin() error {
	id := image.NewUUID()
	for _, im := range s.Images {
		if err := s.beginImage(im, id); err != nil {
			return errors.Join(err, s.abort())
		}
	}
	s.began = true
	if s.traceFile() == "" {
		return nil
	}
	zoned := 0
	for _, n := range s.Images[0].Namespaces() {
		if n.Zoned() {
			zoned++
		}
	}
	events := journal.TraceEvents(zoned)
	if s.Record != nil {
		events = append(events, s.Record.TraceEvents...)
	}
	for _, event := range events {
		// Not every QEMU has every event: what one does not trace the data must tell.
		err := s.qmp.Do("trace-event-set-state", map[string]any{"name": event, "enable": true, "ignore-unavailable": true}, nil)
		var refused *QMPError
		if err != nil && !errors.As(err, &refused) {
			return errors.Join(err, s.abort())
		}
	}
	return nil
}

// linkTrace has QEMU's trace, which a repair looks for beside the image and which goes with
// the session, lie in the recording, where it stays.
func (s *session) linkTrace() error {
	link := s.traceFile()
	if s.Record == nil || link == "" {
		return nil
	}
	if err := os.Remove(link); err != nil && !errors.Is(err, os.ErrNotExist) { // of a run long ago
		return err
	}
	return os.Symlink(s.Record.Trace, link)
}

func (s *session) beginImage(im *image.Image, id [16]byte) error {
	if s.traceFile() != "" {
		ends, err := zeroTails(im)
		if err != nil {
			return err
		}
		if err := journal.Write(im.Files().FS, im.Path(), id, ends); err != nil {
			return err
		}
	}
	return im.BeginSession(layout.Session{ID: id, BootID: disk.BootID(), PID: uint32(os.Getpid()), Start: time.Now().UTC()})
}

// abort takes the mark off again before the guest has run.
func (s *session) abort() error {
	var errs []error
	for _, im := range s.Images {
		errs = append(errs, im.EndSession())
		if s.traceFile() != "" {
			errs = append(errs, journal.Remove(im.Files().FS, im.Path()))
		}
	}
	return errors.Join(errs...)
}

// zeroTails are the zones that end in zeroes which take no space, with the end of
// their data: a journal tells them from zones that were reset.
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
				end, err := image.ZoneDataEnd(n.File(), n.Namespace, i)
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
