// Package vfiouser serves a drive as a PCI NVMe controller over a vfio-user socket, for
// QEMU 10.1 and later (-device vfio-user-pci) and Cloud Hypervisor. It is the PCI
// function: configuration space, BAR 0, queues in guest memory, MSI-X. What commands do is
// the business of package drive.
//
//	vfiouser.go  the session        wire.go       messages and file descriptors
//	message.go   requests           pci.go        configuration space
//	bar.go       registers          queue.go      submission and completion queues
//	admin.go     creating queues    prp.go        where the data of a command is
//	memory.go    guest memory       dma.go        guest memory through the socket
//	interrupt.go MSI-X
//
// # Goroutines
//
// One goroutine reads messages and answers them; QEMU waits at most five seconds for an
// answer, with its big lock held, and serves our DMA requests under the same lock. So this
// goroutine never waits for the disk, for a DMA reply, or for a lock whose holder does. Each
// submission queue has a goroutine that executes its commands one after the other.
//
// # Reset
//
// An epoch is the time from the moment the host enables the controller to the moment it
// is reset. The end of an epoch cancels its context; whoever touches guest memory holds
// the memory's lock for reading and looks at the context under it. So when the end of an epoch has taken
// that lock once for writing, no command of the epoch touches guest memory any more,
// however long the disk takes to finish it.
//
// # Hostile guests and clients
//
// Guest memory changes while we look at it: a queue entry or a PRP list is copied once and
// judged in the copy. Every length is bounded before anything is allocated. A mapping whose file has become
// shorter faults; the fault ends the command and not the process.
//
// The protocol is QEMU's docs/interop/vfio-user.rst, the device NVMe over PCIe Transport 1.0.
package vfiouser

import "errors"

// Options are what a caller can choose about a session.
type Options struct {
	// Log is called with what the operator should know, such as guest memory that is not
	// shared. It may be nil. It is called from several goroutines.
	Log func(format string, args ...any)
	// IOQueues is the number of I/O queue pairs, at most 63; 0 stands for 8.
	IOQueues int
}

const (
	defaultIOQueues = 8
	maxIOQueues     = 63
)

// ErrUnsupported is returned by Serve on systems without vfio-user.
var ErrUnsupported = errors.New("vfio-user is available on Linux only")

func (o *Options) complete() {
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	if o.IOQueues <= 0 {
		o.IOQueues = defaultIOQueues
	}
	o.IOQueues = min(o.IOQueues, maxIOQueues)
}
