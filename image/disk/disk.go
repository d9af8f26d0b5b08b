// Package disk is the only way from zimg to the operating system's files:
// everything that opens, reads, writes, syncs, locks, punches or clones goes
// through FS and File, so that tests can put a file system in between that
// loses unsynced writes or fails the n-th call (package imagetest).
//
// os.go has the real thing; what only Linux can do is in *_linux.go, with a
// plain answer in *_other.go.
package disk

import (
	"errors"
	"io"
	"io/fs"
)

// ErrLocked is wrapped by the error of a lock that another process holds.
var ErrLocked = errors.New("in use by another process")

// ErrUnsupported says that the file system or the operating system cannot do
// what was asked; the caller has a slower way.
var ErrUnsupported = errors.New("not supported here")

// Mode says how a file is opened.
type Mode int

// The ways to open a file.
const (
	ReadOnly  Mode = iota
	ReadWrite      // the file must exist
	CreateNew      // read-write; the file must not exist
)

// LockMode says what lock a file is opened with; the byte ranges are QEMU's, so
// that zimg and QEMU honour each other's.
type LockMode int

// The locks. LockRead keeps writers out and is refused where there is one; LockWrite keeps
// everybody out.
const (
	LockNone LockMode = iota
	LockRead
	LockWrite
)

// File is an open file. Offsets and lengths are in bytes.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Name is the path the file was opened by.
	Name() string
	// Size is the length of a regular file or the capacity of a block device.
	Size() (int64, error)
	Truncate(size int64) error
	// Sync returns when everything written is on stable storage.
	Sync() error
	// PunchHole makes length bytes from off read as zeroes, and gives their
	// space back where the file system can; where it cannot, it writes zeroes.
	// It does not change the file's size: data beyond the end stays.
	PunchHole(off, length int64) error
	// Release is PunchHole where that can give space back, and ErrUnsupported elsewhere: it never writes.
	Release(off, length int64) error
	// Allocate reserves space for length bytes from off (zeroes), or ErrUnsupported.
	Allocate(off, length int64) error
	// SeekData returns the first offset >= off that may hold data, io.EOF if there is none. A file
	// system without holes says off itself.
	SeekData(off int64) (int64, error)
	// SeekHole returns the first offset >= off in a hole; the file's end counts as one.
	SeekHole(off int64) (int64, error)
	// Lock takes the lock, or gives it back with LockNone. A conflict is ErrLocked, at once or after the time that
	// the file system was made with (Patient).
	Lock(mode LockMode) error
	// Reserve takes space on the disk for length bytes from off, and changes neither the contents nor the size
	// of the file. A Truncate gives back what is reserved beyond the size. ErrUnsupported where space cannot be reserved.
	Reserve(off, length int64) error
	// Stat describes the file, whatever its name is by now.
	Stat() (fs.FileInfo, error)
	// SetAccess changes who may use the file, as far as this process may change it.
	SetAccess(a Access) error
	// AllocatedBytes is the space the file takes on the disk.
	AllocatedBytes() (int64, error)
	// CopyFrom copies length bytes at srcOff of src to off: by reflink where possible, then by
	// copy_file_range, then by hand; holes stay holes where the target range read as zeroes before
	// (the caller makes sure of that). progress, if not nil, is called with the bytes done since the last call
	// and may return an error to stop.
	CopyFrom(src File, srcOff, off, length int64, progress func(n int64) error) error
}

// FS opens and arranges files by path.
type FS interface {
	Open(name string, mode Mode, perm fs.FileMode) (File, error)
	Stat(name string) (fs.FileInfo, error)
	// Lstat is Stat, but describes a symbolic link itself.
	Lstat(name string) (fs.FileInfo, error)
	// Rename moves a file over whatever has the new name.
	Rename(oldname, newname string) error
	// RenameNew moves a file; it fails with fs.ErrExist if the new name is taken.
	RenameNew(oldname, newname string) error
	// Remove removes a file, or an empty directory.
	Remove(name string) error
	// List returns the names in a directory, sorted.
	List(dir string) ([]string, error)
	// Mkdir makes a directory; it fails with fs.ErrExist if the name is taken.
	Mkdir(name string, a Access) error
	// SyncDir makes the names in the directory of name durable.
	SyncDir(name string) error
}
