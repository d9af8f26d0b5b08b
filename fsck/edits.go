package fsck

import (
	"errors"
	"io/fs"

	"zimg/image/disk"
)

// apply writes what was repaired: first the undo file; then the data, as the
// image's mark still says that it is not to be trusted; then the metadata, in the one way that
// every commit goes, to one slot and then the other; leftover files last. A crash anywhere
// leaves an image that the same repair can be run on, and the undo file.
func (s *state) apply() error {
	if err := s.saveUndo(); err != nil {
		return err
	}
	if s.served {
		if err := s.commitServed(); err != nil {
			return err
		}
	}
	for _, d := range s.discard {
		if err := s.files.Data[d.file].PunchHole(d.off, d.len); err != nil {
			return err
		}
	}
	for _, t := range s.trim {
		if err := s.files.Data[t.file].Truncate(t.size); err != nil {
			return err
		}
	}
	if len(s.discard)+len(s.trim) > 0 {
		if err := s.im.SyncData(); err != nil {
			return err
		}
	}
	s.surgeon.AllowWrites()
	if err := s.surgeon.CommitBoth(); err != nil {
		return err
	}
	if s.locator {
		if err := s.surgeon.RewriteLocator(); err != nil {
			return err
		}
	}
	return removeAll(s.o.fs(), s.remove)
}

// removeAll removes files that may be gone already, durably.
func removeAll(fsys disk.FS, names []string) error {
	for _, name := range names {
		if err := fsys.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := fsys.SyncDir(name); err != nil {
			return err
		}
	}
	return nil
}
