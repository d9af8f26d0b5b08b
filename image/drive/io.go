package drive

import (
	"zimg/layout"
)

// Fields of dword 12 of reads and writes.
const (
	rwFUA      = 1 << 30
	rwPIShift  = 26
	rwPIMask   = 0xF
	rwDEAC     = 1 << 25 // of Write Zeroes
	rwPIREMAP  = 1 << 25 // of Zone Append
	fuseMask   = 3       // in the flags
	dsmRange   = 16      // bytes of a range of a Dataset Management
	dsmMost    = 256     // ranges
	copyNarrow = 32      // bytes of a source range of a Copy, format 0
	copyWide   = 40      // format 1: 64-bit guards
)

// A request is an I/O command on its way through the controller.
type request struct {
	c    *Controller
	n    *namespace
	cmd  *Command
	qid  uint16
	lba  layout.LBA
	nlb  layout.LBA // blocks, from 1
	data []byte
	meta []byte
}

// target finds the namespace of cmd, which must have the command.
func (c *Controller) target(cmd *Command) (*namespace, Status) {
	id := cmd.NSID()
	if id == 0 || id > c.d.maxNSID() {
		return nil, InvalidNamespace.fatal()
	}
	n := c.d.namespace(id)
	if n == nil {
		return nil, InvalidField.fatal()
	}
	if !n.supports(cmd.Opcode(), c.css.Load()) {
		return nil, InvalidOpcode.fatal()
	}
	return n, Success
}

// supports reports whether n has the I/O command op. A host that enabled the NVM command
// set alone gets no zone commands.
func (n *namespace) supports(op uint8, css uint32) bool {
	switch op {
	case opFlush, opWrite, opRead, opCompare, opWriteZeroes, opDSM, opVerify, opCopy:
		return true
	case opZoneSend, opZoneReceive, opZoneAppend:
		return n.Zoned() && css == cssAll
	}
	return false
}

// ioTransfer is Transfer for an I/O queue.
func (c *Controller) ioTransfer(cmd *Command) (dir Direction, data, meta int, st Status) {
	if cmd.Flags()&fuseMask != 0 {
		return None, 0, 0, InvalidField.fatal()
	}
	if cmd.Opcode() == opFlush && cmd.NSID() == allNamespaces {
		return None, 0, 0, Success
	}
	n, st := c.target(cmd)
	if !st.OK() {
		return None, 0, 0, st
	}
	switch cmd.Opcode() {
	case opRead:
		data, meta, st = c.blockTransfer(n, cmd)
		return FromController, data, meta, st
	case opWrite, opCompare, opZoneAppend:
		data, meta, st = c.blockTransfer(n, cmd)
		return ToController, data, meta, st
	case opWriteZeroes, opVerify:
		return None, 0, 0, n.inRange(cmd.SLBA(), cmd.NLB())
	case opDSM:
		return ToController, (int(cmd.DW(10)&0xFF) + 1) * dsmRange, 0, Success
	case opCopy:
		return c.copyTransfer(n, cmd)
	case opZoneSend:
		data, st = n.sendTransfer(cmd)
		return ToController, data, 0, st
	case opZoneReceive:
		data, st = c.reportTransfer(n, cmd)
		return FromController, data, 0, st
	}
	return None, 0, 0, Success
}

// inRange refuses blocks that n does not have.
func (n *namespace) inRange(lba, nlb layout.LBA) Status {
	if lba >= n.Blocks || nlb > n.Blocks-lba {
		return LBAOutOfRange.fatal()
	}
	return Success
}

// blockTransfer is what the blocks of a read, write, compare or append take: data, and
// metadata apart unless the host sees both as one. The controller that inserts and strips
// protection information (PRACT) moves no metadata that consists of nothing else.
func (c *Controller) blockTransfer(n *namespace, cmd *Command) (data, meta int, st Status) {
	nlb := cmd.NLB()
	if st := n.inRange(cmd.SLBA(), nlb); !st.OK() {
		return 0, 0, st
	}
	data, meta = int(nlb)<<n.BlockBits, int(nlb)*int(n.MS)
	switch {
	case n.strips(cmd):
		meta = 0
	case c.extended(n):
		data, meta = data+meta, 0
	}
	most := c.d.MaxTransfer()
	if cmd.Opcode() == opZoneAppend && c.d.o.ZASL != 0 {
		most = pageSize << c.d.o.ZASL
	}
	if data > most || meta > most {
		return 0, 0, InvalidField.fatal()
	}
	return data, meta, Success
}

// io executes a command of an I/O queue. A command whose buffers do not have the lengths
// that Transfer gave is refused.
func (c *Controller) io(qid uint16, cmd *Command, data, meta []byte, done func(Completion)) (Completion, bool) {
	_, wantData, wantMeta, st := c.ioTransfer(cmd)
	if st.OK() && (len(data) != wantData || len(meta) != wantMeta) {
		st = DataTransferError.fatal()
	}
	if !st.OK() {
		c.failed(qid, cmd, st)
		return Completion{Status: st}, true
	}
	if delay := c.d.faults.delay(cmd); delay > 0 {
		c.later(delay, qid, cmd, data, meta, done)
		return Completion{}, false
	}
	return c.finish(qid, cmd, data, meta), true
}

// finish executes a command that was checked, and keeps count.
func (c *Controller) finish(qid uint16, cmd *Command, data, meta []byte) Completion {
	c.d.still.RLock()
	defer c.d.still.RUnlock()
	r := request{c: c, cmd: cmd, qid: qid, lba: cmd.SLBA(), nlb: cmd.NLB(), data: data, meta: meta}
	var cpl Completion
	if cmd.NSID() == allNamespaces {
		cpl.Status = c.d.flush()
	} else {
		r.n = c.d.namespace(cmd.NSID())
		cpl = r.execute()
	}
	if cpl.Status.OK() && c.d.mustBeDurable(cmd) {
		cpl.Status = r.persist(cpl.Result)
	}
	if cpl.Status.OK() {
		c.d.stats.count(cmd, int64(r.nlb), r.n)
	} else {
		c.failed(qid, cmd, cpl.Status)
	}
	return cpl
}

// execute runs r on its namespace.
func (r *request) execute() Completion {
	switch r.cmd.Opcode() {
	case opFlush:
		return Completion{Status: r.c.d.flush()}
	case opRead:
		return Completion{Status: r.read()}
	case opWrite, opZoneAppend:
		return r.write()
	case opCompare:
		return Completion{Status: r.compare()}
	case opVerify:
		return Completion{Status: r.verify()}
	case opWriteZeroes:
		return Completion{Status: r.writeZeroes()}
	case opDSM:
		return Completion{Status: r.deallocate()}
	case opCopy:
		return r.copy()
	case opZoneSend:
		return Completion{Status: r.zoneSend()}
	case opZoneReceive:
		return Completion{Status: r.zoneReport()}
	}
	return Completion{Status: InvalidOpcode.fatal()}
}

// persist makes durable what r has done; result is that of its completion.
func (r *request) persist(result uint64) Status {
	lba := r.lba
	switch r.cmd.Opcode() {
	case opZoneAppend:
		lba = layout.LBA(result)
	case opWrite, opWriteZeroes, opCopy:
	default: // zones, or several ranges
		return r.c.d.flush()
	}
	return statusOf(r.c.d.st.Persist(r.n.ID, lba), WriteFault)
}

// flush makes durable everything that was completed.
func (d *Drive) flush() Status {
	return statusOf(d.st.Flush(), WriteFault)
}

// mustBeDurable reports whether cmd, which has changed something, must not complete before
// that is durable: it says so (FUA), or there is no volatile write cache.
func (d *Drive) mustBeDurable(cmd *Command) bool {
	switch cmd.Opcode() {
	case opWrite, opZoneAppend, opWriteZeroes, opCopy:
		return cmd.DW(12)&rwFUA != 0 || !d.cached.Load()
	case opZoneSend, opDSM:
		return !d.cached.Load()
	}
	return false
}
