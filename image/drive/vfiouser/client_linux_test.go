package vfiouser

import (
	"encoding/binary"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"zimg/image"
	"zimg/image/drive"
	"zimg/image/drive/drivetest"
	"zimg/image/imagetest"
	"zimg/layout"
)

// guestRAM is how much memory the test's machine has.
const guestRAM = 4 << 20

// How the client gives its memory away.
type sharing int

const (
	shared    sharing = iota // a descriptor, shared
	socket                   // no descriptor
	socketOld                // no descriptor, messages as QEMU 10.1 has them
	private                  // a descriptor, but the guest writes to a copy
)

// client is a virtual machine monitor with a guest that drives the controller by hand.
type client struct {
	t    testing.TB
	w    *wire
	how  sharing
	ram  []byte // what the guest sees
	fd   int
	err  chan error // of Serve
	done chan struct{}

	mu      sync.Mutex
	replies map[uint16]chan *message
	id      uint16
	dmas    int // requests of the server that were answered

	tail, head uint32 // of the admin queues
	phase      uint16
	cid        uint16
}

// newDrive is a drive over an image in memory that has every zone state.
func newDrive(t testing.TB) *drive.Drive {
	t.Helper()
	fsys := imagetest.NewMemFS()
	spec := imagetest.Standard(layout.Trailing)
	if err := spec.Create(fsys, "disk"); err != nil {
		t.Fatal(err)
	}
	im, err := image.Open("disk", image.Options{FS: fsys, Write: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = im.Close() })
	st, err := drivetest.NewStore(im)
	if err != nil {
		t.Fatal(err)
	}
	d, err := drive.NewWith(im, st, drive.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// pair is a connected pair of sockets.
func pair(t testing.TB) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var conns [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socket")
		c, err := net.FileConn(f)
		_ = f.Close()
		if err != nil {
			t.Fatal(err)
		}
		conns[i] = c.(*net.UnixConn)
	}
	return conns[0], conns[1]
}

// connect starts a session and does what QEMU does at its start.
func connect(t testing.TB, d *drive.Drive, how sharing) *client {
	t.Helper()
	ours, theirs := pair(t)
	c := &client{t: t, w: &wire{conn: ours}, how: how, err: make(chan error, 1), done: make(chan struct{}), replies: map[uint16]chan *message{}}
	go func() { c.err <- Serve(theirs, d, Options{Log: t.Logf}) }()
	var err error
	if c.fd, err = unix.MemfdCreate("ram", unix.MFD_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	if err := unix.Ftruncate(c.fd, guestRAM); err != nil {
		t.Fatal(err)
	}
	flags := unix.MAP_SHARED
	if how == private {
		flags = unix.MAP_PRIVATE
	}
	if c.ram, err = unix.Mmap(c.fd, 0, guestRAM, unix.PROT_READ|unix.PROT_WRITE, flags); err != nil {
		t.Fatal(err)
	}
	go c.serve()
	t.Cleanup(c.hangUp)
	c.ask(cmdVersion, nil, append(u32s(0), `{"capabilities": {"max_msg_fds": 16}}`+"\x00"...))
	c.mapRAM()
	c.ask(cmdReset, nil)
	return c
}

func (c *client) mapRAM() {
	var fds []int
	if c.how == shared || c.how == private {
		fds = []int{c.fd}
	}
	b := u32s(32, 3)
	for _, v := range []uint64{0, 0, guestRAM} {
		b = le.AppendUint64(b, v)
	}
	c.ask(cmdDMAMap, fds, b)
}

// hangUp ends the connection, and sees that the session ends without an error.
func (c *client) hangUp() {
	_ = c.w.conn.Close()
	select {
	case err := <-c.err:
		if err != nil {
			c.t.Errorf("Serve: %v", err)
		}
	case <-time.After(20 * time.Second):
		c.t.Error("Serve did not end with the connection")
	}
	<-c.done
	_ = unix.Close(c.fd)
}

// serve reads what the server sends: replies, and requests for memory.
func (c *client) serve() {
	defer close(c.done)
	for {
		m, err := c.w.read()
		if err != nil {
			c.mu.Lock()
			for _, ch := range c.replies {
				close(ch)
			}
			c.replies = map[uint16]chan *message{}
			c.mu.Unlock()
			return
		}
		if m.isReply() {
			c.mu.Lock()
			ch := c.replies[m.id]
			delete(c.replies, m.id)
			c.mu.Unlock()
			if ch != nil {
				ch <- m
			}
			continue
		}
		c.dma(m)
	}
}

// dma answers DMA_READ and DMA_WRITE, in the form that the version of QEMU has.
func (c *client) dma(m *message) {
	c.mu.Lock()
	c.dmas++
	c.mu.Unlock()
	addr, n, at := le.Uint64(m.payload), uint64(le.Uint32(m.payload[8:])), 16
	if c.how == socketOld {
		at = 12
	}
	if addr+n > guestRAM || m.command == cmdDMAWrite && len(m.payload) != 16+int(n) {
		_ = c.w.refuse(m, unix.EFAULT)
		return
	}
	if m.command == cmdDMAWrite {
		copy(c.ram[addr:addr+n], m.payload[at:])
		_ = c.w.answer(m)
		return
	}
	b := make([]byte, 16+n)
	copy(b, m.payload[:at])
	copy(b[at:], c.ram[addr:addr+n])
	_ = c.w.answer(m, b)
}

// request sends a request and returns its reply, which may be an error.
func (c *client) request(command uint16, fds []int, payload ...[]byte) *message {
	c.t.Helper()
	c.mu.Lock()
	c.id++
	id, ch := c.id, make(chan *message, 1)
	c.replies[id] = ch
	c.mu.Unlock()
	var b []byte
	for _, p := range payload {
		b = append(b, p...)
	}
	head := make([]byte, headerLen)
	le.PutUint16(head[0:], id)
	le.PutUint16(head[2:], command)
	le.PutUint32(head[4:], uint32(headerLen+len(b)))
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	c.w.send.Lock()
	_, _, err := c.w.conn.WriteMsgUnix(append(head, b...), oob, nil)
	c.w.send.Unlock()
	if err != nil {
		c.t.Fatal(err)
	}
	select {
	case m := <-ch:
		if m == nil {
			c.t.Fatalf("command %d: the connection ended", command)
		}
		return m
	case <-time.After(20 * time.Second):
		c.t.Fatalf("command %d: no answer", command)
	}
	return nil
}

// ask is a request that is not refused.
func (c *client) ask(command uint16, fds []int, payload ...[]byte) []byte {
	c.t.Helper()
	m := c.request(command, fds, payload...)
	if m.flags&flagError != 0 {
		c.t.Fatalf("command %d: %v", command, unix.Errno(m.errno))
	}
	return m.payload
}

func access(index uint32, off uint64, n int) []byte {
	return append(le.AppendUint64(nil, off), u32s(index, uint32(n))...)
}

func (c *client) readRegion(index uint32, off uint64, n int) []byte {
	c.t.Helper()
	return c.ask(cmdRegionRead, nil, access(index, off, n))[16:]
}

func (c *client) register(off uint64) uint32 {
	c.t.Helper()
	return le.Uint32(c.readRegion(regionBAR0, off, 4))
}

// setRegister writes a register as QEMU does: without waiting.
func (c *client) setRegister(off uint64, v uint32) {
	c.t.Helper()
	if err := c.w.write(0, cmdRegionWrite, flagNoReply, 0, access(regionBAR0, off, 4), u32s(v)); err != nil {
		c.t.Fatal(err)
	}
}

// Places in guest memory.
const (
	adminSQ, adminCQ = 0x1000, 0x2000
	ioSQ, ioCQ       = 0x3000, 0x4000
	listPage         = 0x8000
	buffer           = 0x10000
	adminEntries     = 8
	ioEntries        = 16
)

// until waits until ok.
func (c *client) until(what string, ok func() bool) {
	c.t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(100 * time.Microsecond) {
		if time.Now().After(end) {
			c.t.Fatalf("%s: not within 10 s", what)
		}
	}
}

// enable sets up the admin queues and enables the controller.
func (c *client) enable() {
	c.t.Helper()
	clear(c.ram[adminSQ:buffer])
	c.tail, c.head, c.phase = 0, 0, 1
	c.setRegister(regAQA, (adminEntries-1)<<16|adminEntries-1)
	c.setRegister(regASQ, adminSQ)
	c.setRegister(regASQ+4, 0)
	c.setRegister(regACQ, adminCQ)
	c.setRegister(regACQ+4, 0)
	c.setRegister(regCC, 0x460060)
	c.setRegister(regCC, 0x460061)
	c.until("CSTS.RDY", func() bool { return c.register(0x1C)&1 == 1 })
}

// load reads a dword that the server writes.
func (c *client) load(addr int) uint32 {
	c.w.send.Lock() // orders the test's accesses to memory for the race detector: none is needed in a guest
	defer c.w.send.Unlock()
	return binary.LittleEndian.Uint32(c.ram[addr:])
}
