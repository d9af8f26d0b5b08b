// Package tcp serves NVMe subsystems over TCP (NVMe over Fabrics, NVMe/TCP Transport
// Specification 1.0): it carries commands between the sockets of hosts and controllers of
// package drive, and knows neither namespaces nor zones.
//
//	server.go       the listeners, the limits, and the end
//	conn.go         one connection, which is one queue: handshake, loop, end
//	reader.go       what a connection receives, with its deadlines
//	writer.go       what a connection sends, in batches
//	pdu.go          the headers                 capsule.go     commands and their data
//	connect.go      Connect and Disconnect      association.go the queues of one host
//	fabrics.go      properties, and which commands need what
//	auth.go         DH-HMAC-CHAP                chap.go        its arithmetic
//	key.go          secrets as nvme-cli prints them
//	discovery.go    the discovery service
//
// A host makes one connection per queue. Each has one goroutine, which reads PDUs and executes
// most commands itself: a command in the page cache takes less time than a switch to another
// goroutine. Commands that wait for the disk (flush, forced unit access) are executed by a second
// goroutine, the lane, so that reads after them go on.
//
//	             +--------------------------------------------+
//	socket ----->| reader: PDU -> command -> Execute -> answer|--+
//	             +-------------------+------------------------+  |   +--------+
//	                                 | slow commands             +-->| writer |--> socket
//	                                 v                           |   +--------+
//	                        lane: Execute -> answer -------------+
//
// A peer is not trusted. Every length is checked before anything is allocated for it, what a
// connection can make the server hold is bounded (see Options), and no goroutine of one connection
// waits for the peer of another.
package tcp

import (
	"encoding/binary"
	"time"

	"zimg/image/drive"
)

var le = binary.LittleEndian

// Controller is what the transport needs of a controller; *drive.Controller is one.
type Controller interface {
	ReadRegister(off uint32, size int) (uint64, drive.Status)
	WriteRegister(off uint32, size int, v uint64) drive.Status
	Transfer(qid uint16, cmd *drive.Command) (dir drive.Direction, data, meta int, st drive.Status)
	Execute(qid uint16, cmd *drive.Command, data, meta []byte, done func(drive.Completion)) (drive.Completion, bool)
	Abandon()
	Close()
}

// Association says who connects.
type Association struct {
	CNTLID  uint16
	HostNQN string
	HostID  [16]byte
	KATO    time.Duration // zero: no keep-alive timer
}

// Subsystem is one NVM subsystem, which hosts find by its NQN.
type Subsystem struct {
	NQN string
	// New makes the controller of one host. It is called by the goroutine of a connection;
	// its error is answered as Controller Busy.
	New func(a Association) (Controller, error)
}

// Host is a host that may connect.
type Host struct {
	NQN     string // empty: any host
	Key     *Key   // the host proves that it knows this; nil: no authentication
	CtrlKey *Key   // the subsystem proves, if the host asks, that it knows this
}

// Options are the limits and rules of a server. The zero value serves any host.
type Options struct {
	Hosts []Host // who may connect; empty: any host, without authentication

	MaxHosts       int // associations at once, 64 if zero
	MaxConnections int // connections at once, 512 if zero
	IOQueues       int // I/O queues of one host, 16 if zero
	QueueDepth     int // entries of an I/O queue, 128 if zero

	// Held is how many bytes of commands that wait for their data one connection may hold at
	// once, 1 MiB if zero. A single command may always be as large as the controller allows.
	Held int

	Stall     time.Duration // a peer that stops in the middle of a PDU is cut off after this, 60 s if zero
	Handshake time.Duration // a connection has this long to become a queue, 20 s if zero

	// EnforceKeepAlive ends an association whose host sends nothing on the admin queue for its
	// keep-alive time and one second. Without it a guest may be paused for as long as one likes;
	// TCP notices the death of a peer.
	EnforceKeepAlive bool

	// Advertise is the host part of the address in the discovery log, where hosts reach the
	// server under another one than that of its socket. Empty: the socket's.
	Advertise string
	// AdvertisePort is the port in the discovery log, where it is not the one that the log was
	// asked for on.
	AdvertisePort int

	Log func(format string, args ...any) // what happens, one line each; nil: nothing
	// Panicked, if not nil, is called with a panic in a goroutine of the server, see goroutine.Recover.
	Panicked func(v any)

	// Left is called when an association with an NVM subsystem has ended, with the number that
	// remain; orderly says that the host had shut its controller down.
	Left func(remaining int, orderly bool)
}

func (o Options) withDefaults() Options {
	number := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	number(&o.MaxHosts, 64)
	number(&o.MaxConnections, 512)
	number(&o.IOQueues, 16)
	number(&o.QueueDepth, 128)
	number(&o.Held, 1<<20)
	if o.Stall <= 0 {
		o.Stall = 60 * time.Second
	}
	if o.Handshake <= 0 {
		o.Handshake = 20 * time.Second
	}
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	if o.Left == nil {
		o.Left = func(int, bool) {}
	}
	return o
}

// Sizes that this transport promises in the ICResp and Identify Controller data.
const (
	InCapsule  = 8 << 10   // data in a command capsule; IOCCSZ is (64 + InCapsule) / 16
	maxH2CData = 128 << 10 // data of one H2CData PDU
	adminDepth = 32        // entries of an admin queue
)
