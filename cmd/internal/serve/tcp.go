package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"zimg/image/drive"
	"zimg/image/drive/tcp"
	"zimg/image/goroutine"
)

// Target serves disks over NVMe/TCP.
type Target struct {
	Server    *tcp.Server
	Listeners []net.Listener
	disks     []*Disk
	idle      *idle
}

// TCP are the options of a Target.
type TCP struct {
	tcp.Options          // Left is the target's own
	Listen      []string // addresses
	Once        bool     // the service ends when the last host has disconnected
}

// comeBack is how long a target with Once waits for hosts whose connections were lost: Linux tries again
// after 10 seconds.
const comeBack = 15 * time.Second

// Listen makes a target of disks, which stay the caller's. Hosts are served by Serve.
func Listen(disks []*Disk, o TCP) (_ *Target, err error) {
	t := &Target{disks: disks}
	if o.Once {
		t.idle = newIdle(o.Panicked)
		o.Left = t.idle.left
	}
	var subs []tcp.Subsystem
	for _, d := range disks {
		subs = append(subs, tcp.Subsystem{NQN: d.Drive.NQN(), New: func(a tcp.Association) (tcp.Controller, error) {
			return d.Drive.NewController(drive.ControllerOptions{
				CNTLID: a.CNTLID, Fabrics: true, HostNQN: a.HostNQN, HostID: a.HostID, KeepAlive: a.KATO,
				IOQueues: uint16(o.IOQueues), IOCapsule: tcp.InCapsule,
			}), nil
		}})
	}
	if t.Server, err = tcp.New(o.Options, subs...); err != nil {
		return nil, err
	}
	if t.idle != nil {
		t.idle.hosts = t.Server.Hosts
	}
	for _, address := range o.Listen {
		l, err := net.Listen("tcp", address)
		if err != nil {
			for _, l := range t.Listeners {
				_ = l.Close()
			}
			return nil, err
		}
		t.Listeners = append(t.Listeners, l)
	}
	return t, nil
}

// Serve serves until ctx ends, the last host has gone where the target is to end with it, or the power of a disk was
// cut. All controllers are closed when it returns.
func (t *Target) Serve(ctx context.Context) error {
	errs := make(chan error, len(t.Listeners))
	for _, l := range t.Listeners {
		t.disks[0].Drive.Go(func() { errs <- t.Server.Serve(l) })
	}
	var over <-chan struct{}
	if t.idle != nil {
		over = t.idle.over
	}
	var err error
	open := len(t.Listeners)
	select {
	case <-anyOff(ctx, t.disks):
		if cut(t.disks) {
			t.Server.Abort()
			powerOff(t.disks)
		}
	case <-over:
	case err = <-errs:
		open--
	}
	err = errors.Join(err, t.Server.Close())
	for range open {
		err = errors.Join(err, <-errs)
	}
	return err
}

// ConnectLine is the command that connects a host to disk d over address and port.
func ConnectLine(d *Disk, address string, port int, more string) string {
	return fmt.Sprintf("nvme connect -t tcp -a %s -s %d -n %s%s", address, port, d.Drive.NQN(), more)
}

// idle finds out when the last host has gone for good.
type idle struct {
	hosts func() int
	over  chan struct{}
	once  sync.Once

	panicked func(v any)
}

func newIdle(panicked func(v any)) *idle {
	return &idle{over: make(chan struct{}), panicked: panicked}
}

func (i *idle) end() { i.once.Do(func() { close(i.over) }) }

// left is called when a host has gone. One that has disconnected does not come back; a lost connection
// may.
func (i *idle) left(remaining int, orderly bool) {
	switch {
	case remaining > 0:
	case orderly:
		i.end()
	default:
		time.AfterFunc(comeBack, func() {
			defer goroutine.Recover(i.panicked)
			if i.hosts() == 0 {
				i.end()
			}
		})
	}
}
