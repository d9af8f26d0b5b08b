package tcp

import "zimg/image/drive"

// Opcodes of I/O commands that the transport treats in a way of their own.
const (
	opFlush       = 0x00
	opWrite       = 0x01
	opRead        = 0x02
	opWriteZeroes = 0x08
	opDSM         = 0x09
	opCopy        = 0x19
	opZoneSend    = 0x79
	opZoneAppend  = 0x7D
)

// slow reports whether an I/O command waits for the disk, or works on many zones.
func slow(sqe *drive.Command) bool {
	const fua, selectAll = 1 << 30, 1 << 8
	switch sqe.Opcode() {
	case opFlush, opDSM, opCopy:
		return true
	case opWrite, opZoneAppend, opWriteZeroes:
		return sqe.DW(12)&fua != 0
	case opZoneSend:
		return sqe.DW(13)&selectAll != 0
	}
	return false
}

// later lets the lane execute cmd. What the lane executes keeps its order, so that a host that
// has several writes to one zone under way sees them in order.
func (c *conn) later(cmd *command) {
	c.laneMu.Lock()
	defer c.laneMu.Unlock()
	c.lane = append(c.lane, cmd)
	if len(c.lane) == 1 {
		c.wg.Add(1)
		c.srv.start(c.runLane)
	}
}

// runLane executes until nothing is left.
func (c *conn) runLane() {
	defer c.wg.Done()
	for {
		c.laneMu.Lock()
		cmd := c.lane[0]
		c.laneMu.Unlock()
		c.run(cmd)
		if !c.dead.Load() && c.out.flush() != nil {
			c.kill()
		}
		c.laneMu.Lock()
		c.lane = c.lane[1:]
		more := len(c.lane) > 0
		c.laneMu.Unlock()
		if !more {
			return
		}
	}
}
