package control

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync"
	"time"

	"zimg/image/drive"
)

// Options are what a Server is for.
type Options struct {
	Drive *drive.Drive
	// Snapshot takes a snapshot of the image; Server makes sure that no command runs meanwhile.
	Snapshot func(s Snapshot) error
	Session  [16]byte // of the image
	// PowerCut cuts the power of the drive; nil if that is not possible.
	PowerCut func(PowerCut) error
	Log      func(format string, args ...any)
}

const (
	maxClients = 16               // at once; others wait in the socket's queue
	patience   = 10 * time.Second // for a client to say what it wants, or to take the answer
)

// Server answers requests about one drive.
type Server struct {
	o    Options
	path string
	l    *net.UnixListener

	clients chan struct{}
	running sync.WaitGroup
	doing   sync.Mutex // one request at a time
	mu      sync.Mutex
	conns   map[*net.UnixConn]bool // whether it has sent a request
	closed  bool
}

// Listen makes the socket at path, which the process with the lock of the image does: a socket that is there is one
// that another process has left. Something else that is there stays, and is an error. The caller closes the Server.
func Listen(path string, o Options) (*Server, error) {
	info, err := os.Lstat(path)
	switch {
	case err == nil && info.Mode().Type() != os.ModeSocket:
		return nil, fmt.Errorf("%s already exists and is not a control socket", path)
	case err == nil:
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	folder, address, err := within(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = folder.Close() }()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: address, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // the address means nothing later
	// Until the mode is set a stranger may connect, but is sent away by accept.
	if err := os.Chmod(address, 0o600); err != nil {
		return nil, errors.Join(err, l.Close(), os.Remove(path))
	}
	s := &Server{o: o, path: path, l: l, clients: make(chan struct{}, maxClients), conns: map[*net.UnixConn]bool{}}
	s.start(s.accept)
	return s, nil
}

// Close removes the socket, ends connections that have not sent a request, and waits until requests are done and
// answered.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	err := errors.Join(os.Remove(s.path), s.l.Close())
	for c, requested := range s.conns {
		if !requested {
			_ = c.Close()
		}
	}
	s.mu.Unlock()
	s.running.Wait()
	return err
}

// start runs fn in a goroutine of its own, for which Close waits.
func (s *Server) start(fn func()) {
	s.running.Add(1)
	s.o.Drive.Go(func() {
		defer s.running.Done()
		fn()
	})
}

func (s *Server) accept() {
	for {
		s.clients <- struct{}{}
		conn, err := s.l.AcceptUnix()
		if err != nil {
			<-s.clients
			if errors.Is(err, net.ErrClosed) {
				return
			}
			s.o.Log("control socket: %v", err)
			time.Sleep(100 * time.Millisecond) // too many open files, which may pass
			continue
		}
		if !s.note(conn, false) {
			_ = conn.Close()
			return
		}
		s.start(func() {
			defer func() {
				s.mu.Lock()
				delete(s.conns, conn)
				s.mu.Unlock()
				_ = conn.Close()
				<-s.clients
			}()
			if err := s.serve(conn); err != nil {
				s.o.Log("control socket: %v", err)
			}
		})
	}
}

// note keeps conn, and whether it has sent a request, for Close. It returns false if the server is being closed.
func (s *Server) note(conn *net.UnixConn, requested bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.conns[conn] = requested
	}
	return !s.closed
}

// serve answers one client.
func (s *Server) serve(conn *net.UnixConn) error {
	p, err := peerOf(conn)
	if err != nil {
		return err
	}
	if p.uid != 0 && p.uid != os.Geteuid() {
		return fmt.Errorf("user %d, pid %d, is not the user that serves the image", p.uid, p.pid)
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if err := send(conn, Hello{Version: Version, Session: fmt.Sprintf("%x", s.o.Session), PID: os.Getpid()}); err != nil {
		return nil //nolint:nilerr // it has gone, as one does that only looks whether somebody is there
	}
	var q Request
	if err := receive(conn, &q); err != nil {
		if errors.Is(err, ErrMessage) {
			return err
		}
		return nil // as above
	}
	if !s.note(conn, true) {
		return nil
	}
	s.doing.Lock()
	r := s.do(&q)
	s.doing.Unlock()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil //nolint:nilerr // the server is being closed
	}
	return send(conn, r)
}
