package disk

import (
	"errors"

	"golang.org/x/sys/unix"
)

// QEMU's permissions on an image, in the order of their lock bytes. A process
// has a shared lock on byte 100 + p if it holds permission p, and on byte 200 + p if it lets
// nobody else hold it. All locks are shared ones; who needs to know whether another
// has one asks whether an exclusive lock could be had.
const (
	permConsistentRead = iota
	permWrite
	permWriteUnchanged
	permResize
	permCount

	heldByte     = 100
	unsharedByte = 200
)

var permNames = [permCount]string{"consistent read", "write", "write unchanged", "resize"}

// checkOrder begins with the permission that a user understands best in a message
// of a conflict.
var checkOrder = [permCount]int{permWrite, permResize, permWriteUnchanged, permConsistentRead}

// locking says that a lock keeps other processes out.
const locking = true

// perms is a set of permissions.
type perms [permCount]bool

// lockPerms says what a mode holds and what it does not share. A writer does not
// share consistent-read either: qemu-img reads a raw file beside a writer, and
// would copy a zone while it changes. (qemu-img info reads nothing of one and takes no lock.)
func lockPerms(mode LockMode) (held, unshared perms) {
	switch mode {
	case LockRead:
		held[permConsistentRead] = true
		unshared[permWrite], unshared[permResize] = true, true
	case LockWrite:
		held[permConsistentRead], held[permWrite], held[permResize] = true, true, true
		unshared[permConsistentRead], unshared[permWrite], unshared[permResize] = true, true, true
	case LockNone:
	}
	return held, unshared
}

// tryLock sets every byte anew, also when mode is the one held already: a QEMU that
// was given the descriptor shares the lock and gives bytes of it back when it ends.
// If the lock cannot be had, the one held before is held again.
func (f *osFile) tryLock(mode LockMode) error {
	err := f.setLock(mode)
	if err == nil {
		err = f.conflict(mode)
	}
	if err != nil {
		return errors.Join(err, f.setLock(f.locked))
	}
	f.locked = mode
	return nil
}

// setLock takes the bytes of mode and gives back the others. Taking comes first, so
// that going from one mode to another leaves no gap.
func (f *osFile) setLock(mode LockMode) error {
	held, unshared := lockPerms(mode)
	for _, want := range []bool{true, false} {
		kind := int16(unix.F_UNLCK)
		if want {
			kind = unix.F_RDLCK
		}
		for p := range permCount {
			if held[p] == want {
				if err := f.lockByte(kind, heldByte+p, p, false); err != nil {
					return err
				}
			}
			if unshared[p] == want {
				if err := f.lockByte(kind, unsharedByte+p, p, true); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (f *osFile) lockByte(kind int16, at, perm int, shared bool) error {
	lock := unix.Flock_t{Type: kind, Start: int64(at), Len: 1}
	err := again(func() error { return unix.FcntlFlock(f.file.Fd(), unix.F_OFD_SETLK, &lock) })
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EACCES):
		return &LockError{Name: f.Name(), Perm: permNames[perm], Shared: shared}
	}
	return pathError("lock", f.Name(), err)
}

// conflict looks for a process that does not share what we hold, or holds what
// we do not share. We have our own bytes by now, so of two that come at once at least one sees
// the other.
func (f *osFile) conflict(mode LockMode) error {
	held, unshared := lockPerms(mode)
	for _, p := range checkOrder {
		if held[p] {
			if err := f.checkByte(unsharedByte+p, p, false); err != nil {
				return err
			}
		}
		if unshared[p] {
			if err := f.checkByte(heldByte+p, p, true); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *osFile) checkByte(at, perm int, shared bool) error {
	lock := unix.Flock_t{Type: unix.F_WRLCK, Start: int64(at), Len: 1}
	if err := again(func() error { return unix.FcntlFlock(f.file.Fd(), unix.F_OFD_GETLK, &lock) }); err != nil {
		return pathError("lock", f.Name(), err)
	}
	if lock.Type != unix.F_UNLCK {
		return &LockError{Name: f.Name(), Perm: permNames[perm], Shared: shared}
	}
	return nil
}
