package tcp

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"zimg/image/goroutine"
)

// DiscoveryNQN is the well-known name of the discovery subsystem, which every server has.
const DiscoveryNQN = "nqn.2014-08.org.nvmexpress.discovery"

// maxUnsettled is how many connections may be in their handshake. Of more the oldest is ended: a
// host needs milliseconds for it.
const maxUnsettled = 64

// Server serves subsystems on any number of listeners.
type Server struct {
	o    Options
	subs []Subsystem
	dh   chan struct{} // holds a token for each exponentiation under way

	wg sync.WaitGroup // accept loops and connections

	mu        sync.Mutex
	closed    bool
	listeners map[net.Listener]bool
	conns     map[*conn]bool
	unsettled []*conn // oldest first
	assocs    map[uint16]*association
	admitted  int // associations with NVM subsystems that are active
	last      uint16
}

// ErrSameNQN is wrapped by the error of New for two subsystems of one name, such as copies of one image.
var ErrSameNQN = errors.New("two subsystems have the same NQN")

// New makes a server of subs, which have different names.
func New(o Options, subs ...Subsystem) (*Server, error) {
	s := &Server{
		o: o.withDefaults(), dh: make(chan struct{}, 2),
		listeners: map[net.Listener]bool{}, conns: map[*conn]bool{}, assocs: map[uint16]*association{},
	}
	for _, sub := range subs {
		if err := CheckNQN(sub.NQN); err != nil {
			return nil, fmt.Errorf("subsystem NQN %q: %w", sub.NQN, err)
		}
		if _, found := s.subsystem(sub.NQN); found {
			return nil, fmt.Errorf("%w: %s", ErrSameNQN, sub.NQN)
		}
		s.subs = append(s.subs, sub)
	}
	for _, h := range o.Hosts {
		if h.NQN == "" {
			continue
		}
		if err := CheckNQN(h.NQN); err != nil {
			return nil, fmt.Errorf("host NQN %q: %w", h.NQN, err)
		}
	}
	return s, nil
}

// Serve accepts connections until the server or l is closed, and closes l. Several goroutines may serve
// listeners of their own. It returns nil when the server was closed.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return l.Close()
	}
	s.listeners[l] = true
	s.wg.Add(1)
	s.mu.Unlock()
	defer s.wg.Done()
	for {
		nc, err := l.Accept()
		if err != nil {
			s.mu.Lock()
			closed := s.closed
			delete(s.listeners, l)
			s.mu.Unlock()
			switch {
			case closed:
				return nil
			case temporary(err):
				s.o.Log("accept: %v", err)
				time.Sleep(50 * time.Millisecond) // until a descriptor is free again
				s.mu.Lock()
				s.listeners[l] = true
				s.mu.Unlock()
				continue
			}
			return errors.Join(err, l.Close())
		}
		s.ServeConn(nc)
	}
}

// temporary reports whether accept may succeed later, as when there are too many open files.
func temporary(err error) bool {
	var e interface{ Temporary() bool }
	return errors.As(err, &e) && e.Temporary()
}

// ServeConn serves a connection in a goroutine of its own, and closes it.
func (s *Server) ServeConn(nc net.Conn) {
	c := newConn(s, nc)
	s.mu.Lock()
	if s.closed || len(s.conns) >= s.o.MaxConnections {
		s.mu.Unlock()
		s.o.Log("%s: connection refused: %d are open", c, s.o.MaxConnections)
		_ = nc.Close()
		return
	}
	s.conns[c] = true
	s.unsettled = append(s.unsettled, c)
	var oldest *conn
	if len(s.unsettled) > maxUnsettled {
		oldest = s.unsettled[0]
		s.unsettled = s.unsettled[1:]
	}
	s.wg.Add(1)
	s.mu.Unlock()
	if oldest != nil {
		oldest.kill()
	}
	s.start(func() {
		defer s.wg.Done()
		c.serve()
	})
}

// start runs fn in a goroutine of its own.
func (s *Server) start(fn func()) { goroutine.Go(s.o.Panicked, fn) }

// settled says that c has become a queue that may be used.
func (s *Server) settled(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.unsettled, c); i >= 0 {
		s.unsettled = slices.Delete(s.unsettled, i, i+1)
	}
}

// gone says that c has finished.
func (s *Server) gone(c *conn) {
	s.settled(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// Close ends all connections after the answers to what is being executed, ends the controllers and
// returns when nothing is under way any more. Peers that do not take their answers are cut
// off after a moment. The hosts see lost connections, and will try to come back.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	var errs []error
	for l := range s.listeners {
		errs = append(errs, l.Close())
	}
	var queues []*conn
	for _, a := range s.assocs {
		queues = append(queues, a.queues()...)
	}
	s.mu.Unlock()
	stop(queues) // before the admin queues, with which everything ends
	s.mu.Lock()
	rest := slices.Collect(maps.Keys(s.conns))
	s.mu.Unlock()
	stop(rest)
	s.wg.Wait()
	return errors.Join(errs...)
}

// Abort ends all connections at once, without the answers to what is being executed. Close is still to be called.
func (s *Server) Abort() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for c := range s.conns {
		c.kill()
	}
}

// stop ends connections, and returns when they have finished.
func stop(conns []*conn) {
	for _, c := range conns {
		c.stop()
	}
	ctx, cancel := context.WithTimeout(context.Background(), lastWords)
	defer cancel()
	for _, c := range conns {
		if c.wait(ctx) != nil {
			c.kill()
		}
	}
}

// Hosts is the number of associations with NVM subsystems.
func (s *Server) Hosts() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.admitted
}

// subsystem finds one by its name; that of the discovery service is nil.
func (s *Server) subsystem(nqn string) (sub *Subsystem, found bool) {
	if nqn == DiscoveryNQN {
		return nil, true
	}
	for i := range s.subs {
		if s.subs[i].NQN == nqn {
			return &s.subs[i], true
		}
	}
	return nil, false
}

// allowed finds the rule for a host: the one that names it, or else one for any host.
func (s *Server) allowed(nqn string) (host *Host, ok bool) {
	if len(s.o.Hosts) == 0 {
		return nil, true
	}
	for i := range s.o.Hosts {
		switch s.o.Hosts[i].NQN {
		case nqn:
			return &s.o.Hosts[i], true
		case "":
			host = &s.o.Hosts[i]
		}
	}
	return host, host != nil
}

// associate makes an association with a controller identifier of its own, or nil if there are no more.
func (s *Server) associate(sub *Subsystem, host *Host, d connectData, kato time.Duration) *association {
	const most = 0xFFEF
	s.mu.Lock()
	defer s.mu.Unlock()
	for range most {
		if s.last++; s.last > most {
			s.last = 1
		}
		if s.assocs[s.last] == nil {
			a := &association{
				srv: s, sub: sub, host: host, cntlid: s.last, hostNQN: d.hostNQN, hostID: d.hostID, kato: kato,
				conns: map[uint16]*conn{}, finished: make(chan struct{}),
			}
			s.assocs[s.last] = a
			return a
		}
	}
	return nil
}

func (s *Server) association(cntlid uint16) *association {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.assocs[cntlid]
}

// rivals are the other active associations of the host of a with the subsystem of a.
func (s *Server) rivals(a *association) []*association {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*association
	for _, b := range s.assocs {
		if b != a && b.active() && b.sub == a.sub && b.hostID == a.hostID && b.hostNQN == a.hostNQN {
			list = append(list, b)
		}
	}
	return list
}

// admit counts a, unless there are as many as are allowed.
func (s *Server) admit(a *association) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.admitted >= s.o.MaxHosts {
		return false
	}
	s.admitted++
	a.counted = true
	return true
}

// ended says that nothing of a is left.
func (s *Server) ended(a *association) {
	s.mu.Lock()
	delete(s.assocs, a.cntlid)
	counted := a.counted
	if counted {
		s.admitted--
	}
	remaining := s.admitted
	s.mu.Unlock()
	if !counted {
		return
	}
	a.mu.Lock()
	orderly := a.orderly
	a.mu.Unlock()
	if orderly {
		s.o.Log("controller %d: %s has disconnected", a.cntlid, a.who())
	} else {
		s.o.Log("controller %d: lost the connection to %s", a.cntlid, a.who())
	}
	s.o.Left(remaining, orderly)
}
