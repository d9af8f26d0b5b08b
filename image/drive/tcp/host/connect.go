package host

import (
	"errors"
	"fmt"
	"net"
)

// Params are those of a Connect command.
type Params struct {
	SubNQN, HostNQN string
	HostID          [16]byte
	QID, SQSize     uint16 // the size counts from 0
	CNTLID          uint16 // FFFFh for an admin queue
	NoFlowControl   bool
	KATO            uint32 // milliseconds
}

// StatusError is a command that has failed.
type StatusError struct {
	Status uint16
	Result uint64
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("status %03Xh, result %Xh", e.Status, e.Result)
}

// Check makes an error of a completion that is none of success.
func (c Completion) Check() error {
	if c.Status != 0 {
		return &StatusError{c.Status, c.Result}
	}
	return nil
}

// ConnectCommand is the command and its data.
func (p Params) ConnectCommand() (Command, []byte) {
	cmd := Command{0: 0x7F, 4: 1}
	le.PutUint16(cmd[42:], p.QID)
	le.PutUint16(cmd[44:], p.SQSize)
	if p.NoFlowControl {
		cmd[46] = 4
	}
	le.PutUint32(cmd[48:], p.KATO)
	data := make([]byte, 1024)
	copy(data, p.HostID[:])
	le.PutUint16(data[16:], p.CNTLID)
	copy(data[256:], p.SubNQN)
	copy(data[512:], p.HostNQN)
	return cmd, data
}

// Connect makes q the queue that p says. It returns the controller's identifier, and whether the host has to
// authenticate.
func (q *Queue) Connect(p Params) (cntlid uint16, auth bool, err error) {
	cmd, data := p.ConnectCommand()
	old := q.o.InCapsule
	q.o.InCapsule = max(old, len(data))
	c, err := q.Do(cmd, data, nil)
	q.o.InCapsule = old
	if err == nil {
		err = c.Check()
	}
	return uint16(c.Result), c.Result>>16 != 0, err
}

// Get reads a property of size 4 or 8.
func (q *Queue) Get(off uint32, size int) (uint64, error) {
	cmd := Command{0: 0x7F, 4: 4}
	cmd[40] = uint8(size / 8)
	le.PutUint32(cmd[44:], off)
	c, err := q.Do(cmd, nil, nil)
	if err == nil {
		err = c.Check()
	}
	return c.Result, err
}

// Set writes a property of 4 bytes.
func (q *Queue) Set(off, v uint32) error {
	cmd := Command{0: 0x7F, 4: 0}
	le.PutUint32(cmd[44:], off)
	le.PutUint32(cmd[48:], v)
	c, err := q.Do(cmd, nil, nil)
	if err == nil {
		err = c.Check()
	}
	return err
}

// Values of CC.
const (
	ccEnabled  = 0x460061
	ccShutdown = 0x464061
)

// Enable enables the controller and waits until it is ready.
func (q *Queue) Enable() error {
	if err := q.Set(0x14, ccEnabled); err != nil {
		return err
	}
	for range 100000 {
		if v, err := q.Get(0x1C, 4); err != nil || v&1 != 0 {
			return err
		}
	}
	return errors.New("the controller does not become ready")
}

// Shutdown shuts the controller down, and waits until it has.
func (q *Queue) Shutdown() error {
	if err := q.Set(0x14, ccShutdown); err != nil {
		return err
	}
	for range 100000 {
		if v, err := q.Get(0x1C, 4); err != nil || v>>2&3 == 2 {
			return err
		}
	}
	return errors.New("the controller does not shut down")
}

// Controller is an admin queue and I/O queues.
type Controller struct {
	Admin *Queue
	IO    []*Queue
}

// Dial connects to a controller with n I/O queues, whose entries p.SQSize says.
func Dial(dial func() (net.Conn, error), o Options, p Params, n int) (c *Controller, err error) {
	c = &Controller{}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	open := func() (*Queue, error) {
		nc, err := dial()
		if err != nil {
			return nil, err
		}
		q, err := Open(nc, o)
		if err != nil {
			return nil, errors.Join(err, nc.Close())
		}
		return q, nil
	}
	if c.Admin, err = open(); err != nil {
		return c, err
	}
	admin := p
	admin.QID, admin.SQSize, admin.CNTLID = 0, 31, 0xFFFF
	cntlid, _, err := c.Admin.Connect(admin)
	if err != nil {
		return c, err
	}
	if err := c.Admin.Enable(); err != nil {
		return c, err
	}
	for i := range n {
		q, err := open()
		if err != nil {
			return c, err
		}
		c.IO = append(c.IO, q)
		p.QID, p.CNTLID, p.KATO = uint16(i+1), cntlid, 0
		if _, _, err := q.Connect(p); err != nil {
			return c, err
		}
	}
	return c, nil
}

// Close closes the connections, without a shutdown.
func (c *Controller) Close() {
	for _, q := range c.IO {
		_ = q.Conn.Close()
	}
	if c.Admin != nil {
		_ = c.Admin.Conn.Close()
	}
}
