package tcp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"zimg/image/drive"
	"zimg/layout"
)

// Read buffers: of a connection at first and of an admin queue, which is enough for its capsules,
// and of an I/O queue, which gets many commands with one read.
const (
	adminBuffer = 16 << 10
	ioBuffer    = 128 << 10
)

// lastWords is how long a connection may take to send, and its peer to read, why it ends.
const lastWords = 2 * time.Second

// conn is one connection: a queue once its host has sent Connect.
type conn struct {
	srv *Server
	nc  net.Conn
	in  reader
	out writer

	dead     atomic.Bool   // no command is executed, and nothing answered, any more
	finished chan struct{} // closed when no goroutine executes commands of this connection
	wg       sync.WaitGroup

	// Those of the reader's goroutine; the lane begins after they are set.
	digests digests
	qid     uint16
	assoc   *association // nil until Connect
	auth    *auth        // nil if the host needs none

	mu      sync.Mutex
	slots   []*command // by transfer tag
	free    []*command
	entries int        // the most commands at once
	held    int        // bytes of buffers that wait for data, or hold it
	waiting []*command // commands that wait for such a buffer

	laneMu sync.Mutex
	lane   []*command // what the lane executes; not empty while it runs
}

func newConn(s *Server, nc net.Conn) *conn {
	c := &conn{srv: s, nc: nc, finished: make(chan struct{}), entries: 2}
	c.out = writer{conn: nc, stall: s.o.Stall, align: 4}
	c.in.conn, c.in.stall, c.in.flush = nc, s.o.Stall, c.out.flush
	c.in.limit = time.Now().Add(s.o.Handshake)
	c.in.grow(adminBuffer)
	return c
}

// kill ends the connection at once: what is being executed ends, and is not answered.
func (c *conn) kill() {
	c.dead.Store(true)
	_ = c.nc.Close()
}

// stop ends the connection after the answers to what is being executed.
func (c *conn) stop() { c.in.stop() }

// serve is the goroutine of the connection.
func (c *conn) serve() {
	err := c.handshake()
	for err == nil {
		err = c.pdu()
	}
	c.end(err)
}

// end says why to the peer, where that is allowed, and closes the connection.
func (c *conn) end(err error) {
	broken, isBroken := errors.AsType[*protocolError](err)
	if isBroken || errors.Is(err, errStopped) {
		c.wg.Wait() // the answers to what came before
	}
	c.dead.Store(true)
	if isBroken {
		c.srv.o.Log("%s: connection ended: %v", c, err)
		c.farewell(broken)
	} else if errors.Is(err, errStopped) || errors.Is(err, errDisconnected) {
		_ = c.out.flush()
	} else if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
		c.srv.o.Log("%s: connection lost: %v", c, c.reason(err))
	}
	_ = c.nc.Close()
	c.wg.Wait()
	close(c.finished)
	c.srv.gone(c)
	if c.assoc != nil {
		c.assoc.lost(c)
	}
}

// reason says it for people.
func (c *conn) reason(err error) error {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	switch {
	case !c.in.limit.IsZero():
		return errors.New("no queue was created in time")
	case c.in.begun:
		return fmt.Errorf("the peer stopped in the middle of a PDU for %v", c.in.stall)
	case c.in.idle > 0:
		return errors.New("keep-alive timeout")
	}
	return err
}

// farewell sends a C2HTermReq PDU and lets the peer read it: to close a socket with unread
// bytes would reset the connection and drop the PDU.
func (c *conn) farewell(e *protocolError) {
	c.out.stall = lastWords
	if c.out.put(encodeTerm(e)) != nil || c.out.flush() != nil {
		return
	}
	half, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || c.nc.SetReadDeadline(time.Now().Add(lastWords)) != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, c.nc, 1<<20)
}

func (c *conn) String() string {
	if c.assoc == nil {
		return c.nc.RemoteAddr().String()
	}
	return fmt.Sprintf("%s (controller %d queue %d)", c.nc.RemoteAddr(), c.assoc.cntlid, c.qid)
}

// handshake waits for ICReq and answers it.
func (c *conn) handshake() error {
	c.in.begin()
	b, err := c.in.peek(commonLen)
	if err != nil {
		return err
	}
	if h := decodeHeader(b); h.kind != typeICReq {
		return &protocolError{fes: fesSequence, header: slices.Clone(b), why: fmt.Sprintf("PDU type %02Xh before ICReq", h.kind)}
	}
	if b, err = c.in.next(icLen); err != nil {
		return err
	}
	req, bad := decodeICReq(b)
	if bad != nil {
		bad.header = slices.Clone(b)
		return bad
	}
	c.digests = req.digests
	c.out.digests, c.out.align = req.digests, req.align
	return c.out.put(encodeICResp(req.digests))
}

// pdu reads one PDU and does what it says.
func (c *conn) pdu() error {
	c.in.begin()
	b, err := c.in.peek(commonLen)
	if err != nil {
		return err
	}
	h := decodeHeader(b)
	want := uint8(headerLen)
	switch h.kind {
	case typeCapsuleCmd:
		want = cmdLen
	case typeH2CData:
	case typeH2CTerm:
		return c.terminated(h)
	case typeICReq:
		return &protocolError{fes: fesSequence, header: slices.Clone(b), why: "a second ICReq"}
	default:
		e := badField(0, "PDU type %02Xh", h.kind)
		e.header = slices.Clone(b)
		return e
	}
	if h.hlen != want {
		e := badField(2, "PDU type %02Xh with HLEN %d", h.kind, h.hlen)
		e.header = slices.Clone(b)
		return e
	}
	n := int(h.hlen) + c.digests.headerLen()
	if b, err = c.in.next(n); err != nil {
		return err
	}
	var raw [cmdLen + digestLen]byte // b is gone when more is read
	copy(raw[:], b)
	if err = c.checkHeader(h, raw[:n]); err == nil {
		if h.kind == typeCapsuleCmd {
			err = c.capsule(h, raw[:n])
		} else {
			err = c.h2cData(h, raw[:n])
		}
	}
	if e, ok := errors.AsType[*protocolError](err); ok && e.header == nil {
		e.header = slices.Clone(raw[:h.hlen])
	}
	return err
}

// checkHeader checks the digest of header b.
func (c *conn) checkHeader(h header, b []byte) error {
	if c.digests.header != (h.flags&flagHDGST != 0) {
		return badField(1, "header digest flag %t, %t was agreed", !c.digests.header, c.digests.header)
	}
	if !c.digests.header {
		return nil
	}
	got, want := le.Uint32(b[h.hlen:]), layout.Checksum(b[:h.hlen])
	if got != want {
		return &protocolError{fes: fesDigest, info: got, why: fmt.Sprintf("header digest %08Xh, want %08Xh", got, want)}
	}
	return nil
}

// dataLength checks where the data of a PDU is, and skips to it. It returns its length.
func (c *conn) dataLength(h header) (int, error) {
	begin := uint32(h.hlen) + uint32(c.digests.headerLen())
	if h.plen < begin {
		return 0, badField(4, "PLEN %d is less than the header", h.plen)
	}
	if h.plen == begin {
		return 0, nil
	}
	pdo := uint32(h.pdo)
	if pdo < begin || pdo%4 != 0 || pdo >= h.plen {
		return 0, badField(3, "PDO %d in a PDU of %d bytes", pdo, h.plen)
	}
	n := h.plen - pdo
	if c.digests.data != (h.flags&flagDDGST != 0) {
		return 0, badField(1, "data digest flag %t, %t was agreed", !c.digests.data, c.digests.data)
	}
	if c.digests.data {
		if n <= digestLen {
			return 0, badField(4, "PLEN %d has no room for data and its digest", h.plen)
		}
		n -= digestLen
	}
	if n > maxH2CData {
		return 0, &protocolError{fes: fesLimit, info: 4, why: fmt.Sprintf("%d bytes of data in a PDU", n)}
	}
	return int(n), c.in.skip(int(pdo - begin))
}

// data reads p, and its digest if there is one. good is false if that is wrong.
func (c *conn) data(p []byte) (good bool, err error) {
	if err := c.in.full(p); err != nil || !c.digests.data {
		return true, err
	}
	b, err := c.in.next(digestLen)
	if err != nil {
		return false, err
	}
	return le.Uint32(b) == layout.Checksum(p), nil
}

// terminated is the end of a connection by the host.
func (c *conn) terminated(h header) error {
	if h.hlen != headerLen || h.plen < headerLen || h.plen > maxTermPDU {
		return badField(4, "H2CTermReq with PLEN %d", h.plen)
	}
	b, err := c.in.next(int(h.plen))
	if err != nil {
		return err
	}
	return fmt.Errorf("terminated by the host: FES %d, information %Xh", le.Uint16(b[8:]), le.Uint32(b[10:]))
}

// queue makes the connection queue qid of a, with so many entries.
func (c *conn) queue(a *association, qid uint16, entries int, flowControl bool) {
	c.assoc, c.qid = a, qid
	c.mu.Lock()
	c.entries = entries
	c.mu.Unlock()
	c.out.mu.Lock()
	c.out.count, c.out.entries, c.out.head = flowControl, entries, 1%entries // Connect itself has been fetched
	c.out.mu.Unlock()
}

// connected reports whether the connection is a queue of an association that has a controller, or
// will have one when the host has authenticated.
func (c *conn) connected() bool {
	return c.assoc != nil && (c.auth != nil || c.assoc.active())
}

// usable says that the handshake is over: the host is connected, and authenticated.
func (c *conn) usable() {
	c.in.limit = time.Time{}
	c.srv.settled(c)
	if c.qid != 0 {
		c.in.grow(ioBuffer)
	} else if c.srv.o.EnforceKeepAlive && c.assoc.kato > 0 {
		c.in.idle = c.assoc.kato + time.Second
	}
}

// wait waits until the connection has finished, or ctx has.
func (c *conn) wait(ctx context.Context) error {
	select {
	case <-c.finished:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// answer ends command cid, which has no slot.
func (c *conn) answer(cid uint16, st drive.Status) error {
	return c.out.answer(cid, drive.Completion{Status: st}, nil)
}
