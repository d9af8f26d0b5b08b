package imagetest

import (
	"fmt"
	"io/fs"
	"sync"

	"zimg/image/disk"
)

// FaultFS passes everything on to another disk.FS, except that one call fails.
// Every method of FS and File counts as a call, but for Name. A test does its work
// once to learn Calls(), then again with FailAt(n, err) for each n.
type FaultFS struct {
	under disk.FS

	mu     sync.Mutex
	calls  int
	failAt int
	err    error
	short  bool
	sticky bool
	hit    string
	before func(call int, op, name string)
}

var _ disk.FS = (*FaultFS)(nil)

// NewFaultFS returns an FS that fails nothing yet.
func NewFaultFS(under disk.FS) *FaultFS { return &FaultFS{under: under} }

// FailAt makes call n (from 1) return err; what it was to do is not done, but a
// Close still closes. Calls after it work again.
func (f *FaultFS) FailAt(n int, err error) { f.plan(n, err, false, false) }

// FailFrom makes call n and all after it return err, as a disk that stays full
// or is gone. Close still closes.
func (f *FaultFS) FailFrom(n int, err error) { f.plan(n, err, false, true) }

// ShortAt is FailAt, but if call n is a WriteAt or ReadAt of more than one byte,
// its first half is done.
func (f *FaultFS) ShortAt(n int, err error) { f.plan(n, err, true, false) }

func (f *FaultFS) plan(n int, err error, short, sticky bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failAt, f.err, f.short, f.sticky, f.hit = n, err, short, sticky, ""
}

// Before has fn called before every call from now on, with its number, what it does and the file that it is for: so
// that something else can happen at every moment of a piece of work.
func (f *FaultFS) Before(fn func(call int, op, name string)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before = fn
}

// Calls is the number of calls so far.
func (f *FaultFS) Calls() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

// Hit says which call failed first, as "write NAME"; empty if none has.
func (f *FaultFS) Hit() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hit
}

// call counts, and returns the error this call is to fail with.
func (f *FaultFS) call(op, name string) error {
	f.mu.Lock()
	n, before := f.calls+1, f.before
	f.mu.Unlock()
	if before != nil {
		before(n, op, name)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	if f.calls != f.failAt && (!f.sticky || f.calls < f.failAt) {
		return nil
	}
	if f.hit == "" {
		f.hit = fmt.Sprintf("%s %s", op, name)
	}
	return pathError(op, name, f.err)
}

// half is how many of n bytes a call that fails transfers.
func (f *FaultFS) half(n int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.short {
		return n / 2
	}
	return 0
}

// Open counts as a call and so do those of the file it returns.
func (f *FaultFS) Open(name string, mode disk.Mode, perm fs.FileMode) (disk.File, error) {
	if err := f.call("open", name); err != nil {
		return nil, err
	}
	file, err := f.under.Open(name, mode, perm)
	if err != nil {
		return nil, err
	}
	return &faultFile{fs: f, under: file}, nil
}

// Stat is one call.
func (f *FaultFS) Stat(name string) (fs.FileInfo, error) {
	if err := f.call("stat", name); err != nil {
		return nil, err
	}
	return f.under.Stat(name)
}

// Lstat is one call.
func (f *FaultFS) Lstat(name string) (fs.FileInfo, error) {
	if err := f.call("lstat", name); err != nil {
		return nil, err
	}
	return f.under.Lstat(name)
}

// Rename is one call.
func (f *FaultFS) Rename(oldname, newname string) error {
	if err := f.call("rename", oldname); err != nil {
		return err
	}
	return f.under.Rename(oldname, newname)
}

// RenameNew is one call.
func (f *FaultFS) RenameNew(oldname, newname string) error {
	if err := f.call("rename", oldname); err != nil {
		return err
	}
	return f.under.RenameNew(oldname, newname)
}

// Remove is one call.
func (f *FaultFS) Remove(name string) error {
	if err := f.call("remove", name); err != nil {
		return err
	}
	return f.under.Remove(name)
}

// List is one call.
func (f *FaultFS) List(dir string) ([]string, error) {
	if err := f.call("list", dir); err != nil {
		return nil, err
	}
	return f.under.List(dir)
}

// Mkdir is one call.
func (f *FaultFS) Mkdir(name string, a disk.Access) error {
	if err := f.call("mkdir", name); err != nil {
		return err
	}
	return f.under.Mkdir(name, a)
}

// SyncDir is one call.
func (f *FaultFS) SyncDir(name string) error {
	if err := f.call("syncdir", name); err != nil {
		return err
	}
	return f.under.SyncDir(name)
}

type faultFile struct {
	fs    *FaultFS
	under disk.File
}

func (f *faultFile) call(op string) error { return f.fs.call(op, f.Name()) }

func (f *faultFile) Name() string { return f.under.Name() }

func (f *faultFile) ReadAt(b []byte, off int64) (int, error) {
	if err := f.call("read"); err != nil {
		n, _ := f.under.ReadAt(b[:f.fs.half(len(b))], off)
		return n, err
	}
	return f.under.ReadAt(b, off)
}

func (f *faultFile) WriteAt(b []byte, off int64) (int, error) {
	if err := f.call("write"); err != nil {
		n, _ := f.under.WriteAt(b[:f.fs.half(len(b))], off)
		return n, err
	}
	return f.under.WriteAt(b, off)
}

func (f *faultFile) Close() error {
	err := f.call("close")
	if cerr := f.under.Close(); err == nil {
		err = cerr
	}
	return err
}

func (f *faultFile) Size() (int64, error) {
	if err := f.call("size"); err != nil {
		return 0, err
	}
	return f.under.Size()
}

func (f *faultFile) Truncate(size int64) error {
	if err := f.call("truncate"); err != nil {
		return err
	}
	return f.under.Truncate(size)
}

func (f *faultFile) Sync() error {
	if err := f.call("sync"); err != nil {
		return err
	}
	return f.under.Sync()
}

func (f *faultFile) PunchHole(off, length int64) error {
	if err := f.call("punch"); err != nil {
		return err
	}
	return f.under.PunchHole(off, length)
}

func (f *faultFile) Release(off, length int64) error {
	if err := f.call("punch"); err != nil {
		return err
	}
	return f.under.Release(off, length)
}

func (f *faultFile) Allocate(off, length int64) error {
	if err := f.call("allocate"); err != nil {
		return err
	}
	return f.under.Allocate(off, length)
}

func (f *faultFile) Reserve(off, length int64) error {
	if err := f.call("reserve"); err != nil {
		return err
	}
	return f.under.Reserve(off, length)
}

func (f *faultFile) Stat() (fs.FileInfo, error) {
	if err := f.call("fstat"); err != nil {
		return nil, err
	}
	return f.under.Stat()
}

func (f *faultFile) SetAccess(a disk.Access) error {
	if err := f.call("setaccess"); err != nil {
		return err
	}
	return f.under.SetAccess(a)
}

func (f *faultFile) SeekData(off int64) (int64, error) {
	if err := f.call("seekdata"); err != nil {
		return 0, err
	}
	return f.under.SeekData(off)
}

func (f *faultFile) SeekHole(off int64) (int64, error) {
	if err := f.call("seekhole"); err != nil {
		return 0, err
	}
	return f.under.SeekHole(off)
}

func (f *faultFile) Lock(mode disk.LockMode) error {
	if err := f.call("lock"); err != nil {
		return err
	}
	return f.under.Lock(mode)
}

func (f *faultFile) AllocatedBytes() (int64, error) {
	if err := f.call("allocated"); err != nil {
		return 0, err
	}
	return f.under.AllocatedBytes()
}

// CopyFrom is one call, with all that it does to src.
func (f *faultFile) CopyFrom(src disk.File, srcOff, off, length int64, progress func(n int64) error) error {
	if err := f.call("copy"); err != nil {
		return err
	}
	if wrapped, ok := src.(*faultFile); ok {
		src = wrapped.under
	}
	return f.under.CopyFrom(src, srcOff, off, length, progress)
}

// Map is one call; storing in the mapping does not fail.
func (f *faultFile) Map(length int64) (*disk.Mapping, error) {
	if err := f.call("map"); err != nil {
		return nil, err
	}
	return disk.Map(f.under, length)
}
