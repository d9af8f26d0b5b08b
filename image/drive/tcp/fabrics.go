package tcp

import (
	"time"

	"zimg/image/drive"
)

// Fabrics command types (NVMe Base 2.0, section 6.2).
const (
	fctypePropertySet = 0x00
	fctypeConnect     = 0x01
	fctypePropertyGet = 0x04
	fctypeAuthSend    = 0x05
	fctypeAuthReceive = 0x06
	fctypeDisconnect  = 0x08
)

func (cmd *command) fctype() uint8 { return cmd.sqe[4] }

// fabricsTransfer says what a fabrics command moves, and refuses those that may not come now.
func (c *conn) fabricsTransfer(cmd *command) (dir drive.Direction, size int, st drive.Status) {
	kind := cmd.fctype()
	authenticated := c.auth == nil || c.auth.passed
	switch kind {
	case fctypeConnect:
		return drive.ToController, connectLen, 0
	case fctypeAuthSend, fctypeAuthReceive, fctypePropertyGet, fctypePropertySet, fctypeDisconnect:
	default:
		return drive.None, 0, drive.InvalidOpcode | drive.DNR
	}
	if !c.connected() {
		return drive.None, 0, drive.SequenceError | drive.DNR
	}
	switch kind {
	case fctypeAuthSend:
		size, st = c.authLength(&cmd.sqe)
		return drive.ToController, size, st
	case fctypeAuthReceive:
		size, st = c.authLength(&cmd.sqe)
		return drive.FromController, size, st
	case fctypePropertyGet, fctypePropertySet:
		switch {
		case !authenticated:
			return drive.None, 0, authRequired
		case c.qid != 0:
			return drive.None, 0, drive.InvalidField | drive.DNR
		}
	}
	return drive.None, 0, 0
}

// fabrics executes a fabrics command and answers it. An error ends the connection.
func (c *conn) fabrics(cmd *command) error {
	switch cmd.fctype() {
	case fctypeConnect:
		c.connect(cmd)
	case fctypePropertyGet:
		c.finish(cmd, c.propertyGet(&cmd.sqe))
	case fctypePropertySet:
		c.finish(cmd, drive.Completion{Status: c.propertySet(&cmd.sqe)})
	case fctypeAuthSend:
		c.finish(cmd, drive.Completion{Status: c.authSend(cmd)})
	case fctypeAuthReceive:
		c.finish(cmd, drive.Completion{Status: c.authReceive(cmd)})
	case fctypeDisconnect:
		return c.disconnect(cmd)
	}
	return nil
}

// propertySize is the size in an attribute byte, 0 if it is none.
func propertySize(sqe *drive.Command) int {
	switch sqe[40] & 7 {
	case 0:
		return 4
	case 1:
		return 8
	}
	return 0
}

func (c *conn) propertyGet(sqe *drive.Command) drive.Completion {
	size := propertySize(sqe)
	if size == 0 {
		return drive.Completion{Status: drive.InvalidField | drive.DNR}
	}
	v, st := c.assoc.controller().ReadRegister(le.Uint32(sqe[44:]), size)
	return drive.Completion{Result: v, Status: st}
}

func (c *conn) propertySet(sqe *drive.Command) drive.Status {
	size, off, v := propertySize(sqe), le.Uint32(sqe[44:]), le.Uint64(sqe[48:])
	switch {
	case size == 0 || size == 4 && v>>32 != 0:
		return drive.InvalidField | drive.DNR
	case off == regCC && size == 4:
		return c.assoc.writeCC(v)
	}
	return c.assoc.controller().WriteRegister(off, size, v)
}

// disconnect ends an I/O queue.
func (c *conn) disconnect(cmd *command) error {
	switch {
	case c.qid == 0:
		c.finish(cmd, drive.Completion{Status: invalidQueueType})
		return nil
	case le.Uint16(cmd.sqe[40:]) != 0:
		c.finish(cmd, drive.Completion{Status: incompatibleFormat})
		return nil
	}
	c.wg.Wait() // the answers to what came before
	c.finish(cmd, drive.Completion{})
	return errDisconnected
}

// observe notes what a command that has been executed means for the transport: a new
// keep-alive time.
func (c *conn) observe(cmd *command, cpl drive.Completion) {
	const setFeatures, keepAliveTimer = 0x09, 0x0F
	if c.qid != 0 || cmd.sqe.Opcode() != setFeatures || cmd.sqe.DW(10)&0xFF != keepAliveTimer || !cpl.Status.OK() {
		return
	}
	c.assoc.kato = time.Duration(cmd.sqe.DW(11)) * time.Millisecond
	c.in.idle = 0
	if c.srv.o.EnforceKeepAlive && c.assoc.kato > 0 {
		c.in.idle = c.assoc.kato + time.Second
	}
}
