package drive

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"zimg/image/goroutine"
)

// ControllerOptions say whom a controller is for.
type ControllerOptions struct {
	CNTLID    uint16 // controller identifier, unique in the subsystem
	Fabrics   bool   // reached over NVMe over Fabrics; otherwise a PCI function
	HostNQN   string // "" if it is not known
	HostID    [16]byte
	KeepAlive time.Duration // the host's keep-alive timeout (KATO), for Get Features
	IOQueues  uint16        // I/O queues that it can have; 0 stands for the drive's
	// IOCapsule is the number of data bytes that a command capsule of an I/O queue carries
	// in itself, for Identify; fabrics only.
	IOCapsule int
	// QueueEntries is the most outstanding commands of a queue (MAXCMD); 0 stands for 128.
	QueueEntries uint16
	// DoorbellBuffer says that the transport executes Doorbell Buffer Config.
	DoorbellBuffer bool
}

const defaultMaxCmd = 128

// A Controller is what one host sees: a PCI function, or one association over a fabric.
// Execute may be called by one goroutine for each queue, the other methods by any.
type Controller struct {
	d *Drive
	o ControllerOptions

	regs  registers
	ready atomic.Bool   // CSTS.RDY as commands see it
	css   atomic.Uint32 // CC.CSS of the time it was enabled
	gone  atomic.Bool   // abandoned or closed
	used  atomic.Bool   // enabled since the last shutdown

	// gate is held for reading by every command that runs, and for writing by what has to
	// wait for them: a reset, a shutdown, the end.
	gate sync.RWMutex

	features features
	events   events
	errors   errorLog
	delayed  delayed

	host uint64 // who it is, for repeated writes
	peer peer
}

// NewController makes a controller, which is not enabled yet.
func (d *Drive) NewController(o ControllerOptions) *Controller {
	if o.IOQueues == 0 || o.IOQueues > d.o.IOQueues {
		o.IOQueues = d.o.IOQueues
	}
	if o.QueueEntries == 0 {
		o.QueueEntries = defaultMaxCmd
	}
	c := &Controller{d: d, o: o, host: o.hostNumber()}
	c.features.reset(&o)
	d.mu.Lock()
	d.controllers[c] = true
	d.mu.Unlock()
	return c
}

// Drive is the drive that c belongs to.
func (c *Controller) Drive() *Drive { return c.d }

// Transfer says what cmd will move: which way, and how many bytes of data and of separate
// metadata. A status other than success ends the command at once; nothing is moved then.
// What it answers is bounded by the drive's MaxTransfer, and by pages of 4096 bytes for
// admin commands.
func (c *Controller) Transfer(qid uint16, cmd *Command) (dir Direction, data, meta int, st Status) {
	defer goroutine.Recover(c.d.o.Panicked)
	if qid == 0 {
		dir, data, st = c.adminTransfer(cmd)
	} else {
		dir, data, meta, st = c.ioTransfer(cmd)
	}
	if !st.OK() {
		c.failed(qid, cmd, st)
		return None, 0, 0, st
	}
	if data == 0 && meta == 0 {
		dir = None
	}
	return dir, data, meta, Success
}

// Execute runs cmd, whose buffers have the lengths that Transfer gave. It returns false
// when the command completes later: done is called then, once, from any goroutine and
// perhaps before Execute returns, and the buffers are the controller's until it is. When
// the controller is reset or abandoned, commands that wait end with Command Aborted due to
// SQ Deletion. Queue 0 is the admin queue.
func (c *Controller) Execute(qid uint16, cmd *Command, data, meta []byte, done func(Completion)) (Completion, bool) {
	defer goroutine.Recover(c.d.o.Panicked)
	if qid == 0 {
		return c.executeAdmin(cmd, data, done)
	}
	c.gate.RLock()
	defer c.gate.RUnlock()
	if !c.ready.Load() {
		return Completion{Status: SequenceError.fatal()}, true
	}
	return c.io(qid, cmd, data, meta, done)
}

// executeAdmin is Execute for the admin queue. Other commands that complete with this one
// are answered when the gate is open again: their transport may take its time.
func (c *Controller) executeAdmin(cmd *Command, data []byte, done func(Completion)) (Completion, bool) {
	c.gate.RLock()
	if !c.ready.Load() {
		c.gate.RUnlock()
		return Completion{Status: SequenceError.fatal()}, true
	}
	var cpl Completion
	var also func()
	ok := true
	if cmd.Opcode() == opAbort && cmd.Flags()&fuseMask == 0 { // admin refuses a fused one
		cpl, also = c.abort(cmd)
	} else {
		cpl, ok = c.admin(cmd, data, done)
	}
	c.gate.RUnlock()
	if also != nil {
		also()
	}
	c.events.deliver()
	return cpl, ok
}

// reset is a controller level reset: commands are drained, and those that wait are aborted.
func (c *Controller) reset() {
	c.ready.Store(false)
	c.gate.Lock()
	waiting := c.takeWaiting()
	defer abortAll(waiting) // with the gate open
	defer c.gate.Unlock()
	c.features.reset(&c.o)
	c.d.resetWriteCache()
	c.regs.mu.Lock()
	c.regs.csts = 0
	c.regs.mu.Unlock()
}

// shutdown makes everything durable, and lets the zones come to rest if no other
// controller is at work.
func (c *Controller) shutdown() {
	c.gate.Lock()
	defer c.gate.Unlock()
	err := c.d.shutdown(c)
	c.used.Store(false)
	c.regs.mu.Lock()
	defer c.regs.mu.Unlock()
	c.regs.csts &^= cstsShutting | cstsShut
	c.regs.csts |= cstsShut
	if err != nil {
		c.regs.csts |= cstsFatal
	}
}

// Abandon says that the host is gone without a shutdown: the connection is lost, or the
// virtual machine died. It waits for commands that are running; those that wait are
// aborted. No zone changes. Writes that were not answered may be repeated by the same host.
func (c *Controller) Abandon() {
	c.ready.Store(false)
	c.gate.Lock()
	waiting := c.takeWaiting()
	defer abortAll(waiting) // with the gate open
	defer c.gate.Unlock()
	if c.gone.Swap(true) {
		return
	}
	if c.used.Load() {
		c.d.stats.unsafe.Add(1)
		c.peer.once.Do(func() {}) // none is given any more
		if c.peer.id != 0 {
			c.d.st.Disconnect(c.peer.id)
		}
	}
}

// takeWaiting takes the commands that wait for something; the caller ends them.
func (c *Controller) takeWaiting() []func(Completion) {
	return append(c.delayed.takeAll(), c.events.reset()...)
}

// abortAll ends commands of a controller that is reset or gone.
func abortAll(waiting []func(Completion)) {
	for _, done := range waiting {
		done(Completion{Status: AbortedSQDeletion})
	}
}

// Close ends the controller, after Abandon or a shutdown.
func (c *Controller) Close() {
	c.Abandon()
	c.settle()
	c.d.mu.Lock()
	delete(c.d.controllers, c)
	c.d.mu.Unlock()
}

// shutdown is the part of a controller's shutdown that is the subsystem's. A host that comes
// at this moment may find its first zones closed; it can open them again.
func (d *Drive) shutdown(by *Controller) error {
	for _, c := range d.attached() {
		if c != by && c.ready.Load() && !c.shut() {
			d.still.RLock()
			defer d.still.RUnlock()
			return d.st.Flush()
		}
	}
	return d.rest()
}

// controllerIDs are the identifiers of the controllers, in order, from first on.
func (d *Drive) controllerIDs(first uint16) []uint16 {
	d.mu.Lock()
	defer d.mu.Unlock()
	var ids []uint16
	for c := range d.controllers {
		if c.o.CNTLID >= first {
			ids = append(ids, c.o.CNTLID)
		}
	}
	slices.Sort(ids)
	return ids
}

// shut reports whether the host has shut the controller down.
func (c *Controller) shut() bool {
	c.regs.mu.Lock()
	defer c.regs.mu.Unlock()
	return c.regs.csts&(cstsShutting|cstsShut) != 0
}
