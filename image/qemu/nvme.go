package qemu

import (
	"errors"
	"fmt"
	"time"

	"zimg/image/zns"
	"zimg/layout"
)

// Registers (NVM Express Base Specification 2.0, section 3.1.3) and the fields used of them.
const (
	regCAP  = 0x00
	regCC   = 0x14
	regCSTS = 0x1c
	regAQA  = 0x24
	regASQ  = 0x28
	regACQ  = 0x30
	regDBs  = 0x1000

	ccEnable     = 1 << 0
	ccCSSAll     = 6 << 4  // all I/O command sets: without it a zoned namespace is not usable
	ccSQES       = 6 << 16 // 64-byte entries
	ccCQES       = 4 << 20 // 16-byte entries
	cstsReady    = 1 << 0
	cstsFatal    = 1 << 1
	capCSSOthers = 1 << 43 // CAP.CSS bit 6: one or more I/O command sets
)

// Opcodes: Base 2.0, figure 138; NVM 1.0, figure 18; ZNS 1.1, section 3.
const (
	adminCreateSQ = 0x01
	adminCreateCQ = 0x05
	adminIdentify = 0x06
	cnsController = 0x01 // Identify: the controller
	identifyMDTS  = 77   // byte of what that returns: how much a command may transfer, in pages, as a power of two

	nvmFlush        = 0x00
	nvmWriteZeroes  = 0x08
	znsMgmtSend     = 0x79
	znsMgmtReceive  = 0x7a
	znsSetExtension = 0x10 // Zone Send Action
)

// Where queues and buffers are, from the beginning of memory, which is all ours while no guest runs.
const (
	memAdminSQ = 0x200000
	memAdminCQ = 0x201000
	memSQ      = 0x210000
	memCQ      = 0x220000
	memPRPs    = 0x230000
	memData    = 0x300000

	adminDepth = 16
	// queueDepth is how many commands are in flight.
	queueDepth = 256
	// dataLen is how much one command may transfer, if the controller allows so much.
	dataLen  = 256 << 10
	pageSize = 4096
	sqeLen   = 64
	cqeLen   = 16
)

// command is a submission queue entry (Base 2.0, figure 87).
type command struct {
	opcode uint8
	nsid   uint32
	data   bool // transfers what is at memData; prp2 may point to the list at memPRPs
	length int
	cdw    [6]uint32 // 10 to 15
	what   string    // for errors
}

// encode writes the entry to b; ram is where memory begins.
func (c *command) encode(b []byte, cid int, ram uint64) {
	clear(b[:sqeLen])
	le.PutUint32(b, uint32(c.opcode)|uint32(cid)<<16)
	le.PutUint32(b[4:], c.nsid)
	if c.data {
		le.PutUint64(b[24:], ram+memData)
		if c.length > 2*pageSize {
			le.PutUint64(b[32:], ram+memPRPs)
		} else if c.length > pageSize {
			le.PutUint64(b[32:], ram+memData+pageSize)
		}
	}
	for i, v := range c.cdw {
		le.PutUint32(b[40+4*i:], v)
	}
}

// queue is a pair of submission and completion queue.
type queue struct {
	id       int
	sq, cq   uint64
	depth    int
	tail     int
	head     int
	phase    uint16
	doorbell uint64 // of the submission queue; the other one's follows it
	stride   uint64
}

// Controller drives one NVMe controller through qtest, by polling.
type Controller struct {
	reset []string // Read Only zones that the guest has reset, see noteReset

	t       *QTest
	machine *machine
	pci     pciDevice
	base    uint64 // of its registers
	ram     uint64 // where memory begins
	admin   queue
	io      queue
	// transfer is how many bytes a command may transfer, at most dataLen.
	transfer int
}

// OpenController enables the controller at pci and makes one pair of I/O queues.
func OpenController(t *QTest, m *machine, pci pciDevice) (*Controller, error) {
	c := &Controller{t: t, machine: m, pci: pci, base: m.window, ram: m.ram, transfer: dataLen}
	if err := pci.enable(t, m); err != nil {
		return nil, err
	}
	caps, err := t.ReadQ(c.base + regCAP)
	if err != nil {
		return nil, err
	}
	switch {
	case caps == 0 || caps == ^uint64(0):
		return nil, fmt.Errorf("cannot reach the registers of the controller at %#x of machine %s", c.base, m.name)
	case caps&capCSSOthers == 0:
		return nil, fmt.Errorf("the controller does not support zoned namespaces (CAP %#x)", caps)
	}
	stride := uint64(4) << (caps >> 32 & 0xf)
	c.admin = queue{sq: c.ram + memAdminSQ, cq: c.ram + memAdminCQ, depth: adminDepth, phase: 1, doorbell: c.base + regDBs, stride: stride}
	c.io = queue{id: 1, sq: c.ram + memSQ, cq: c.ram + memCQ, depth: queueDepth, phase: 1, doorbell: c.base + regDBs + 2*stride, stride: stride}
	if err := c.start(); err != nil {
		return nil, err
	}
	if err := c.writePRPs(); err != nil {
		return nil, err
	}
	if err := c.identify(); err != nil {
		return nil, err
	}
	create := []command{
		{opcode: adminCreateCQ, cdw: [6]uint32{(queueDepth-1)<<16 | 1, 1}, what: "create completion queue"},
		{opcode: adminCreateSQ, cdw: [6]uint32{(queueDepth-1)<<16 | 1, 1<<16 | 1}, what: "create submission queue"},
	}
	for i, prp := range []uint64{c.io.cq, c.io.sq} {
		if err := c.run(&c.admin, create[i:i+1], prp); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// identify finds out how much a command may transfer.
func (c *Controller) identify() error {
	cmd := command{opcode: adminIdentify, data: true, length: pageSize, cdw: [6]uint32{cnsController}, what: "identify the controller"}
	if err := c.run(&c.admin, []command{cmd}, 0); err != nil {
		return err
	}
	b := make([]byte, pageSize)
	if err := c.t.Read(c.ram+memData, b); err != nil {
		return err
	}
	if mdts := b[identifyMDTS]; mdts > 0 && mdts < 16 { // 0 is no limit, and so is more than any buffer
		c.transfer = min(dataLen, pageSize<<mdts)
	}
	return nil
}

// start brings the controller from disabled to ready.
func (c *Controller) start() error {
	if err := c.t.WriteL(c.base+regCC, 0); err != nil {
		return err
	}
	if err := c.await("disable the controller", func(csts uint32) bool { return csts&cstsReady == 0 }); err != nil {
		return err
	}
	for _, m := range []struct {
		addr uint64
		n    int
	}{{c.admin.sq, adminDepth * sqeLen}, {c.admin.cq, adminDepth * cqeLen}, {c.io.sq, queueDepth * sqeLen}, {c.io.cq, queueDepth * cqeLen}} {
		if err := c.t.Clear(m.addr, m.n); err != nil {
			return err
		}
	}
	if err := c.t.WriteL(c.base+regAQA, (adminDepth-1)<<16|(adminDepth-1)); err != nil {
		return err
	}
	if err := c.t.WriteQ(c.base+regASQ, c.admin.sq); err != nil {
		return err
	}
	if err := c.t.WriteQ(c.base+regACQ, c.admin.cq); err != nil {
		return err
	}
	if err := c.t.WriteL(c.base+regCC, ccCQES|ccSQES|ccCSSAll|ccEnable); err != nil {
		return err
	}
	return c.await("enable the controller", func(csts uint32) bool { return csts&cstsReady != 0 })
}

func (c *Controller) await(what string, done func(csts uint32) bool) error {
	deadline := time.Now().Add(c.t.timeout)
	for {
		csts, err := c.t.ReadL(c.base + regCSTS)
		switch {
		case err != nil:
			return err
		case csts&cstsFatal != 0:
			return fmt.Errorf("%s: the controller has failed", what)
		case done(csts):
			return nil
		case c.t.interrupted():
			return errRunning
		case time.Now().After(deadline):
			return fmt.Errorf("%s: %w", what, ErrTimeout)
		}
		time.Sleep(time.Millisecond)
	}
}

// writePRPs makes a PRP list of the pages at memData after the first.
func (c *Controller) writePRPs() error {
	list := make([]byte, (dataLen/pageSize-1)*8)
	for i := 0; i < len(list); i += 8 {
		le.PutUint64(list[i:], c.ram+memData+uint64(i/8+1)*pageSize)
	}
	return c.t.Write(c.ram+memPRPs, list)
}

// run submits commands, as many at a time as the queue takes, and waits for all.
// prp, if not 0, is the first one's PRP1.
func (c *Controller) run(q *queue, commands []command, prp uint64) error {
	for len(commands) > 0 {
		if c.t.interrupted() {
			return errRunning
		}
		// A full queue has one entry free; not wrapping keeps a batch in one piece.
		n := min(len(commands), q.depth-1, q.depth-q.tail)
		b := make([]byte, n*sqeLen)
		for i := range commands[:n] {
			commands[i].encode(b[i*sqeLen:], i, c.ram)
			if prp != 0 {
				le.PutUint64(b[i*sqeLen+24:], prp)
			}
		}
		at := q.sq + uint64(q.tail*sqeLen)
		q.tail = (q.tail + n) % q.depth
		if err := c.t.post(writeMem(at, b), writeL(q.doorbell, uint32(q.tail))); err != nil {
			return err
		}
		if err := c.complete(q, commands[:n]); err != nil {
			return err
		}
		commands = commands[n:]
	}
	return nil
}

// complete waits until every one of commands has ended, and fails with the first error.
//
// It waits also if the guest was started meanwhile, unless the guest has disabled the controller: QEMU 7.2 crashes when a
// controller is reset that has commands in flight.
func (c *Controller) complete(q *queue, commands []command) error {
	deadline := time.Now().Add(c.t.timeout)
	var failed error
	ring := make([]byte, q.depth*cqeLen)
	looks := 0 // in vain, since the last completion
	for left := len(commands); left > 0; {
		// The entries that are still to come, up to the end of the ring.
		next := ring[:min(left, q.depth-q.head)*cqeLen]
		if err := c.t.Read(q.cq+uint64(q.head*cqeLen), next); err != nil {
			return err
		}
		seen := 0
		for ; len(next) > 0; next = next[cqeLen:] {
			e := next[:cqeLen]
			status := le.Uint16(e[14:])
			if status&1 != q.phase {
				break
			}
			if cid := int(le.Uint16(e[12:])); status>>1 != 0 && failed == nil && cid < len(commands) {
				// The status code; type 1 is command specific, as the zone statuses are.
				failed = fmt.Errorf("%s: %w", commands[cid].what, zns.Status(status>>1&0xff))
			}
			if q.head++; q.head == q.depth {
				q.head, q.phase = 0, q.phase^1
			}
			left--
			seen++
		}
		if seen > 0 {
			if err := c.t.WriteL(q.doorbell+q.stride, uint32(q.head)); err != nil {
				return err
			}
			looks = 0
			continue
		}
		if c.t.interrupted() {
			if enabled, err := c.halted(); err != nil || !enabled {
				return errors.Join(err, errRunning)
			}
		}
		if time.Now().After(deadline) {
			if c.t.interrupted() { // the guest may have written over the queues
				return errRunning
			}
			return fmt.Errorf("%s: %w", commands[0].what, ErrTimeout)
		}
		// The first look goes to QEMU together with the commands, and the second finds most of them done.
		if looks++; looks > 1 {
			time.Sleep(200 * time.Microsecond)
		}
	}
	return failed
}

// halted stops a guest that was started, and reports whether the controller is still enabled.
func (c *Controller) halted() (bool, error) {
	if err := c.t.halt(); err != nil {
		return false, err
	}
	csts, err := c.t.ReadL(c.base + regCSTS)
	return csts&cstsReady != 0 && csts != ^uint32(0), err
}

// close leaves the controller to the reset that is to come, and memory as a machine has it that was switched on.
func (c *Controller) close() error {
	if err := c.pci.disable(c.t, c.machine); err != nil {
		return err
	}
	if err := c.t.Clear(c.ram+memAdminSQ, memPRPs+pageSize-memAdminSQ); err != nil {
		return err
	}
	if err := c.t.Clear(c.ram+memData, dataLen); err != nil {
		return err
	}
	return c.t.Flush()
}

// zoneSend is a Zone Management Send (ZNS 1.1, section 3.4.3).
func zoneSend(nsid layout.NSID, action zns.Action, slba layout.LBA, all bool) command {
	c := command{opcode: znsMgmtSend, nsid: uint32(nsid), cdw: [6]uint32{uint32(slba), uint32(slba >> 32), 0, uint32(action)}, what: fmt.Sprintf("namespace %d: zone management send %#x at LBA %d", nsid, action, slba)}
	if all {
		c.cdw[3] |= 1 << 8
	}
	return c
}

// writeZeroes are the commands that move a write pointer by count blocks
// (NVM 1.0, section 3.2.8): up to 65,536 at a time, and no data is transferred.
func writeZeroes(nsid layout.NSID, slba, count layout.LBA) []command {
	var list []command
	for count > 0 {
		n := min(count, 1<<16)
		list = append(list, command{opcode: nvmWriteZeroes, nsid: uint32(nsid), cdw: [6]uint32{uint32(slba), uint32(slba >> 32), uint32(n - 1)}, what: fmt.Sprintf("namespace %d: write zeroes at LBA %d", nsid, slba)})
		slba, count = slba+n, count-n
	}
	return list
}
