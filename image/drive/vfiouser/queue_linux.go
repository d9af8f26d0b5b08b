package vfiouser

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"zimg/image/drive"
)

const (
	sqEntry = 64
	cqEntry = 16
	// fetchMost is how many commands are fetched at once.
	fetchMost  = 32
	minPage    = 4096
	maxEntries = 1024 // MQES + 1
)

// queues are the queues of an epoch and the registers that describe the admin queues.
type queues struct {
	mu       sync.Mutex
	aqa      uint32
	asq, acq uint64
	epoch    *epoch
}

// epoch is the time between two resets.
type epoch struct {
	s      *session
	ctx    context.Context
	cancel context.CancelFunc
	page   uint64 // memory page size, in bytes

	mu  sync.RWMutex // of the maps; held for a moment only
	sqs map[uint16]*submission
	cqs map[uint16]*completions
}

// submission is a submission queue.
type submission struct {
	e      *epoch
	ctx    context.Context // ends with the queue
	cancel context.CancelFunc
	id     uint16
	base   uint64
	size   uint32
	cq     *completions
	tail   atomic.Uint32 // what the host rang
	head   uint32        // of its goroutine
	seen   atomic.Uint32 // head as completions report it
	wake   chan struct{} // the tail has moved
	done   chan struct{} // its goroutine has ended
}

// completions is a completion queue.
type completions struct {
	e      *epoch
	id     uint16
	base   uint64
	size   uint32
	vector int // -1: no interrupts
	head   atomic.Uint32
	room   chan struct{} // the head has moved

	mu    sync.Mutex // of those who post
	tail  uint32
	phase uint16
	users int // submission queues; under epoch.mu
}

// register is the dword at off, if it is one of the transport's registers.
func (q *queues) register(off uint32) (uint32, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch off {
	case regAQA:
		return q.aqa, true
	case regASQ:
		return uint32(q.asq), true
	case regASQ + 4:
		return uint32(q.asq >> 32), true
	case regACQ:
		return uint32(q.acq), true
	case regACQ + 4:
		return uint32(q.acq >> 32), true
	}
	return 0, false
}

func (q *queues) setRegister(off, v uint32) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch off {
	case regAQA:
		q.aqa = v & 0x0FFF0FFF
	case regASQ:
		q.asq = q.asq&^0xFFFFFFFF | uint64(v)&^0xFFF
	case regASQ + 4:
		q.asq = q.asq&0xFFFFFFFF | uint64(v)<<32
	case regACQ:
		q.acq = q.acq&^0xFFFFFFFF | uint64(v)&^0xFFF
	case regACQ + 4:
		q.acq = q.acq&0xFFFFFFFF | uint64(v)<<32
	}
}

func (q *queues) clearRegisters() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.aqa, q.asq, q.acq = 0, 0, 0
}

// beginEpoch starts the admin queues, as AQA, ASQ and ACQ describe them.
func (s *session) beginEpoch(cc uint32) {
	ctx, cancel := context.WithCancel(context.Background())
	e := &epoch{s: s, ctx: ctx, cancel: cancel, page: minPage << (cc >> 7 & 15), sqs: map[uint16]*submission{}, cqs: map[uint16]*completions{}}
	q := &s.queues
	q.mu.Lock()
	defer q.mu.Unlock()
	cq := e.addCQ(0, q.acq, q.aqa>>16&0xFFF+1, 0)
	e.addSQ(0, q.asq, q.aqa&0xFFF+1, cq)
	q.epoch = e
}

// endEpoch stops all queues. When it returns no command touches guest memory any more.
func (s *session) endEpoch() {
	q := &s.queues
	q.mu.Lock()
	e := q.epoch
	q.epoch = nil
	q.mu.Unlock()
	if e != nil {
		e.cancel()
		s.mem.barrier()
	}
}

// doorbell takes what the host wrote: tails of submission queues and heads of completion queues in turn.
func (q *queues) doorbell(off, v uint32) {
	q.mu.Lock()
	e := q.epoch
	q.mu.Unlock()
	if e == nil {
		return
	}
	id := uint16(off / 8)
	e.mu.RLock()
	sq, cq := e.sqs[id], e.cqs[id]
	e.mu.RUnlock()
	switch {
	case off%8 == 0 && sq != nil && v < sq.size:
		sq.tail.Store(v)
		ring(sq.wake)
	case off%8 == 4 && cq != nil && v < cq.size:
		cq.head.Store(v)
		ring(cq.room)
	}
}

// ring wakes the one who waits for ch, now or the next time.
func ring(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

func (e *epoch) addCQ(id uint16, base uint64, size uint32, vector int) *completions {
	cq := &completions{e: e, id: id, base: base, size: size, vector: vector, phase: 1, room: make(chan struct{}, 1)}
	e.mu.Lock()
	e.cqs[id] = cq
	e.mu.Unlock()
	return cq
}

func (e *epoch) addSQ(id uint16, base uint64, size uint32, cq *completions) {
	ctx, cancel := context.WithCancel(e.ctx)
	sq := &submission{
		e: e, ctx: ctx, cancel: cancel, id: id, base: base, size: size, cq: cq,
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	e.mu.Lock()
	e.sqs[id] = sq
	cq.users++
	e.mu.Unlock()
	e.s.workers.Add(1)
	e.s.c.Drive().Go(sq.run)
}

// run executes the commands of the queue.
func (sq *submission) run() {
	defer sq.e.s.workers.Done()
	defer close(sq.done)
	allowFaults()
	buf := make([]byte, fetchMost*sqEntry)
	var w worker
	for first := sq.id == 0; ; first = false {
		tail := sq.tail.Load()
		for sq.head == tail {
			select {
			case <-sq.wake:
			case <-sq.ctx.Done():
				return
			}
			tail = sq.tail.Load()
		}
		end := tail
		if tail < sq.head {
			end = sq.size
		}
		n := min(end-sq.head, fetchMost)
		entries := buf[:n*sqEntry]
		if err := sq.fetch(entries, first); err != nil {
			if sq.ctx.Err() == nil {
				sq.e.s.o.Log("submission queue %d: %v", sq.id, err)
			}
			<-sq.ctx.Done() // there is nothing to answer: the host resets the controller when it has waited enough
			return
		}
		for i := range n {
			if sq.ctx.Err() != nil {
				return
			}
			var cmd drive.Command
			copy(cmd[:], entries[i*sqEntry:])
			sq.head = (sq.head + 1) % sq.size
			sq.seen.Store(sq.head)
			w.execute(sq, &cmd)
		}
	}
}

// fetch reads entries from the head of the queue on. The first command of an epoch shows
// whether guest memory is shared: where a private copy is mapped, there are zeroes.
func (sq *submission) fetch(b []byte, first bool) error {
	s, addr := sq.e.s, sq.base+uint64(sq.head)*sqEntry
	if err := s.mem.read(sq.ctx, addr, b); err != nil {
		return err
	}
	if !first || s.mem.unshared.Load() || !zero(b[:sqEntry]) {
		return nil
	}
	var entry [sqEntry]byte
	if err := s.dma.read(sq.ctx, addr, entry[:]); err != nil || zero(entry[:]) {
		return nil // it is zero, whoever looks
	}
	s.mem.unshared.Store(true)
	s.o.Log("guest memory is not shared with zimg, so all data goes through the socket, which is slow; use share=on")
	return s.mem.read(sq.ctx, addr, b)
}

func zero(b []byte) bool {
	for _, v := range b {
		if v != 0 {
			return false
		}
	}
	return true
}

// post writes a completion and interrupts the host. It waits while the queue is full.
func (sq *submission) post(cid uint16, c drive.Completion) {
	cq := sq.cq
	cq.mu.Lock()
	defer cq.mu.Unlock()
	for (cq.tail+1)%cq.size == cq.head.Load() {
		select {
		case <-cq.room:
		case <-sq.ctx.Done():
			return
		}
	}
	var e [cqEntry]byte
	le.PutUint64(e[0:], c.Result)
	le.PutUint16(e[8:], uint16(sq.seen.Load()))
	le.PutUint16(e[10:], sq.id)
	le.PutUint16(e[12:], cid)
	le.PutUint16(e[14:], uint16(c.Status)<<1|cq.phase)
	if err := cq.e.s.mem.writeEntry(sq.ctx, cq.base+uint64(cq.tail)*cqEntry, &e); err != nil {
		return
	}
	if cq.tail++; cq.tail == cq.size {
		cq.tail, cq.phase = 0, cq.phase^1
	}
	if cq.vector >= 0 {
		cq.e.s.irq.raise(cq.vector)
	}
}

// deleteWait bounds how long Delete I/O Submission Queue waits for the command that runs.
const deleteWait = 10 * time.Second

// stop ends the queue, and waits for the command that its goroutine executes.
func (sq *submission) stop() {
	sq.cancel()
	select {
	case <-sq.done:
	case <-sq.e.ctx.Done():
	case <-time.After(deleteWait):
	}
}
