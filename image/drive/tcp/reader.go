package tcp

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"
)

// errStopped ends a connection because the server ends.
var errStopped = errors.New("the server is shutting down")

// reader is what comes from a peer. Before it waits for the socket it calls flush, so that no
// answer waits while the peer does. One goroutine uses it.
type reader struct {
	conn  net.Conn
	buf   []byte
	r, w  int // buf[r:w] has not been taken yet
	flush func() error

	stall time.Duration // the longest wait in the middle of a PDU
	limit time.Time     // the latest end of any wait; zero: none
	idle  time.Duration // the longest wait between PDUs; zero: none

	stopped atomic.Bool // by stop, from any goroutine

	armed bool // a deadline is set on conn
	begun bool // bytes of the PDU have come
	timed bool // the deadline is that of the PDU that has begun
}

// begin says that a PDU begins. The wait for its first byte has no time limit.
func (r *reader) begin() { r.begun, r.timed = false, false }

// grow gives r a larger buffer.
func (r *reader) grow(n int) {
	if n <= len(r.buf) {
		return
	}
	b := make([]byte, n)
	r.w = copy(b, r.buf[r.r:r.w])
	r.r, r.buf = 0, b
}

// deadline sets the one that the next wait needs.
func (r *reader) deadline() error {
	if r.timed {
		return nil
	}
	var t time.Time
	switch {
	case r.begun:
		t = time.Now().Add(r.stall)
		r.timed = true
	case r.idle > 0:
		t = time.Now().Add(r.idle)
	}
	if !r.limit.IsZero() && (t.IsZero() || r.limit.Before(t)) {
		t = r.limit
	}
	if t.IsZero() && !r.armed {
		return nil
	}
	r.armed = !t.IsZero()
	return r.conn.SetReadDeadline(t)
}

// next takes n bytes, at most the length of the buffer. They are valid until the next call.
func (r *reader) next(n int) ([]byte, error) {
	b, err := r.peek(n)
	if err == nil {
		r.r += n
	}
	return b, err
}

// peek is next without taking them.
func (r *reader) peek(n int) ([]byte, error) {
	for r.w-r.r < n {
		if r.r > 0 {
			r.w = copy(r.buf, r.buf[r.r:r.w])
			r.r = 0
		}
		r.begun = r.begun || r.w > 0
		if err := r.wait(); err != nil {
			return nil, err
		}
		m, err := r.conn.Read(r.buf[r.w:])
		r.w += m
		if err != nil && r.w < n {
			return nil, r.ended(err)
		}
	}
	r.begun = true
	return r.buf[r.r : r.r+n], nil
}

// full fills p, what is not in the buffer yet from the socket directly.
func (r *reader) full(p []byte) error {
	r.begun = true
	n := copy(p, r.buf[r.r:r.w])
	r.r += n
	for n < len(p) {
		if len(p)-n < len(r.buf)/2 { // so that what follows comes along
			b, err := r.next(len(p) - n)
			if err != nil {
				return err
			}
			copy(p[n:], b)
			return nil
		}
		if err := r.wait(); err != nil {
			return err
		}
		m, err := r.conn.Read(p[n:])
		n += m
		if err != nil && n < len(p) {
			return r.ended(err)
		}
	}
	return nil
}

// skip takes n bytes and forgets them.
func (r *reader) skip(n int) error {
	for n > 0 {
		b, err := r.next(min(n, len(r.buf)/2))
		if err != nil {
			return err
		}
		n -= len(b)
	}
	return nil
}

func (r *reader) wait() error {
	if err := r.flush(); err != nil {
		return err
	}
	if err := r.deadline(); err != nil {
		return err
	}
	// Looked at after the deadline is set, which stop does the other way round: one of the two sees the other.
	if r.stopped.Load() {
		return errStopped
	}
	return nil
}

// stop ends the wait for the peer, this one and all that follow.
func (r *reader) stop() {
	r.stopped.Store(true)
	_ = r.conn.SetReadDeadline(time.Unix(1, 0))
}

// ended is err, or that the peer has ended in the middle of a PDU.
func (r *reader) ended(err error) error {
	if r.stopped.Load() {
		return errStopped
	}
	if errors.Is(err, io.EOF) && (r.begun || r.w > r.r) {
		return io.ErrUnexpectedEOF
	}
	return err
}
