package drive

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"zimg/layout"
)

// FaultOps says which commands a fault is for.
type FaultOps uint8

// Kinds of commands.
const (
	FaultReads  FaultOps = 1 << iota // Read, Compare, Verify, the sources of a Copy
	FaultWrites                      // Write, Zone Append, Write Zeroes, deallocation, Copy
	FaultZones                       // Zone Management Send on one zone, by its first block
)

// A Fault makes commands fail, or late, that touch certain blocks: what a drive does whose
// media or electronics go bad.
type Fault struct {
	NSID   layout.NSID
	LBA    layout.LBA // the first block
	Blocks layout.LBA // 0 stands for all that follow
	Ops    FaultOps
	Status Status        // Success for a fault that only delays
	Delay  time.Duration // before the command is executed
	Count  int           // how often; 0 stands for as long as the fault is there
}

// Faults is the table of faults of a drive. It is safe for use by many goroutines.
type Faults struct {
	active atomic.Bool // spares commands the lock while there are none
	mu     sync.Mutex
	next   int
	table  []numbered
}

type numbered struct {
	id int
	Fault
	left int
}

// Add adds a fault and returns its number.
func (f *Faults) Add(fault Fault) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next++
	f.table = append(f.table, numbered{f.next, fault, fault.Count})
	f.active.Store(true)
	return f.next
}

// Remove removes the fault with the given number, and reports whether there was one.
func (f *Faults) Remove(id int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := len(f.table)
	f.table = slices.DeleteFunc(f.table, func(n numbered) bool { return n.id == id })
	f.active.Store(len(f.table) > 0)
	return len(f.table) < before
}

// Clear removes all faults.
func (f *Faults) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.table = nil
	f.active.Store(false)
}

// List returns the faults by number, and how often each is still to occur in Count.
func (f *Faults) List() map[int]Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := map[int]Fault{}
	for _, n := range f.table {
		n.Count = n.left
		list[n.id] = n.Fault
	}
	return list
}

// match reports whether f is for blocks of a command of kind op.
func (f *Fault) match(id layout.NSID, lba, nlb layout.LBA, op FaultOps) bool {
	return f.NSID == id && f.Ops&op != 0 && (f.Blocks == 0 || lba < f.LBA+f.Blocks) && lba+nlb > f.LBA
}

// check is the status that a command on these blocks fails with, and counts.
func (f *Faults) check(id layout.NSID, lba, nlb layout.LBA, op FaultOps) Status {
	if !f.active.Load() {
		return Success
	}
	st, _ := f.take(id, lba, nlb, op, false)
	return st
}

// delay is how long cmd is to wait.
func (f *Faults) delay(cmd *Command) time.Duration {
	if !f.active.Load() {
		return 0
	}
	var op FaultOps
	nlb := cmd.NLB()
	switch cmd.Opcode() {
	case opRead, opCompare, opVerify:
		op = FaultReads
	case opWrite, opZoneAppend, opWriteZeroes:
		op = FaultWrites
	case opZoneSend:
		op, nlb = FaultZones, 1
	default:
		return 0
	}
	_, delay := f.take(cmd.NSID(), cmd.SLBA(), nlb, op, true)
	return delay
}

// take finds the first fault for the command: one that delays it, or one that fails it. A
// fault that does both counts when it fails the command.
func (f *Faults) take(id layout.NSID, lba, nlb layout.LBA, op FaultOps, delays bool) (Status, time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.table {
		n := &f.table[i]
		if !n.match(id, lba, nlb, op) || delays && n.Delay == 0 || !delays && n.Status == Success {
			continue
		}
		st, delay := n.Status, n.Delay
		if n.Count > 0 && (st == Success || !delays) {
			if n.left--; n.left <= 0 {
				f.table = slices.Delete(f.table, i, i+1)
				f.active.Store(len(f.table) > 0)
			}
		}
		return st, delay
	}
	return Success, 0
}
