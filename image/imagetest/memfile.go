package imagetest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"syscall"

	"zimg/image/disk"
)

// memFile is an open file of a MemFS.
type memFile struct {
	fs       *MemFS
	ino      *inode
	name     string
	writable bool
	closed   bool
}

// use begins a call: it fails when the power is gone or the file closed. The
// caller holds the lock.
func (f *memFile) use(op string) error {
	if err := f.fs.lost(op, f.name); err != nil {
		return err
	}
	if f.closed {
		return pathError(op, f.name, fs.ErrClosed)
	}
	return nil
}

func (f *memFile) useWrite(op string, off, length int64) error {
	if err := f.use(op); err != nil {
		return err
	}
	if !f.writable {
		return pathError(op, f.name, syscall.EBADF)
	}
	return checkRange(op, f.name, off, length)
}

func checkRange(op, name string, off, length int64) error {
	if off < 0 || length < 0 || off+length < 0 {
		return pathError(op, name, fmt.Errorf("range %d+%d: %w", off, length, syscall.EINVAL))
	}
	return nil
}

func (f *memFile) Name() string { return f.name }

func (f *memFile) ReadAt(b []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := errors.Join(f.use("read"), checkRange("read", f.name, off, int64(len(b)))); err != nil {
		return 0, err
	}
	n, err := f.ino.now.readAt(b, off)
	if off < int64(len(f.ino.mapped)) {
		copy(b[:n], f.ino.mapped[off:])
	}
	f.fs.count.Reads++
	f.fs.count.ReadBytes += int64(n)
	return n, err
}

func (f *memFile) WriteAt(b []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.useWrite("write", off, int64(len(b))); err != nil {
		return 0, err
	}
	if len(b) == 0 {
		return 0, nil
	}
	end := off + int64(len(b))
	f.fs.step(OpWrite, f.name, off, int64(len(b)))
	f.fs.count.Writes++
	f.fs.count.Blocks += (end+PageSize-1)/PageSize - off/PageSize
	c := change{off: off, end: end, data: slices.Clone(b), size: same}
	if end > f.ino.now.size {
		c.size = end
	}
	f.change(c)
	if err := f.fs.lost("write", f.name); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (f *memFile) change(c change) {
	f.ino.pending = append(f.ino.pending, c)
	c.apply(f.ino.now, everything)
	if c.data != nil && c.off < int64(len(f.ino.mapped)) {
		copy(f.ino.mapped[c.off:], c.data)
	}
}

func (f *memFile) Close() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.closed {
		return pathError("close", f.name, fs.ErrClosed)
	}
	f.closed = true
	delete(f.ino.locks, f)
	return f.fs.lost("close", f.name)
}

func (f *memFile) Size() (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return f.ino.now.size, f.use("stat")
}

func (f *memFile) Truncate(size int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.useWrite("truncate", 0, size); err != nil {
		return err
	}
	f.fs.step(OpTruncate, f.name, size, 0)
	f.change(change{size: size})
	return f.fs.lost("truncate", f.name)
}

func (f *memFile) Sync() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.use("sync"); err != nil {
		return err
	}
	f.fs.step(OpSync, f.name, 0, 0)
	if err := f.fs.lost("sync", f.name); err != nil {
		return err
	}
	f.fs.count.Syncs++
	f.ino.unmapped()
	for _, c := range f.ino.pending {
		c.apply(f.ino.durable, everything)
	}
	f.ino.pending = nil
	return nil
}

func (f *memFile) PunchHole(off, length int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.useWrite("punch", off, length); err != nil {
		return err
	}
	if length == 0 {
		return nil
	}
	f.fs.step(OpPunch, f.name, off, length)
	f.change(change{off: off, end: off + length, size: same})
	return f.fs.lost("punch", f.name)
}

// Release is PunchHole.
func (f *memFile) Release(off, length int64) error { return f.PunchHole(off, length) }

// Allocate grows the file if need be. It reserves nothing: memory has no
// space to run out of (FaultFS has ENOSPC).
func (f *memFile) Allocate(off, length int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.useWrite("allocate", off, length); err != nil {
		return err
	}
	f.fs.step(OpAllocate, f.name, off, length)
	if end := off + length; end > f.ino.now.size {
		f.change(change{size: end})
	}
	return f.fs.lost("allocate", f.name)
}

// Reserve does nothing: memory has no space to run out of (FaultFS has ENOSPC).
func (f *memFile) Reserve(off, length int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return f.useWrite("reserve", off, length)
}

func (f *memFile) Stat() (fs.FileInfo, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.use("stat"); err != nil {
		return nil, err
	}
	return f.ino.info(f.name), nil
}

// SetAccess is durable at once: no commit leans on it.
func (f *memFile) SetAccess(a disk.Access) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.use("setaccess"); err != nil {
		return err
	}
	f.ino.access.Mode = a.Mode.Perm()
	if a.Owned {
		f.ino.access = a
	}
	return nil
}

func (f *memFile) SeekData(off int64) (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := errors.Join(f.use("seek"), checkRange("seek", f.name, off, 0)); err != nil {
		return 0, err
	}
	return f.ino.now.seekData(off)
}

func (f *memFile) SeekHole(off int64) (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := errors.Join(f.use("seek"), checkRange("seek", f.name, off, 0)); err != nil {
		return 0, err
	}
	return f.ino.now.seekHole(off)
}

// Lock is as strict as the real one: readers share, a writer is alone. A lock
// that is refused leaves the one held before.
func (f *memFile) Lock(mode disk.LockMode) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.use("lock"); err != nil {
		return err
	}
	if mode == disk.LockNone {
		delete(f.ino.locks, f)
		return nil
	}
	for other, held := range f.ino.locks {
		if other != f && (mode == disk.LockWrite || held == disk.LockWrite) {
			return pathError("lock", f.name, disk.ErrLocked)
		}
	}
	f.ino.locks[f] = mode
	return nil
}

func (f *memFile) AllocatedBytes() (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return f.ino.now.allocated(), f.use("stat")
}

// CopyFrom makes a write of each MiB at most, and leaves out holes.
func (f *memFile) CopyFrom(src disk.File, srcOff, off, length int64, progress func(n int64) error) error {
	return disk.CopyByHand(f, src, srcOff, off, length, progress)
}

// Map gives memory that is shared by all mappings of the file and by its reads. What is stored there reaches the disk
// as if the system wrote it whenever it likes: after a power cut each sector is as it was last synced, or as it is now.
func (f *memFile) Map(length int64) (*disk.Mapping, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.useWrite("map", 0, length); err != nil {
		return nil, err
	}
	if length > f.ino.now.size {
		return nil, pathError("map", f.name, syscall.EINVAL)
	}
	if int64(len(f.ino.mapped)) < length {
		b := make([]byte, length)
		if _, err := f.ino.now.readAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		copy(b, f.ino.mapped)
		f.ino.mapped = b
	}
	return disk.NewMapping(f.ino.mapped[:length:length], nil), nil
}

// unmapped brings what was stored in mappings into the contents that were written.
func (ino *inode) unmapped() {
	if len(ino.mapped) > 0 {
		c := change{end: int64(len(ino.mapped)), data: slices.Clone(ino.mapped), size: same}
		ino.pending = append(ino.pending, c)
		c.apply(ino.now, everything)
	}
}
