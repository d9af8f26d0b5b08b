package vfiouser

import "zimg/image/drive"

// Admin commands about queues (NVMe over PCIe Transport 1.0, NVMe Base 2.0 section 5.4 on).
const (
	opDeleteSQ = 0x00
	opCreateSQ = 0x01
	opDeleteCQ = 0x04
	opCreateCQ = 0x05
)

// Status codes of these commands and of transfers.
const (
	invalidCQ       drive.Status = 0x100
	invalidQueueID  drive.Status = 0x101
	invalidSize     drive.Status = 0x102
	invalidVector   drive.Status = 0x108
	invalidDeletion drive.Status = 0x10C
	invalidPRP      drive.Status = 0x013
)

// queueCommand executes commands about queues; false: cmd is not one.
func (e *epoch) queueCommand(cmd *drive.Command) (drive.Status, bool) {
	var st drive.Status
	switch cmd.Opcode() {
	case opCreateCQ:
		st = e.createCQ(cmd)
	case opCreateSQ:
		st = e.createSQ(cmd)
	case opDeleteSQ:
		st = e.deleteSQ(uint16(cmd.DW(10)))
	case opDeleteCQ:
		st = e.deleteCQ(uint16(cmd.DW(10)))
	default:
		return 0, false
	}
	if !st.OK() {
		st |= drive.DNR
	}
	return st, true
}

// place checks what both kinds of queue have: an identifier from 1 on, a size, and
// contiguous memory that begins with a page.
func (e *epoch) place(cmd *drive.Command) (id uint16, base uint64, size uint32, st drive.Status) {
	id, size, base = uint16(cmd.DW(10)), cmd.DW(10)>>16+1, le.Uint64(cmd[24:])
	switch {
	case id == 0 || int(id) > e.s.o.IOQueues:
		st = invalidQueueID
	case size < 2 || size > maxEntries:
		st = invalidSize
	case cmd.DW(11)&1 == 0:
		st = drive.InvalidField
	case base%e.page != 0:
		st = invalidPRP
	}
	return id, base, size, st
}

func (e *epoch) createCQ(cmd *drive.Command) drive.Status {
	id, base, size, st := e.place(cmd)
	if !st.OK() {
		return st
	}
	vector := -1
	if cmd.DW(11)&2 != 0 {
		vector = int(cmd.DW(11) >> 16)
		if vector >= e.s.vectors() {
			return invalidVector
		}
	}
	e.mu.RLock()
	taken := e.cqs[id] != nil
	e.mu.RUnlock()
	if taken {
		return invalidQueueID
	}
	e.addCQ(id, base, size, vector)
	return drive.Success
}

func (e *epoch) createSQ(cmd *drive.Command) drive.Status {
	id, base, size, st := e.place(cmd)
	if !st.OK() {
		return st
	}
	e.mu.RLock()
	taken, cq := e.sqs[id] != nil, e.cqs[uint16(cmd.DW(11)>>16)]
	e.mu.RUnlock()
	switch {
	case taken:
		return invalidQueueID
	case cq == nil || cq.id == 0:
		return invalidCQ
	}
	e.addSQ(id, base, size, cq)
	return drive.Success
}

func (e *epoch) deleteSQ(id uint16) drive.Status {
	e.mu.Lock()
	sq := e.sqs[id]
	if id == 0 || sq == nil {
		e.mu.Unlock()
		return invalidQueueID
	}
	delete(e.sqs, id)
	sq.cq.users--
	e.mu.Unlock()
	sq.stop()
	return drive.Success
}

func (e *epoch) deleteCQ(id uint16) drive.Status {
	e.mu.Lock()
	defer e.mu.Unlock()
	cq := e.cqs[id]
	switch {
	case id == 0 || cq == nil:
		return invalidQueueID
	case cq.users > 0:
		return invalidDeletion
	}
	delete(e.cqs, id)
	return drive.Success
}
