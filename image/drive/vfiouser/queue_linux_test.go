package vfiouser

import (
	"zimg/image/drive"
)

// queue is a pair of queues as the guest sees it.
type queue struct {
	id         int
	sq, cq     int
	entries    uint32
	tail, head uint32
	phase      uint32
}

// submit puts cmd in the queue and rings the doorbell.
func (c *client) submit(q *queue, cmd *drive.Command) uint16 {
	c.t.Helper()
	c.cid++
	le.PutUint16(cmd[2:], c.cid)
	copy(c.ram[q.sq+int(q.tail)*sqEntry:], cmd[:])
	q.tail = (q.tail + 1) % q.entries
	c.setRegister(uint64(barDoorbells+8*q.id), q.tail)
	return c.cid
}

// completion waits for the next completion of the queue.
func (c *client) completion(q *queue) (cid uint16, result uint64, st drive.Status) {
	c.t.Helper()
	at := q.cq + int(q.head)*cqEntry
	c.until("completion", func() bool { return c.load(at+12)>>16&1 == q.phase })
	e := c.ram[at : at+cqEntry]
	cid, result, st = le.Uint16(e[12:]), le.Uint64(e), drive.Status(le.Uint16(e[14:])>>1)
	if q.head++; q.head == q.entries {
		q.head, q.phase = 0, q.phase^1
	}
	c.setRegister(uint64(barDoorbells+8*q.id+4), q.head)
	return cid, result, st
}

// do runs one command.
func (c *client) do(q *queue, cmd *drive.Command) (uint64, drive.Status) {
	c.t.Helper()
	want := c.submit(q, cmd)
	cid, result, st := c.completion(q)
	if cid != want {
		c.t.Fatalf("completion of command %d, want %d", cid, want)
	}
	return result, st.Code()
}

// adminQueue is the pair that enable made.
func adminQueue() *queue {
	return &queue{sq: adminSQ, cq: adminCQ, entries: adminEntries, phase: 1}
}

// createIO makes I/O queue pair 1.
func (c *client) createIO(admin *queue) *queue {
	c.t.Helper()
	cq := command(opCreateCQ, 0, ioCQ, 0)
	le.PutUint32(cq[40:], (ioEntries-1)<<16|1)
	le.PutUint32(cq[44:], 1<<16|3)
	if _, st := c.do(admin, cq); !st.OK() {
		c.t.Fatalf("create CQ: %v", st)
	}
	sq := command(opCreateSQ, 0, ioSQ, 0)
	le.PutUint32(sq[40:], (ioEntries-1)<<16|1)
	le.PutUint32(sq[44:], 1<<16|1)
	if _, st := c.do(admin, sq); !st.OK() {
		c.t.Fatalf("create SQ: %v", st)
	}
	return &queue{id: 1, sq: ioSQ, cq: ioCQ, entries: ioEntries, phase: 1}
}

func command(op uint8, nsid uint32, prp1, prp2 uint64) *drive.Command {
	var c drive.Command
	c[0] = op
	le.PutUint32(c[4:], nsid)
	le.PutUint64(c[24:], prp1)
	le.PutUint64(c[32:], prp2)
	return &c
}

// ioCommand is a read or a write of blocks.
func ioCommand(op uint8, nsid uint32, prp1, prp2, lba uint64, blocks int) *drive.Command {
	c := command(op, nsid, prp1, prp2)
	le.PutUint64(c[40:], lba)
	le.PutUint32(c[48:], uint32(blocks-1))
	return c
}
