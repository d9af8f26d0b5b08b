package image

import (
	"errors"
	"fmt"

	"zimg/image/disk"
	"zimg/layout"
)

// Condition is how an image was left, or that somebody has it.
type Condition int

// The conditions of an image.
const (
	// Sound: the zones are as they were left.
	Sound Condition = iota
	// InUse: a run or a served drive has the image; its zones are in the memory of that.
	InUse
	// Crashed: a run or a served drive died that had the image. The zones are those of before it.
	Crashed
	// Interrupted: a command was interrupted that was changing the image.
	Interrupted
)

// String is the condition in JSON.
func (c Condition) String() string {
	return [...]string{"clean", "in-use", "crashed", "interrupted"}[c]
}

// Condition says how the image was left. Who holds a lock on it keeps those out that have it in use; without one, it is
// the locks of others show whether they are alive.
func (im *Image) Condition() (Condition, error) { return im.files.condition(im.hdr.Flags) }

func (f *Files) condition(flags layout.StateFlags) (Condition, error) {
	switch {
	case flags&layout.InUse != 0:
		held, err := f.HeldByWriter()
		if err != nil || !held {
			return Crashed, err
		}
		return InUse, nil
	case flags&layout.Clean == 0:
		return Interrupted, nil
	}
	return Sound, nil
}

// CheckClean refuses an image that was not closed cleanly: the error wraps ErrUnclean and is a *RepairError.
func (im *Image) CheckClean() error {
	if im.hdr.Flags&layout.Clean != 0 {
		return nil
	}
	return needsRepair(im.files, im.path, fmt.Errorf("%s: %w", im.path, ErrUnclean))
}

// HeldByWriter reports whether somebody else has the image for writing.
func (f *Files) HeldByWriter() (bool, error) {
	if f.lock != disk.LockNone {
		return false, nil
	}
	err := f.Meta.Lock(disk.LockRead)
	if errors.Is(err, disk.ErrLocked) {
		return true, nil
	}
	return false, errors.Join(err, f.Meta.Lock(disk.LockNone))
}

// Warning is a line that a reader of the image should see: that its zones are not the newest. It is empty for an image that
// is sound.
func (im *Image) Warning() (string, error) {
	c, err := im.Condition()
	switch c {
	case InUse:
		return fmt.Sprintf("%s is in use by pid %d; its zones may have changed since", im.path, im.hdr.Session.PID), err
	case Crashed:
		switch {
		case im.ShowsOthers():
			return fmt.Sprintf("%s: pid %d, which served it, was killed; these are the zones that it left", im.path, im.hdr.Session.PID), err
		case im.hdr.Session.Kind == layout.Served:
			return fmt.Sprintf("%s: the last service was interrupted; these are the zones of its last flush", im.path), err
		}
		return fmt.Sprintf("%s: the last run was interrupted; these are the zones before that run", im.path), err
	case Interrupted:
		return fmt.Sprintf("%s: a command was interrupted while changing the image", im.path), err
	case Sound:
	}
	return "", err
}
