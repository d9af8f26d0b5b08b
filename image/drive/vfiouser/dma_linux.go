package vfiouser

import (
	"context"
	"errors"
	"sync"
)

// dma reads and writes guest memory by messages to the client: for memory that came
// without a descriptor, or that is not shared.
//
// DMA_READ and DMA_WRITE, as QEMU 11 and the specification have them, and as QEMU 10.1 and
// 10.2 do: their count has four bytes, and the data follows it at once; four
// bytes at the end make up for it.
//
//	 0              8              16
//	+--------------+--------------+-----
//	| address      | count        | data         QEMU 11
//	+--------------+-------+------+-----
//	| address      | count | data        | pad   QEMU 10.1, 10.2
//	+--------------+-------+-------------+-----
type dma struct {
	conn *wire

	reading chan struct{} // holds one: who reads takes it

	mu      sync.Mutex
	id      uint16
	pending map[uint16]chan *message
	closed  bool
	layout  dmaLayout
}

// dmaChunk is how much one request moves. QEMU 11.1 sends a reply by one write to a socket that does not block, and
// what does not fit into the socket's buffer is lost, and with it the connection. So replies are short, and one
// is awaited before the next is asked for.
const dmaChunk = 32 << 10

type dmaLayout int

// The layouts; the first read distinguishes them.
const (
	layoutUnknown dmaLayout = iota
	layoutSpec
	layoutOld
)

var errDMA = errors.New("guest memory: access refused by the client")

func (d *dma) init(conn *wire) {
	d.conn, d.pending, d.reading = conn, map[uint16]chan *message{}, make(chan struct{}, 1)
}

// move copies between b and guest address addr.
func (d *dma) move(ctx context.Context, addr uint64, b []byte, write bool) error {
	for len(b) > 0 {
		n := min(len(b), dmaChunk)
		err := error(nil)
		if write {
			err = d.write(ctx, addr, b[:n])
		} else {
			err = d.read(ctx, addr, b[:n])
		}
		if err != nil {
			return err
		}
		addr, b = addr+uint64(n), b[n:]
	}
	return nil
}

func (d *dma) read(ctx context.Context, addr uint64, b []byte) error {
	select {
	case d.reading <- struct{}{}:
	case <-ctx.Done():
		return errEnded
	}
	defer func() { <-d.reading }()
	head := le.AppendUint64(le.AppendUint64(nil, addr), uint64(len(b)))
	m, err := d.ask(ctx, cmdDMARead, head)
	if err != nil {
		return err
	}
	if len(m.payload) < 16+len(b) {
		return errDMA
	}
	at := 16
	if d.layoutOf(m.payload, len(b)) == layoutOld {
		at = 12
	}
	copy(b, m.payload[at:])
	return nil
}

// layoutOf decides by the first read that can: what follows the lower half of the count
// is its upper half, zero, or the first data. A queue entry never begins with zero here, as the first command is
// Identify; a first read that is zero decides nothing.
func (d *dma) layoutOf(p []byte, n int) dmaLayout {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.layout == layoutUnknown && n >= 4 {
		switch {
		case le.Uint32(p[12:]) != 0:
			d.layout = layoutOld
		case le.Uint32(p[16:]) != 0:
			d.layout = layoutSpec
		}
	}
	return d.layout
}

func (d *dma) write(ctx context.Context, addr uint64, b []byte) error {
	head := le.AppendUint64(le.AppendUint64(nil, addr), uint64(len(b)))
	parts := [][]byte{head, b}
	d.mu.Lock()
	old := d.layout == layoutOld
	d.mu.Unlock()
	if old {
		parts = [][]byte{head[:12], b, make([]byte, 4)}
	}
	_, err := d.ask(ctx, cmdDMAWrite, parts...)
	return err
}

// ask sends a request and waits for its reply, until ctx ends.
func (d *dma) ask(ctx context.Context, command uint16, parts ...[]byte) (*message, error) {
	ch := make(chan *message, 1)
	d.mu.Lock()
	if d.closed || len(d.pending) > 1<<15 {
		d.mu.Unlock()
		return nil, errDMA
	}
	d.id++
	for d.pending[d.id] != nil {
		d.id++
	}
	id := d.id
	d.pending[id] = ch
	d.mu.Unlock()
	defer d.forget(id)
	if err := d.conn.write(id, command, 0, 0, parts...); err != nil {
		return nil, err
	}
	select {
	case m := <-ch:
		if m == nil || m.flags&flagError != 0 || m.command != command {
			return nil, errDMA
		}
		return m, nil
	case <-ctx.Done():
		return nil, errEnded
	}
}

func (d *dma) forget(id uint16) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.pending, id)
}

// reply hands a reply to the one who waits for it; one that nobody waits for any more is dropped.
func (d *dma) reply(m *message) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if ch := d.pending[m.id]; ch != nil {
		delete(d.pending, m.id)
		ch <- m
	}
}

// close ends all waiting: the connection is gone.
func (d *dma) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	for id, ch := range d.pending {
		delete(d.pending, id)
		close(ch)
	}
}
