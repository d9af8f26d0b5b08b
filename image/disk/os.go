package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

// OS is the operating system's file system. Its files have a method
// Fd() uintptr for handing them to another process; a descriptor made from it with
// dup shares the locks.
var OS FS = osFS{}

type osFS struct{}

// osFile is a regular file or a block device.
type osFile struct {
	file   *os.File
	device bool
	locked LockMode
	wait   *patience // nil: a lock that another process holds is an error at once
	handed bool      // Fd was called: another process may rely on the lock
}

// Open refuses what is neither a regular file nor a block device, and does so
// before opening it: the opening of a FIFO waits for its other end.
func (osFS) Open(name string, mode Mode, perm fs.FileMode) (File, error) {
	flag := os.O_RDONLY
	switch mode {
	case ReadOnly:
	case ReadWrite:
		flag = os.O_RDWR
	case CreateNew:
		flag = os.O_RDWR | os.O_CREATE | os.O_EXCL
	}
	if mode != CreateNew {
		info, err := os.Stat(name)
		if err != nil {
			return nil, err
		}
		if err := usable(info.Mode()); err != nil {
			return nil, pathError("open", name, err)
		}
	}
	file, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil {
		err = usable(info.Mode())
	}
	if err != nil {
		_ = file.Close()
		return nil, pathError("open", name, err)
	}
	return &osFile{file: file, device: !info.Mode().IsRegular()}, nil
}

func usable(mode fs.FileMode) error {
	switch {
	case mode.IsDir():
		return syscall.EISDIR
	case mode.IsRegular(), mode&fs.ModeDevice != 0 && mode&fs.ModeCharDevice == 0:
		return nil
	case mode&fs.ModeNamedPipe != 0:
		return errors.New("a FIFO, not a regular file or block device")
	case mode&fs.ModeSocket != 0:
		return errors.New("a socket, not a regular file or block device")
	}
	return errors.New("not a regular file or block device")
}

func pathError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// SameFile reports whether a and b describe the same file.
func SameFile(a, b fs.FileInfo) bool {
	if s, ok := a.(interface{ SameFile(fs.FileInfo) bool }); ok { // of another file system
		return s.SameFile(b)
	}
	return os.SameFile(a, b)
}

func (osFS) Stat(name string) (fs.FileInfo, error) { return os.Stat(name) }

// Readlink is for Resolve.
func (osFS) Readlink(name string) (string, error) { return os.Readlink(name) }

func (osFS) Lstat(name string) (fs.FileInfo, error) { return os.Lstat(name) }

func (osFS) Rename(oldname, newname string) error {
	return renameError(newname, os.Rename(oldname, newname))
}

// renameError is err, of a rename, as an error of the new name: the old one is a temporary name, which no user knows.
func renameError(newname string, err error) error {
	var link *os.LinkError
	if errors.As(err, &link) {
		return pathError("rename", newname, link.Err)
	}
	return err
}

func (osFS) RenameNew(oldname, newname string) error {
	err := renameNoReplace(oldname, newname)
	if errors.Is(err, ErrUnsupported) {
		err = renameByLink(oldname, newname)
	}
	return renameError(newname, err)
}

// renameByLink lets link find out whether newname is free, since that is
// atomic too. Where there are no links there is a moment between looking and renaming.
func renameByLink(oldname, newname string) error {
	err := os.Link(oldname, newname)
	if err == nil {
		return os.Remove(oldname)
	}
	if errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := os.Lstat(newname); err == nil {
		return &os.LinkError{Op: "rename", Old: oldname, New: newname, Err: fs.ErrExist}
	}
	return os.Rename(oldname, newname)
}

func (osFS) Remove(name string) error { return os.Remove(name) }

// isFolder refuses what is no folder before it is opened: to open a FIFO would wait for a writer.
func isFolder(path string) error {
	info, err := os.Stat(path)
	if err == nil && !info.IsDir() {
		err = pathError("open", path, syscall.ENOTDIR)
	}
	return err
}

func (osFS) List(dir string) ([]string, error) {
	if err := isFolder(dir); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

func (osFS) Mkdir(name string, a Access) error { return mkdir(name, a) }

func (osFS) SyncDir(name string) error {
	if runtime.GOOS == "windows" { // cannot sync a directory and need not
		return nil
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	err = dir.Sync()
	if errors.Is(err, syscall.EINVAL) { // a file system that has nothing to sync there
		err = nil
	}
	return errors.Join(err, dir.Close())
}

// Fd is the descriptor, valid until Close. Whoever has a duplicate of it keeps the lock, also after Close.
func (f *osFile) Fd() uintptr {
	f.handed = true
	return f.file.Fd()
}

func (f *osFile) Name() string { return f.file.Name() }

func (f *osFile) ReadAt(b []byte, off int64) (int, error) { return f.file.ReadAt(b, off) }

func (f *osFile) WriteAt(b []byte, off int64) (int, error) { return f.file.WriteAt(b, off) }

// Close gives the lock back before it closes the file. A program that this process is just starting has all our
// descriptors until it calls exec, and with a descriptor the lock: closing ours alone would leave the file locked for
// that long.
func (f *osFile) Close() error {
	if f.locked != LockNone && !f.handed {
		_ = f.Lock(LockNone) // if that fails, closing does it
	}
	return f.file.Close()
}

func (f *osFile) Stat() (fs.FileInfo, error) { return f.file.Stat() }

// SetAccess leaves a device as it is.
func (f *osFile) SetAccess(a Access) error {
	if f.device {
		return nil
	}
	return setAccess(f.file, a)
}

// Size asks a device by seeking to its end, which gives the same number as
// BLKGETSIZE64 and works everywhere. All I/O is by offset, so the file's position is free.
func (f *osFile) Size() (int64, error) {
	if f.device {
		return f.file.Seek(0, io.SeekEnd)
	}
	info, err := f.file.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f *osFile) Truncate(size int64) error {
	if !f.device {
		return f.file.Truncate(size)
	}
	have, err := f.Size()
	if err == nil && have != size {
		err = pathError("truncate", f.Name(), fmt.Errorf("cannot resize a block device from %d to %d bytes: %w", have, size, ErrUnsupported))
	}
	return err
}

// PunchHole tries what the system offers, and in the end writes zeroes.
func (f *osFile) PunchHole(off, length int64) error {
	err := f.Release(off, length)
	if !errors.Is(err, ErrUnsupported) {
		return err
	}
	size, err := f.Size()
	if err != nil {
		return err
	}
	return f.writeZeroes(off, off+min(length, size-off))
}

// Release makes a hole within the file.
func (f *osFile) Release(off, length int64) error {
	size, err := f.Size()
	if err != nil {
		return err
	}
	if off < 0 || length < 0 {
		return pathError("punch", f.Name(), syscall.EINVAL)
	}
	if off >= size || length == 0 {
		return nil
	}
	return f.punch(off, min(length, size-off))
}

// writeZeroes leaves out what is a hole already.
func (f *osFile) writeZeroes(off, end int64) error {
	zeroes := make([]byte, min(end-off, copyChunk))
	for off < end {
		data, err := f.SeekData(off)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		hole, err := f.SeekHole(data)
		if err != nil {
			return err
		}
		for off = data; off < min(hole, end); {
			n, err := f.file.WriteAt(zeroes[:min(min(hole, end)-off, int64(len(zeroes)))], off)
			if err != nil {
				return err
			}
			off += int64(n)
		}
	}
	return nil
}

// seekDense is SeekData where holes are not reported.
func (f *osFile) seekDense(off int64) (int64, error) {
	size, err := f.Size()
	if err == nil && off >= size {
		err = io.EOF
	}
	return off, err
}

// seekDenseEnd is SeekHole where holes are not reported.
func (f *osFile) seekDenseEnd(off int64) (int64, error) {
	if _, err := f.seekDense(off); err != nil {
		return 0, err
	}
	return f.Size()
}

func (f *osFile) CopyFrom(src File, srcOff, off, length int64, progress func(n int64) error) error {
	switch from := src.(type) {
	case *osFile:
		return f.copyFrom(from, srcOff, off, length, progress)
	case scratchFile:
		return f.copyFrom(from.osFile, srcOff, off, length, progress)
	}
	return CopyByHand(f, src, srcOff, off, length, progress) // a zoned device reads in its own way
}
