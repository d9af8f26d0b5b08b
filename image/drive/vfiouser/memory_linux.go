package vfiouser

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Errors of access to guest memory: a command that meets one ends with Data Transfer Error.
var (
	errFault    = errors.New("guest memory: fault")
	errUnmapped = errors.New("guest memory: no such address")
	errEnded    = errors.New("guest memory: the controller was reset")
)

// maxRanges bounds the ranges of guest memory; a machine has a few dozen.
const maxRanges = 4096

// memRange is a range of guest memory.
type memRange struct {
	addr, size  uint64
	read, write bool
	b           []byte // mapped; nil: reached through the socket
}

// memory is the guest's memory. Ranges come and go while the guest runs, so addresses are
// looked up for each access, under the lock.
type memory struct {
	mu       sync.RWMutex
	ranges   []memRange
	unshared atomic.Bool // what is mapped is not what the guest sees
	dma      *dma
}

// add adds a range. fd, -1 for none, holds its bytes from off on and is closed.
func (m *memory) add(fd int, off, addr, size uint64, read, write bool) error {
	if fd >= 0 {
		defer func() { _ = unix.Close(fd) }()
	}
	if size == 0 || addr+size < addr {
		return unix.EINVAL
	}
	r := memRange{addr: addr, size: size, read: read, write: write}
	if fd >= 0 && read {
		r.b = mapRange(fd, off, size, write) // nil: through the socket
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.ranges {
		if have := &m.ranges[i]; addr < have.addr+have.size && have.addr < addr+size {
			unmap(r.b)
			return unix.EEXIST
		}
	}
	if len(m.ranges) == maxRanges {
		unmap(r.b)
		return unix.ENOSPC
	}
	m.ranges = append(m.ranges, r)
	return nil
}

// mapRange maps a range that the file holds all of, or returns nil.
func mapRange(fd int, off, size uint64, write bool) []byte {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || off > 1<<62 || size > 1<<46 || st.Mode&unix.S_IFMT == unix.S_IFREG && uint64(st.Size) < off+size {
		return nil
	}
	prot := unix.PROT_READ
	if write {
		prot |= unix.PROT_WRITE
	}
	b, err := unix.Mmap(fd, int64(off), int(size), prot, unix.MAP_SHARED)
	if err != nil {
		return nil
	}
	return b
}

func unmap(b []byte) {
	if b != nil {
		_ = unix.Munmap(b)
	}
}

// remove removes the range that was added with exactly these numbers.
func (m *memory) remove(addr, size uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, r := range m.ranges {
		if r.addr == addr && r.size == size {
			unmap(r.b)
			m.ranges = append(m.ranges[:i], m.ranges[i+1:]...)
			return true
		}
	}
	return false
}

func (m *memory) closeAll() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.ranges {
		unmap(r.b)
	}
	m.ranges = nil
}

// barrier returns when nobody who looked at a context that has ended by now is still at work
// on mapped memory.
func (m *memory) barrier() {
	m.mu.Lock()
	m.mu.Unlock() //nolint:staticcheck // the empty section is the point: it waits for readers
}

// find is the range that addr is in. The lock is held.
func (m *memory) find(addr uint64) *memRange {
	for i := range m.ranges {
		if r := &m.ranges[i]; addr >= r.addr && addr-r.addr < r.size {
			return r
		}
	}
	return nil
}

// read fills b from guest address addr.
func (m *memory) read(ctx context.Context, addr uint64, b []byte) error {
	return m.move(ctx, addr, b, false)
}

// write copies b to guest address addr.
func (m *memory) write(ctx context.Context, addr uint64, b []byte) error {
	return m.move(ctx, addr, b, true)
}

// move copies between b and guest memory, range by range.
func (m *memory) move(ctx context.Context, addr uint64, b []byte, write bool) error {
	for len(b) > 0 {
		n, mapped, err := m.movePart(ctx, addr, b, write)
		if err == nil && !mapped {
			err = m.dma.move(ctx, addr, b[:n], write)
		}
		if err != nil {
			return err
		}
		addr += uint64(n)
		b = b[n:]
	}
	return nil
}

// movePart copies as much as one range holds, or says how much of it there is to copy through the socket.
func (m *memory) movePart(ctx context.Context, addr uint64, b []byte, write bool) (n int, mapped bool, err error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	defer fault(&err)
	if ctx.Err() != nil {
		return 0, false, errEnded
	}
	r := m.find(addr)
	if r == nil || write && !r.write || !write && !r.read {
		return 0, false, errUnmapped
	}
	in := addr - r.addr
	n = int(min(uint64(len(b)), r.size-in))
	switch {
	case r.b == nil || m.unshared.Load():
		return n, false, nil
	case write:
		copy(r.b[in:], b[:n])
	default:
		copy(b[:n], r.b[in:])
	}
	return n, true, nil
}

// writeEntry writes a completion queue entry, its last dword after the others and at once:
// that one has the phase bit, by which the host knows that the entry is whole.
func (m *memory) writeEntry(ctx context.Context, addr uint64, e *[16]byte) (err error) {
	done, err := m.writeEntryMapped(ctx, addr, e)
	if err != nil || done {
		return err
	}
	return m.move(ctx, addr, e[:], true)
}

func (m *memory) writeEntryMapped(ctx context.Context, addr uint64, e *[16]byte) (done bool, err error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	defer fault(&err)
	if ctx.Err() != nil {
		return false, errEnded
	}
	r := m.find(addr)
	if r == nil || !r.write || r.b == nil || m.unshared.Load() || addr%16 != 0 || r.size-(addr-r.addr) < 16 {
		return false, nil
	}
	to := r.b[addr-r.addr:]
	last := unsafe.Pointer(&to[12])
	if uintptr(last)%4 != 0 {
		return false, errUnmapped // a range that begins within a dword
	}
	copy(to[:12], e[:12])
	atomic.StoreUint32((*uint32)(last), le.Uint32(e[12:]))
	return true, nil
}
