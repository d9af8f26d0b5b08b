package tcp

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"zimg/image/drive"
	"zimg/image/drive/tcp/host"
)

// fake is a controller with memory for blocks of 512 bytes. Besides reads and writes it has a
// flush that waits for the test, and commands that complete when the test wants.
type fake struct {
	a    Association
	size int

	mu      sync.Mutex
	mem     []byte
	cc      uint32
	delayed []func(drive.Completion)
	flushes chan chan struct{} // each flush sends what it waits for

	executed  atomic.Int64
	running   atomic.Int64
	abandoned atomic.Bool
	closed    atomic.Bool
	late      atomic.Bool // a command was executed after Abandon
}

const (
	fakeMax     = 512 << 10
	opDelayed   = 0xC0 // completes when the test says
	fakeInvalid = drive.InvalidField | drive.DNR
)

func (f *fake) ReadRegister(off uint32, size int) (uint64, drive.Status) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case off == regCAP && size == 8:
		return 127 | 0x1E01<<16, 0
	case off == regCC && size == 4:
		return uint64(f.cc), 0
	case off == regCSTS && size == 4:
		v := uint64(f.cc & 1)
		if f.cc>>14&3 != 0 {
			v |= 8
		}
		return v, 0
	}
	return 0, fakeInvalid
}

func (f *fake) WriteRegister(off uint32, size int, v uint64) drive.Status {
	if off != regCC || size != 4 {
		return fakeInvalid
	}
	f.mu.Lock()
	f.cc = uint32(v)
	f.mu.Unlock()
	if v&1 == 0 {
		f.abort()
	}
	return 0
}

func (f *fake) Transfer(qid uint16, cmd *drive.Command) (drive.Direction, int, int, drive.Status) {
	if qid == 0 {
		switch cmd.Opcode() {
		case opIdentify:
			return drive.FromController, 4096, 0, 0
		case opAsyncEvent, opKeepAlive, opSetFeatures:
			return drive.None, 0, 0, 0
		}
		return drive.None, 0, 0, drive.InvalidOpcode | drive.DNR
	}
	n := int(cmd.NLB()) * 512
	if op := cmd.Opcode(); op == opFlush || op == opDelayed {
		return drive.None, 0, 0, 0
	}
	if uint64(cmd.SLBA())*512+uint64(n) > uint64(f.size) {
		return drive.None, 0, 0, drive.LBAOutOfRange | drive.DNR
	}
	if n > fakeMax {
		return drive.None, 0, 0, fakeInvalid
	}
	switch cmd.Opcode() {
	case opWrite:
		return drive.ToController, n, 0, 0
	case opRead:
		return drive.FromController, n, 0, 0
	}
	return drive.None, 0, 0, drive.InvalidOpcode | drive.DNR
}

func (f *fake) Execute(qid uint16, cmd *drive.Command, data, _ []byte, done func(drive.Completion)) (drive.Completion, bool) {
	f.running.Add(1)
	defer f.running.Add(-1)
	f.executed.Add(1)
	if f.closed.Load() {
		f.late.Store(true)
	}
	at := int(cmd.SLBA()) * 512
	switch op := cmd.Opcode(); {
	case qid == 0 && op == opAsyncEvent, op == opDelayed:
		f.mu.Lock()
		defer f.mu.Unlock()
		f.delayed = append(f.delayed, done)
		return drive.Completion{}, false
	case qid == 0 && op == opIdentify:
		data[0] = 0xA5
	case qid == 0:
	case op == opFlush:
		if f.flushes != nil {
			wait := make(chan struct{})
			f.flushes <- wait
			<-wait
		}
	case op == opWrite:
		f.mu.Lock()
		copy(f.mem[at:], data)
		f.mu.Unlock()
	case op == opRead:
		f.mu.Lock()
		copy(data, f.mem[at:])
		f.mu.Unlock()
	}
	return drive.Completion{}, true
}

func (f *fake) abort() { f.complete(drive.Completion{Status: drive.AbortedSQDeletion}) }

// complete completes what waits.
func (f *fake) complete(c drive.Completion) {
	f.mu.Lock()
	list := f.delayed
	f.delayed = nil
	f.mu.Unlock()
	for _, done := range list {
		done(c)
	}
}

func (f *fake) Abandon() { f.abandoned.Store(true); f.abort() }
func (f *fake) Close()   { f.closed.Store(true) }

const (
	testNQN  = "nqn.2026-01.org.example:disk"
	hostNQN  = "nqn.2026-01.org.example:host"
	otherNQN = "nqn.2026-01.org.example:other"
)

// target is a server with one subsystem of fakes, on a loopback port.
type target struct {
	t    *testing.T
	srv  *Server
	addr string
	left chan bool // orderly

	mu      sync.Mutex
	made    []*fake
	flushes chan chan struct{}
}

func newTarget(t *testing.T, o Options) *target {
	t.Helper()
	tg := &target{t: t, left: make(chan bool, 100)}
	o.Log = t.Logf
	o.Left = func(_ int, orderly bool) { tg.left <- orderly }
	srv, err := New(o, Subsystem{NQN: testNQN, New: func(a Association) (Controller, error) {
		tg.mu.Lock()
		defer tg.mu.Unlock()
		f := &fake{a: a, size: 1 << 20, mem: make([]byte, 1<<20), flushes: tg.flushes}
		tg.made = append(tg.made, f)
		return f, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tg.srv, tg.addr = srv, l.Addr().String()
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
		for i, f := range tg.fakes() {
			if !f.closed.Load() || !f.abandoned.Load() {
				t.Errorf("controller %d was not closed", i)
			}
			if f.late.Load() {
				t.Errorf("controller %d executed a command after its end", i)
			}
		}
	})
	return tg
}

func (tg *target) fakes() []*fake {
	tg.mu.Lock()
	defer tg.mu.Unlock()
	return append([]*fake(nil), tg.made...)
}

func (tg *target) dial() (net.Conn, error) { return net.DialTimeout("tcp", tg.addr, 10*time.Second) }

// open opens a connection; it is closed at the end.
func (tg *target) open(o host.Options) *host.Queue {
	tg.t.Helper()
	c, err := tg.dial()
	if err != nil {
		tg.t.Fatal(err)
	}
	tg.t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		tg.t.Fatal(err)
	}
	q, err := host.Open(c, o)
	if err != nil {
		tg.t.Fatal(err)
	}
	return q
}

func params() host.Params {
	return host.Params{SubNQN: testNQN, HostNQN: hostNQN, HostID: [16]byte{1, 2, 3}, SQSize: 127, CNTLID: 0xFFFF}
}

// controller connects an admin queue and n I/O queues.
func (tg *target) controller(o host.Options, p host.Params, n int) *host.Controller {
	tg.t.Helper()
	c, err := host.Dial(tg.dial, o, p, n)
	if err != nil {
		tg.t.Fatal(err)
	}
	tg.t.Cleanup(c.Close)
	return c
}

func ioCommand(op uint8, lba uint64, blocks int) host.Command {
	cmd := host.Command{0: op}
	le.PutUint32(cmd[4:], 1)
	le.PutUint64(cmd[40:], lba)
	le.PutUint16(cmd[48:], uint16(blocks-1))
	return cmd
}

// stopping reports whether an I/O queue has been asked to stop.
func (tg *target) stopping() bool {
	tg.srv.mu.Lock()
	defer tg.srv.mu.Unlock()
	for _, a := range tg.srv.assocs {
		for _, c := range a.queues() {
			if c.in.stopped.Load() {
				return true
			}
		}
	}
	return false
}
