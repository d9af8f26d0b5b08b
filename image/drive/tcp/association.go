package tcp

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"zimg/image/drive"
)

// association is what one host has with one subsystem: a controller, its admin queue and its
// I/O queues. It ends with its admin queue.
type association struct {
	srv     *Server
	sub     *Subsystem // nil: discovery
	host    *Host      // nil: any host may connect
	cntlid  uint16
	hostNQN string
	hostID  [16]byte
	kato    time.Duration

	ctrl    atomic.Pointer[Controller] // set by activate
	counted bool                       // as one of the hosts; under the lock of the server

	mu       sync.Mutex
	conns    map[uint16]*conn // by queue
	ending   bool
	orderly  bool          // the host has asked for a shutdown
	finished chan struct{} // closed when all is over
}

// drainTime is how long a new association waits for the commands of the old one that it
// replaces. After that it is refused with a status that makes the host retry.
const drainTime = 10 * time.Second

var errBusy = errors.New("commands of the old association of this host are still in progress")

// controller is the controller of an association that is active.
func (a *association) controller() Controller { return *a.ctrl.Load() }

// active reports whether the host has passed authentication, if it needs that.
func (a *association) active() bool { return a.ctrl.Load() != nil }

// activate makes the controller. Before that it ends what the same host had with the same
// subsystem, so that no command of a connection that the host has given up is executed from now on.
func (a *association) activate() error {
	if a.sub == nil {
		a.set(newDiscovery(a))
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	for _, old := range a.srv.rivals(a) {
		a.srv.o.Log("controller %d: replaced by a new connection of %s", old.cntlid, a.who())
		if err := old.end(ctx); err != nil {
			return errBusy
		}
	}
	if !a.srv.admit(a) {
		return errors.New("too many hosts are connected")
	}
	c, err := a.sub.New(Association{CNTLID: a.cntlid, HostNQN: a.hostNQN, HostID: a.hostID, KATO: a.kato})
	if err != nil {
		return err
	}
	a.set(c)
	a.srv.o.Log("controller %d: %s has connected to %s", a.cntlid, a.who(), a.sub.NQN)
	return nil
}

func (a *association) set(c Controller) { a.ctrl.Store(&c) }

// join adds queue qid. It fails if the association ends, or the queue exists.
func (a *association) join(c *conn, qid uint16) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ending || a.conns[qid] != nil {
		return false
	}
	a.conns[qid] = c
	return true
}

// admin is the connection of the admin queue, nil if it is lost.
func (a *association) admin() *conn {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.conns[0]
}

// lost says that c has finished. With its admin queue the association ends.
func (a *association) lost(c *conn) {
	a.mu.Lock()
	if a.conns[c.qid] == c {
		delete(a.conns, c.qid)
	}
	a.mu.Unlock()
	if c.qid == 0 {
		_ = a.end(context.Background())
	}
}

// queues are the I/O queues.
func (a *association) queues() []*conn {
	a.mu.Lock()
	defer a.mu.Unlock()
	var list []*conn
	for qid, c := range a.conns {
		if qid != 0 {
			list = append(list, c)
		}
	}
	return list
}

// dropQueues ends the I/O queues and waits until none of their commands is executed any more.
func (a *association) dropQueues() {
	queues := a.queues()
	for _, c := range queues {
		c.kill()
	}
	for _, c := range queues {
		<-c.finished
	}
}

// end ends the association: its connections, then its controller. It returns when all is over, or with
// the error of ctx; the end goes on then. Any goroutine may call it, but none of an association's own
// connections before it has finished.
func (a *association) end(ctx context.Context) error {
	a.mu.Lock()
	first := !a.ending
	a.ending = true
	a.mu.Unlock()
	if first {
		a.srv.start(a.finish)
	}
	select {
	case <-a.finished:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *association) finish() {
	a.mu.Lock()
	var all []*conn
	for _, c := range a.conns {
		all = append(all, c)
	}
	a.mu.Unlock()
	for _, c := range all {
		c.kill()
	}
	for _, c := range all {
		<-c.finished
	}
	if a.active() {
		a.controller().Abandon() // ends what waits
		a.controller().Close()
	}
	a.srv.ended(a)
	close(a.finished)
}

// writeCC is a write to CC: before a reset or a shutdown the I/O queues end.
func (a *association) writeCC(v uint64) drive.Status {
	const enable, shutdown = 1, 3 << 14
	if old, _ := a.controller().ReadRegister(regCC, 4); old&enable != 0 && v&enable == 0 || v&shutdown != 0 {
		a.dropQueues()
	}
	if v&shutdown != 0 {
		a.mu.Lock()
		a.orderly = true
		a.mu.Unlock()
	}
	return a.controller().WriteRegister(regCC, 4, v)
}

// who names the host in messages.
func (a *association) who() string {
	if a.hostNQN == "" {
		return "a host without a name"
	}
	return a.hostNQN
}
