package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"zimg/image/drive/vfiouser"
)

// Sockets serves disks to virtual machines on this computer, each over a socket of its own.
type Sockets struct {
	disks     []*Disk
	listeners []*net.UnixListener
	once      bool
	log       func(format string, args ...any)

	mu     sync.Mutex
	conns  map[*net.UnixConn]bool
	ending bool
}

// ListenVFIOUser makes the sockets of disks, which stay the caller's. With once each is for one client only.
func ListenVFIOUser(disks []*Disk, paths []string, once bool, log func(format string, args ...any)) (*Sockets, error) {
	s := &Sockets{disks: disks, once: once, log: log, conns: map[*net.UnixConn]bool{}}
	for _, path := range paths {
		if err := removeStale(path); err != nil {
			return nil, errors.Join(err, s.close())
		}
		l, err := vfiouser.Listen(path)
		if err != nil {
			return nil, errors.Join(err, s.close())
		}
		s.listeners = append(s.listeners, l)
	}
	return s, nil
}

// removeStale removes a socket that a process which was killed has left. Everything else at path is in the way.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return nil //nolint:nilerr // nothing is there, or Listen says what is wrong
	}
	if info.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("%s exists and is not a socket", path)
	}
	if conn, err := net.Dial("unix", path); err == nil {
		return errors.Join(fmt.Errorf("%s is in use by another process", path), conn.Close())
	}
	return os.Remove(path)
}

// Serve serves until ctx ends, the power of a disk was cut, or, with once, until every client has come and gone. No
// client is left when it returns.
func (s *Sockets) Serve(ctx context.Context) error {
	errs := make(chan error, len(s.listeners))
	for i := range s.listeners {
		s.disks[i].Drive.Go(func() { errs <- s.serve(i) })
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.disks[0].Drive.Go(func() {
		<-anyOff(ctx, s.disks)
		_ = s.close()
		powerOff(s.disks)
	})
	var err error
	for range s.listeners {
		err = errors.Join(err, <-errs)
	}
	return errors.Join(err, s.close())
}

// serve serves the clients of disk i, one after the other: the drive is one PCI function.
func (s *Sockets) serve(i int) error {
	for {
		conn, err := s.listeners[i].AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		if !s.begin(conn) {
			return nil
		}
		err = vfiouser.Serve(conn, s.disks[i].Drive, vfiouser.Options{Log: func(format string, args ...any) {
			s.log("%s: "+format, append([]any{s.disks[i].Path}, args...)...)
		}})
		if ended := s.end(conn); ended {
			return nil
		}
		if err != nil {
			s.log("%s: %v", s.disks[i].Path, err)
		}
		if s.once {
			return nil
		}
	}
}

// begin notes a client; false: the service is at its end.
func (s *Sockets) begin(conn *net.UnixConn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending {
		_ = conn.Close()
		return false
	}
	s.conns[conn] = true
	return true
}

// end forgets a client, and reports whether the service is at its end.
func (s *Sockets) end(conn *net.UnixConn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, conn)
	return s.ending
}

// close closes the sockets and ends the clients.
func (s *Sockets) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending {
		return nil
	}
	s.ending = true
	var errs []error
	for _, l := range s.listeners {
		errs = append(errs, l.Close())
	}
	for conn := range s.conns {
		errs = append(errs, conn.Close())
	}
	return errors.Join(errs...)
}

// DeviceArguments are QEMU's arguments for a drive that listens on the socket at path.
func DeviceArguments(path string) string {
	return fmt.Sprintf(`-device '{"driver":"vfio-user-pci","socket":{"type":"unix","path":%q}}'`, path)
}
