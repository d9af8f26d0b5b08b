package vfiouser

import (
	"sync"

	"golang.org/x/sys/unix"
)

// interrupts are the eventfds of the MSI-X vectors. Their lock is held by nobody who waits.
type interrupts struct {
	mu  sync.Mutex
	fds []int // -1: none, the host polls
}

// set gives vector i the eventfd fd, which is then ours to close; -1 removes it.
func (q *interrupts) set(i, fd int) {
	if fd >= 0 {
		_ = unix.SetNonblock(fd, true) // a counter that is full must not stop us
	}
	q.mu.Lock()
	old := q.fds[i]
	q.fds[i] = fd
	q.mu.Unlock()
	if old >= 0 {
		_ = unix.Close(old)
	}
}

func (q *interrupts) closeAll() {
	for i := range q.fds {
		q.set(i, -1)
	}
}

// raise interrupts the host by vector i. The completion entry must be in memory already.
func (q *interrupts) raise(i int) {
	one := [8]byte{1}
	q.mu.Lock()
	defer q.mu.Unlock()
	if fd := q.fds[i]; fd >= 0 {
		_, _ = unix.Write(fd, one[:]) // a full counter has interrupted already
	}
}
