package tcp

import (
	"fmt"

	"zimg/image/drive"
)

// command is a command between its capsule and its answer.
type command struct {
	c    *conn
	tag  uint16
	done func(drive.Completion) // for commands that are answered later

	sqe     drive.Command
	dir     drive.Direction
	buf     *buffer
	data    []byte // within buf
	held    int    // of the connection's bytes
	got     int    // bytes of data that have come
	pending bool   // data comes in H2CData PDUs; under the lock of the connection
	corrupt bool   // a data digest was wrong
}

// SGL descriptor types with their subtypes, in the last byte of the data pointer.
const (
	sglCapsule   = 0x01 // data block at an offset in the capsule
	sglTransport = 0x5A // data block that the transport moves
)

const opFabrics = 0x7F

func (cmd *command) fabrics() bool     { return cmd.sqe.Opcode() == opFabrics }
func (cmd *command) sglType() uint8    { return cmd.sqe[39] }
func (cmd *command) sglLength() uint32 { return le.Uint32(cmd.sqe[32:]) }
func (cmd *command) sglOffset() uint64 { return le.Uint64(cmd.sqe[24:]) }

// take returns a free slot, or nil if the host has more commands under way than its queue has
// entries.
func (c *conn) take() *command {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.free); n > 0 {
		cmd := c.free[n-1]
		c.free = c.free[:n-1]
		return cmd
	}
	if len(c.slots) >= c.entries {
		return nil
	}
	cmd := &command{c: c, tag: uint16(len(c.slots))}
	// Never in the goroutine that calls it, which belongs to the controller and must not
	// wait for a peer.
	cmd.done = func(cpl drive.Completion) { c.srv.start(func() { cmd.late(cpl) }) }
	c.slots = append(c.slots, cmd)
	return cmd
}

// give ends the life of a command. Commands that have waited for its memory may go on.
func (c *conn) give(cmd *command) {
	cmd.buf.free()
	held := cmd.held
	cmd.buf, cmd.data, cmd.held, cmd.got, cmd.pending, cmd.corrupt = nil, nil, 0, 0, false, false
	c.mu.Lock()
	c.held -= held
	c.free = append(c.free, cmd)
	var next []*command
	for held > 0 && len(c.waiting) > 0 && c.admits(c.waiting[0]) {
		next = append(next, c.waiting[0])
		c.waiting = c.waiting[1:]
	}
	c.mu.Unlock()
	for _, n := range next {
		n.buf = newBuffer(n.held)
		n.data = n.buf.b[:n.held]
		_ = c.out.ready(n.sqe.CID(), n.tag, n.held)
	}
}

// admits takes the bytes of cmd from what the connection may hold, and reports whether it may. The caller
// has the lock.
func (c *conn) admits(cmd *command) bool {
	if c.held > 0 && c.held+cmd.held > c.srv.o.Held {
		return false
	}
	c.held += cmd.held
	cmd.pending = true
	return true
}

// capsule is a CapsuleCmd PDU with header b, digest included.
func (c *conn) capsule(h header, b []byte) error {
	n, err := c.dataLength(h)
	if err != nil {
		return err
	}
	if n > InCapsule {
		return badField(4, "%d bytes of data in a command capsule", n)
	}
	c.out.fetched()
	cmd := c.take()
	if cmd == nil {
		if err := c.in.skip(n + c.digests.dataLen(n)); err != nil {
			return err
		}
		return c.answer(le.Uint16(b[commonLen+2:]), drive.SequenceError|drive.DNR)
	}
	copy(cmd.sqe[:], b[commonLen:])
	if n > 0 {
		cmd.buf = newBuffer(n)
		good, err := c.data(cmd.buf.b[:n])
		if err != nil {
			c.give(cmd)
			return err
		}
		cmd.corrupt = !good
	}
	size, st := c.prepare(cmd, n)
	if cmd.corrupt && cmd.sglType() == sglCapsule {
		st = transientTransport
	}
	if st != 0 {
		c.finish(cmd, drive.Completion{Status: st})
		return nil
	}
	switch {
	case size == 0:
		cmd.buf.free()
		cmd.buf = nil
	case cmd.dir == drive.FromController:
		cmd.buf.free()
		cmd.buf = newBuffer(size)
		cmd.data = cmd.buf.b[:size]
		if cmd.fabrics() || c.qid == 0 || cmd.sqe.Opcode() != opRead {
			clear(cmd.data) // what others have left there is not sent, whatever fills it
		}
	case cmd.sglType() == sglCapsule:
		cmd.data = cmd.buf.b[cmd.sglOffset():][:size]
	default:
		cmd.corrupt = false
		cmd.buf.free()
		cmd.buf = nil
		cmd.held = size
		return c.request(cmd)
	}
	return c.execute(cmd)
}

// prepare says how much data cmd moves, in cmd.dir, n bytes of it being in the capsule. With a
// status the command ends.
func (c *conn) prepare(cmd *command, n int) (size int, st drive.Status) {
	var meta int
	switch {
	case cmd.fabrics():
		cmd.dir, size, st = c.fabricsTransfer(cmd)
	case !c.connected():
		st = drive.SequenceError | drive.DNR
	case c.auth != nil && !c.auth.passed:
		st = authRequired
	default:
		cmd.dir, size, meta, st = c.assoc.controller().Transfer(c.qid, &cmd.sqe)
	}
	switch {
	case st != 0 || size == 0 && meta == 0:
		return 0, st
	case meta != 0 || cmd.sqe.Flags()>>6 != 1: // metadata in a buffer of its own, PRPs: no fabric has them
		return 0, drive.InvalidField | drive.DNR
	case cmd.sglType() != sglTransport && (cmd.sglType() != sglCapsule || cmd.dir != drive.ToController):
		return 0, sglTypeInvalid
	case uint64(cmd.sglLength()) < uint64(size):
		return 0, drive.InvalidSGLLength | drive.DNR
	}
	if cmd.sglType() == sglCapsule {
		// The sum cannot overflow: the offset is compared first.
		if off := cmd.sglOffset(); off > uint64(n) || off+uint64(cmd.sglLength()) > uint64(n) {
			return 0, sglOffsetInvalid
		}
	}
	return size, 0
}

// request asks the host for the data of cmd, now or when there is memory for it.
func (c *conn) request(cmd *command) error {
	size := cmd.held
	c.mu.Lock()
	now := len(c.waiting) == 0 && c.admits(cmd)
	if !now {
		c.waiting = append(c.waiting, cmd)
	}
	c.mu.Unlock()
	if !now {
		return nil
	}
	cmd.buf = newBuffer(size)
	cmd.data = cmd.buf.b[:size]
	return c.out.ready(cmd.sqe.CID(), cmd.tag, size)
}

// h2cData is an H2CData PDU with header b.
func (c *conn) h2cData(h header, b []byte) error {
	n, err := c.dataLength(h)
	if err != nil {
		return err
	}
	cid, tag, off, size := le.Uint16(b[8:]), le.Uint16(b[10:]), le.Uint32(b[12:]), le.Uint32(b[16:])
	c.mu.Lock()
	var cmd *command
	if int(tag) < len(c.slots) && c.slots[tag].pending {
		cmd = c.slots[tag]
	}
	c.mu.Unlock()
	switch {
	case cmd == nil:
		return badField(10, "data for transfer tag %d, which is not outstanding", tag)
	case cmd.sqe.CID() != cid:
		return badField(8, "data for command %d with the transfer tag of command %d", cid, cmd.sqe.CID())
	case n == 0 || uint64(size) != uint64(n):
		return badField(16, "DATAL %d in a PDU with %d bytes of data", size, n)
	case uint64(off)+uint64(size) > uint64(len(cmd.data)):
		return &protocolError{fes: fesRange, info: 12, why: fmt.Sprintf("bytes %d to %d of a transfer of %d", off, uint64(off)+uint64(size), len(cmd.data))}
	case int(off) != cmd.got:
		return badField(12, "DATAO %d after %d bytes", off, cmd.got)
	case h.flags&flagLast != 0 && cmd.got+n != len(cmd.data):
		return badField(1, "the last PDU ends at byte %d of %d", cmd.got+n, len(cmd.data))
	}
	good, err := c.data(cmd.data[cmd.got:][:n])
	if err != nil {
		return err
	}
	cmd.corrupt = cmd.corrupt || !good
	cmd.got += n
	if cmd.got < len(cmd.data) {
		return nil
	}
	c.mu.Lock()
	cmd.pending = false
	c.mu.Unlock()
	if cmd.corrupt {
		c.finish(cmd, drive.Completion{Status: transientTransport})
		return nil
	}
	return c.execute(cmd)
}

// execute executes cmd, whose data is there, in this goroutine or in the lane.
func (c *conn) execute(cmd *command) error {
	switch {
	case cmd.fabrics():
		return c.fabrics(cmd)
	case c.qid != 0 && slow(&cmd.sqe):
		c.later(cmd)
	default:
		c.run(cmd)
	}
	return nil
}

// run executes cmd and answers, unless the controller does that later.
func (c *conn) run(cmd *command) {
	if c.dead.Load() {
		c.give(cmd)
		return
	}
	cpl, ok := c.assoc.controller().Execute(c.qid, &cmd.sqe, cmd.data, nil, cmd.done)
	if ok {
		c.observe(cmd, cpl)
		c.finish(cmd, cpl)
	}
}

// finish answers cmd and ends its life.
func (c *conn) finish(cmd *command, cpl drive.Completion) {
	if !c.dead.Load() {
		var data []byte
		if cmd.dir == drive.FromController && cpl.Status.OK() {
			data = cmd.data
		}
		if c.out.answer(cmd.sqe.CID(), cpl, data) != nil {
			c.kill()
		}
	}
	c.give(cmd)
}

// late is finish for another goroutine than the reader.
func (cmd *command) late(cpl drive.Completion) {
	c := cmd.c
	c.finish(cmd, cpl)
	if !c.dead.Load() && c.out.flush() != nil {
		c.kill()
	}
}
