package disk

import (
	"errors"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	cloneAlign = 4096     // what every file system that clones wants at least
	cloneChunk = 1 << 30  // bytes cloned between two calls of progress
	moveChunk  = 16 << 20 // bytes of one copy_file_range
)

// again repeats a call that a signal interrupted, as package os does.
func again(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// cannot reports whether err says that the call is not for this file, so that
// a slower way may do.
func cannot(err error) bool {
	for _, e := range []error{
		unix.EOPNOTSUPP, unix.ENOSYS, unix.EINVAL, unix.ENODEV, unix.EXDEV,
		unix.ENOTTY, unix.EPERM, unix.ETXTBSY, unix.EBADF,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func (f *osFile) fd() int { return int(f.file.Fd()) }

// Sync need not write the times of the file, so fdatasync does.
func (f *osFile) Sync() error {
	if err := again(func() error { return unix.Fdatasync(f.fd()) }); err != nil {
		return pathError("sync", f.Name(), err)
	}
	return nil
}

func (f *osFile) fallocate(mode uint32, off, length int64) error {
	err := again(func() error { return unix.Fallocate(f.fd(), mode, off, length) })
	switch {
	case err == nil:
		return nil
	case cannot(err):
		return ErrUnsupported
	}
	return pathError("fallocate", f.Name(), err)
}

func (f *osFile) punch(off, length int64) error {
	err := f.fallocate(unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, length)
	if errors.Is(err, ErrUnsupported) {
		err = f.fallocate(unix.FALLOC_FL_ZERO_RANGE|unix.FALLOC_FL_KEEP_SIZE, off, length)
	}
	return err
}

func (f *osFile) Allocate(off, length int64) error {
	if f.device {
		return pathError("fallocate", f.Name(), ErrUnsupported)
	}
	if length == 0 { // fallocate says EINVAL
		return nil
	}
	err := f.fallocate(0, off, length)
	if errors.Is(err, ErrUnsupported) {
		return pathError("fallocate", f.Name(), err)
	}
	return err
}

func (f *osFile) Reserve(off, length int64) error {
	if f.device || length == 0 {
		return nil
	}
	err := f.fallocate(unix.FALLOC_FL_KEEP_SIZE, off, length)
	if errors.Is(err, ErrUnsupported) {
		return pathError("fallocate", f.Name(), err)
	}
	return err
}

func (f *osFile) SeekData(off int64) (int64, error) {
	at, err := f.seek(off, unix.SEEK_DATA)
	if errors.Is(err, ErrUnsupported) {
		return f.seekDense(off)
	}
	return at, err
}

func (f *osFile) SeekHole(off int64) (int64, error) {
	at, err := f.seek(off, unix.SEEK_HOLE)
	if errors.Is(err, ErrUnsupported) {
		return f.seekDenseEnd(off)
	}
	return at, err
}

func (f *osFile) seek(off int64, whence int) (int64, error) {
	at, err := unix.Seek(f.fd(), off, whence)
	switch {
	case err == nil:
		return at, nil
	case errors.Is(err, unix.ENXIO) && off >= 0:
		return 0, io.EOF
	case errors.Is(err, unix.EINVAL):
		return 0, ErrUnsupported
	}
	return 0, pathError("seek", f.Name(), err)
}

func (f *osFile) AllocatedBytes() (int64, error) {
	if f.device {
		return f.Size()
	}
	info, err := f.file.Stat()
	if err != nil {
		return 0, err
	}
	return info.Sys().(*syscall.Stat_t).Blocks * 512, nil
}

func renameNoReplace(oldname, newname string) error {
	err := again(func() error {
		return unix.Renameat2(unix.AT_FDCWD, oldname, unix.AT_FDCWD, newname, unix.RENAME_NOREPLACE)
	})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EINVAL):
		return ErrUnsupported
	}
	return &os.LinkError{Op: "rename", Old: oldname, New: newname, Err: err}
}

func (f *osFile) copyFrom(src *osFile, srcOff, off, length int64, progress func(n int64) error) error {
	done, err := f.clone(src, srcOff, off, length, progress)
	if err != nil {
		return err
	}
	move, end := f.directMover(src, f.kernelMover(src))
	defer end()
	return copyExtents(src, srcOff+done, off+done, length-done, move, progress)
}

// clone shares the blocks of as much of the range as possible and returns how much that was.
func (f *osFile) clone(src *osFile, srcOff, off, length int64, progress func(n int64) error) (done int64, err error) {
	if f.device || src.device || srcOff%cloneAlign != 0 || off%cloneAlign != 0 {
		return 0, nil
	}
	for whole := length / cloneAlign * cloneAlign; done < whole; {
		n := min(whole-done, cloneChunk)
		err := again(func() error {
			return unix.IoctlFileCloneRange(f.fd(), &unix.FileCloneRange{
				Src_fd: int64(src.fd()), Src_offset: uint64(srcOff + done), Src_length: uint64(n), Dest_offset: uint64(off + done),
			})
		})
		if err != nil { // if it is serious, the copy will meet it too
			return done, nil //nolint:nilerr // see above
		}
		done += n
		if progress != nil {
			if err := progress(n); err != nil {
				return done, err
			}
		}
	}
	return done, nil
}

// kernelMover uses copy_file_range until that says no, and then copies by hand.
func (f *osFile) kernelMover(src *osFile) mover {
	byHand := handMover(f, src)
	refused := f.device || src.device
	return func(srcOff, off, n int64) (int64, error) {
		if refused {
			return byHand(srcOff, off, n)
		}
		from, to, moved := srcOff, off, 0
		err := again(func() (err error) {
			moved, err = unix.CopyFileRange(src.fd(), &from, f.fd(), &to, int(min(n, moveChunk)), 0)
			return err
		})
		switch {
		case err == nil && moved > 0:
			return int64(moved), nil
		case err == nil, cannot(err): // some file systems say 0 for what they cannot
			refused = true
			return byHand(srcOff, off, n)
		}
		return 0, pathError("copy to", f.Name(), err)
	}
}
