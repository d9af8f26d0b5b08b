// Package imagetest helps to test what is made of files: a file system in
// memory whose power can be cut (MemFS), and one whose n-th call fails (FaultFS); and to
// say what an image is to be like (Spec).
//
// # What MemFS assumes of a disk and a file system
//
// Every argument that a commit survives a power cut leans on these and on
// nothing else:
//
//  1. A Sync that has returned makes durable all that was written to the file
//     before it: contents, holes and size. It does not make the file's name durable.
//  2. A SyncDir that has returned makes durable all creations, renames and removals
//     before it in that one directory. It says nothing of the files' contents.
//  3. Writes between two Syncs reach the disk in any order, or not at all. The
//     disk writes sectors of 512 bytes whole; a longer write may be torn between
//     any two sectors, at any number of places.
//  4. PunchHole is a write of zeroes in this respect: the fallback of the real
//     one is just that.
//  5. Changes of one file's size (by Truncate, or by a write beyond the end)
//     happen in the order in which they were made: if one is durable, so are those
//     before it. They are independent of the contents: a file may have its new size and
//     zeroes in it. What was written beyond the size that survives is lost.
//  6. A rename is atomic: before it both names are as they were, after it the old
//     one is gone and the new one is the file. Operations that have a name in common happen
//     in order; others are independent, also in one directory. A name may be
//     durable before the contents of its file are.
//  7. What is durable stays as it is: a write that is under way when the power
//     goes damages no other sector. Old bytes are never read back as random ones.
//  8. Locks do not survive.
package imagetest

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"zimg/image/disk"
)

// ErrCrashed is the error of every call after the power was cut.
var ErrCrashed = errors.New("the power was cut")

// OpKind is what an operation does.
type OpKind string

// The numbered operations: all that can change what is durable.
const (
	OpWrite    OpKind = "write"
	OpTruncate OpKind = "truncate"
	OpPunch    OpKind = "punch"
	OpAllocate OpKind = "allocate"
	OpSync     OpKind = "sync"
	OpCreate   OpKind = "create"
	OpRename   OpKind = "rename"
	OpRemove   OpKind = "remove"
	OpSyncDir  OpKind = "syncdir"
)

// Op is one numbered operation, for messages and for picking a place to crash.
type Op struct {
	N        int // from 1
	Kind     OpKind
	Name     string // of the file; of SyncDir the directory; of a rename the old one
	Off, Len int64  // bytes; of Truncate Off is the new size
}

func (o Op) String() string {
	return fmt.Sprintf("operation %d: %s %s %d+%d", o.N, o.Kind, o.Name, o.Off, o.Len)
}

// Counters is what a piece of work cost.
type Counters struct {
	Ops       int   // numbered operations
	Writes    int   // calls of WriteAt, also those that CopyFrom makes
	Blocks    int64 // blocks of 4 KiB that writes touched
	Syncs     int
	DirSyncs  int
	Reads     int
	ReadBytes int64
}

// MemFS is a disk.FS in memory with a volatile cache in front of its disk.
// Directories need not be made. It is safe for concurrent use.
type MemFS struct {
	mu      sync.Mutex
	names   map[string]*inode
	durable map[string]*inode // the names on the disk
	pending []nameChange      // what names has and durable has not, in order
	log     []Op
	count   Counters
	crashAt int
	crashed bool

	uid, gid int // who makes files
}

// RunAs has files that are made from now on belong to another user.
func (m *MemFS) RunAs(uid, gid int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.uid, m.gid = uid, gid
}

var _ disk.FS = (*MemFS)(nil)

// inode is a file without its name.
type inode struct {
	access  disk.Access
	now     *sparse
	durable *sparse
	pending []change // what now has and durable has not, in order
	mapped  []byte   // the beginning as all mappings see it; newer than now
	locks   map[*memFile]disk.LockMode
}

// nameChange binds names to files; nil unbinds.
type nameChange struct {
	dir string
	set map[string]*inode
}

// NewMemFS returns an empty file system.
func NewMemFS() *MemFS {
	return &MemFS{names: map[string]*inode{}, durable: map[string]*inode{}}
}

// CrashAt cuts the power while operation n (from 1, counted from the making of
// m) is under way: it and every later call, reads too, fail with ErrCrashed. Operation n
// itself then counts as not synced: AfterCrash may keep it, drop it or tear it.
// With 0 it never happens.
func (m *MemFS) CrashAt(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.crashAt = n
}

// Ops is the number of operations so far.
func (m *MemFS) Ops() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.log)
}

// Log returns all operations so far; Log()[n-1] is operation n.
func (m *MemFS) Log() []Op {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.log)
}

// Counters returns what was done since the last ResetCounters.
func (m *MemFS) Counters() Counters {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.count
}

// ResetCounters starts the counters from zero. Operation numbers go on.
func (m *MemFS) ResetCounters() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.count = Counters{}
}

// step numbers an operation and finds out whether the power goes with it. A
// caller still records its change, then returns m.lost.
func (m *MemFS) step(kind OpKind, name string, off, length int64) {
	m.count.Ops++
	m.log = append(m.log, Op{N: len(m.log) + 1, Kind: kind, Name: name, Off: off, Len: length})
	if len(m.log) == m.crashAt {
		m.crashed = true
		for _, ino := range m.names { // what a program stores from now on, it stores nowhere
			ino.unmapped()
			ino.mapped = nil
		}
	}
}

// lost is the error of everything once the power is gone.
func (m *MemFS) lost(op, name string) error {
	if m.crashed {
		return pathError(op, name, ErrCrashed)
	}
	return nil
}

func pathError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}
