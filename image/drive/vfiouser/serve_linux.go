package vfiouser

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime/debug"
	"sync"

	"golang.org/x/sys/unix"

	"zimg/image/drive"
)

// Listen makes the socket at path, which only its owner can connect to. The path is at
// most 107 bytes long. Closing the listener removes it.
func Listen(path string) (*net.UnixListener, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// session is one client: a PCI function in one virtual machine.
type session struct {
	conn    *wire
	c       *drive.Controller
	o       Options
	mem     memory
	dma     dma
	irq     interrupts
	config  configSpace
	queues  queues
	workers sync.WaitGroup
}

// Serve serves the drive to the client of conn until the client goes. It returns nil when the
// client has closed the connection, as QEMU does when it exits, and closes conn. Several
// sessions may serve one drive; CNTLIDs are theirs to share out, so one client per drive is the rule.
func Serve(conn *net.UnixConn, d *drive.Drive, o Options) error {
	o.complete()
	s := &session{conn: &wire{conn: conn}, o: o}
	s.c = d.NewController(drive.ControllerOptions{IOQueues: uint16(o.IOQueues)})
	s.o.IOQueues = min(o.IOQueues, int(d.Options().IOQueues))
	s.config = newConfigSpace(d.Options().VendorID, s.vectors())
	s.irq.fds = make([]int, s.vectors())
	for i := range s.irq.fds {
		s.irq.fds[i] = -1
	}
	s.dma.init(s.conn)
	s.mem.dma = &s.dma
	debug.SetPanicOnFault(true)
	err := s.loop()
	s.endEpoch()
	s.dma.close()
	_ = conn.Close()
	s.c.Abandon()
	s.workers.Wait()
	s.c.Close()
	s.irq.closeAll()
	s.mem.closeAll()
	if errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE) {
		return nil
	}
	return err
}

// vectors is the number of MSI-X vectors: one for each completion queue.
func (s *session) vectors() int { return s.o.IOQueues + 1 }

// loop reads messages until the connection ends.
func (s *session) loop() error {
	for {
		m, err := s.conn.read()
		if err != nil {
			return err
		}
		if m.isReply() {
			s.dma.reply(m)
			m.closeFDs()
			continue
		}
		err = s.handle(m)
		m.closeFDs() // those that were kept are no longer in it
		if err != nil {
			return err
		}
	}
}

// fault turns a fault in mapped guest memory into an error.
func fault(err *error) {
	if r := recover(); r != nil {
		if _, ok := r.(interface{ Addr() uintptr }); !ok {
			panic(r)
		}
		*err = errFault
	}
}
