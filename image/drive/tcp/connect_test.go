package tcp

import (
	"bytes"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"zimg/image/drive"
	"zimg/image/drive/tcp/host"
)

// A Connect that is refused says why, and where in its parameters.
func TestConnectRefused(t *testing.T) {
	t.Parallel()
	tg := newTarget(t, Options{Hosts: []Host{{NQN: hostNQN}}, MaxHosts: 1, IOQueues: 4})
	good := tg.controller(host.Options{}, params(), 1)
	cntlid := tg.fakes()[0].a.CNTLID
	for _, c := range []struct {
		name   string
		edit   func(p *host.Params, cmd *host.Command)
		status drive.Status
		result uint64
	}{
		{"another format", func(_ *host.Params, cmd *host.Command) { cmd[40] = 1 }, incompatibleFormat, 0},
		{"unknown subsystem", func(p *host.Params, _ *host.Command) { p.SubNQN = testNQN + "x" }, connectInvalid, 1<<16 | 256},
		{"empty subsystem", func(p *host.Params, _ *host.Command) { p.SubNQN = "" }, connectInvalid, 1<<16 | 256},
		{"a name without an end", func(p *host.Params, _ *host.Command) { p.SubNQN = "nqn." + strings.Repeat("x", 252) }, connectInvalid, 1<<16 | 256},
		{"no host name", func(p *host.Params, _ *host.Command) { p.HostNQN = "" }, hostNotAllowed, 0},
		{"a host name without an end", func(p *host.Params, _ *host.Command) { p.HostNQN = "nqn." + strings.Repeat("x", 252) }, connectInvalid, 1<<16 | 512},
		{"a host name with a space", func(p *host.Params, _ *host.Command) { p.HostNQN += " x" }, connectInvalid, 1<<16 | 512},
		{"another host", func(p *host.Params, _ *host.Command) { p.HostNQN = otherNQN }, hostNotAllowed, 0},
		{"a controller of its choice", func(p *host.Params, _ *host.Command) { p.CNTLID = 5 }, connectInvalid, 1<<16 | 16},
		{"no entries", func(_ *host.Params, cmd *host.Command) { cmd[44] = 0 }, connectInvalid, 44},
		{"too many entries", func(_ *host.Params, cmd *host.Command) { cmd[45] = 0x10 }, connectInvalid, 44},
		{"queue 5 of 4", func(p *host.Params, cmd *host.Command) { p.CNTLID = cntlid; cmd[42] = 5 }, connectInvalid, 42},
		{"unknown controller", func(p *host.Params, cmd *host.Command) { p.CNTLID = cntlid + 1; cmd[42] = 1 }, connectInvalid, 1<<16 | 16},
		{"a queue that exists", func(p *host.Params, cmd *host.Command) { p.CNTLID = cntlid; cmd[42] = 1 }, drive.SequenceError | drive.DNR, 0},
		{"one host too many", func(p *host.Params, _ *host.Command) { p.HostID[0]++ }, controllerBusy, 0},
	} {
		p := params()
		var none host.Command
		c.edit(&p, &none)
		cmd, data := p.ConnectCommand()
		c.edit(&p, &cmd)
		q := tg.open(host.Options{InCapsule: 1024})
		cpl, err := q.Do(cmd, data, nil)
		if err != nil || drive.Status(cpl.Status) != c.status || c.result != 0 && cpl.Result != c.result {
			t.Errorf("%s: %+v, %v; want %v, %X", c.name, cpl, err, c.status, c.result)
		}
		if _, err := q.Get(regCAP, 8); statusOf(err) != drive.SequenceError|drive.DNR {
			t.Errorf("%s: a property without Connect: %v", c.name, err)
		}
	}
	if v, err := good.Admin.Get(regCSTS, 4); err != nil || v != 1 {
		t.Errorf("%d, %v", v, err)
	}
}

// An I/O queue may come with another host identifier than its admin queue, as that of a client in Python does.
func TestHostIdentifierOfQueue(t *testing.T) {
	t.Parallel()
	tg := newTarget(t, Options{IOQueues: 4})
	c := tg.controller(host.Options{}, params(), 1)
	p := params()
	p.HostID[0]++
	p.QID, p.CNTLID = 2, tg.fakes()[0].a.CNTLID
	q := tg.open(host.Options{InCapsule: 1024})
	if cntlid, _, err := q.Connect(p); err != nil || cntlid != p.CNTLID {
		t.Fatalf("%d, %v", cntlid, err)
	}
	for _, q := range []*host.Queue{q, c.IO[0]} {
		if cpl, err := q.Do(ioCommand(opRead, 0, 8), nil, make([]byte, 4096)); err != nil || cpl.Status != 0 {
			t.Errorf("%+v, %v", cpl, err)
		}
	}
}

// Where any host may connect it need not have a name: SPDK's identify has none.
func TestHostWithoutName(t *testing.T) {
	t.Parallel()
	tg := newTarget(t, Options{})
	p := params()
	p.HostNQN = ""
	c := tg.controller(host.Options{}, p, 1)
	if cpl, err := c.IO[0].Do(ioCommand(opRead, 0, 8), nil, make([]byte, 4096)); err != nil || cpl.Status != 0 {
		t.Errorf("%+v, %v", cpl, err)
	}
}

// A host that comes back ends what it had: no command of the old connections is executed after
// its Connect was answered, and one that is being executed is waited for.
func TestReconnectReplaces(t *testing.T) {
	t.Parallel()
	tg := newTarget(t, Options{})
	tg.flushes = make(chan chan struct{}, 1)
	old := tg.controller(host.Options{}, params(), 1)
	if _, err := old.IO[0].Submit(ioCommand(opFlush, 0, 1), nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := old.IO[0].W.Flush(); err != nil {
		t.Fatal(err)
	}
	wait := <-tg.flushes
	connected := make(chan error, 1)
	q := tg.open(host.Options{})
	go func() {
		_, _, err := q.Connect(params())
		connected <- err
	}()
	select {
	case err := <-connected:
		t.Fatalf("Connect was answered while an old command was running: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	close(wait)
	if err := <-connected; err != nil {
		t.Fatal(err)
	}
	if f := tg.fakes()[0]; !f.closed.Load() || f.running.Load() != 0 {
		t.Error("the old controller is not closed")
	}
	if _, err := old.Admin.Get(regCSTS, 4); err == nil {
		t.Error("the old admin queue is answered")
	}
	if orderly := <-tg.left; orderly {
		t.Error("that was no shutdown")
	}
}

// Another host, and the same host at another subsystem or with another identifier, replaces nothing.
func TestHostsSideBySide(t *testing.T) {
	t.Parallel()
	tg := newTarget(t, Options{})
	var all []*host.Controller
	for i := range 10 {
		p := params()
		p.HostID[3] = byte(i)
		all = append(all, tg.controller(host.Options{}, p, 2))
	}
	for i, c := range all {
		cpl, err := c.IO[1].Do(ioCommand(opRead, uint64(i), 8), nil, make([]byte, 4096))
		if err != nil || cpl.Status != 0 {
			t.Errorf("host %d: %+v, %v", i, cpl, err)
		}
	}
}

// A shutdown ends the I/O queues before the controller learns of it; so does a reset.
func TestShutdownAndReset(t *testing.T) {
	t.Parallel()
	tg := newTarget(t, Options{})
	c := tg.controller(host.Options{}, params(), 1)
	if err := c.Admin.Set(regCC, 0x460060); err != nil {
		t.Fatal(err)
	}
	if _, err := c.IO[0].Do(ioCommand(opRead, 0, 1), nil, make([]byte, 512)); err == nil {
		t.Error("an I/O queue outlives a reset")
	}
	if err := c.Admin.Enable(); err != nil {
		t.Fatal(err)
	}
	if err := c.Admin.Shutdown(); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if orderly := <-tg.left; !orderly {
		t.Error("a shutdown is not taken for one")
	}
}

// Disconnect ends an I/O queue, after the answer; the queue may come back. Not so the admin queue.
func TestDisconnect(t *testing.T) {
	t.Parallel()
	tg := newTarget(t, Options{})
	c := tg.controller(host.Options{}, params(), 1)
	disconnect := host.Command{0: 0x7F, 4: fctypeDisconnect}
	if cpl, err := c.Admin.Do(disconnect, nil, nil); err != nil || drive.Status(cpl.Status) != invalidQueueType {
		t.Errorf("%+v, %v", cpl, err)
	}
	if cpl, err := c.IO[0].Do(disconnect, nil, nil); err != nil || cpl.Status != 0 {
		t.Errorf("%+v, %v", cpl, err)
	}
	if _, err := c.IO[0].Do(disconnect, nil, nil); err == nil {
		t.Error("the connection is still there")
	}
	p := params()
	p.QID, p.CNTLID = 1, tg.fakes()[0].a.CNTLID
	if _, _, err := tg.open(host.Options{}).Connect(p); err != nil {
		t.Error(err)
	}
}

// With the keep-alive timer enforced, a host that is silent is cut off, and without it is not.
func TestKeepAlive(t *testing.T) {
	t.Parallel()
	for _, enforced := range []bool{false, true} {
		tg := newTarget(t, Options{EnforceKeepAlive: enforced})
		p := params()
		p.KATO = 100
		c := tg.controller(host.Options{}, p, 0)
		wait := time.Second
		if enforced {
			wait = 20 * time.Second
		}
		_ = c.Admin.Conn.SetReadDeadline(time.Now().Add(wait))
		var b [1]byte
		_, err := c.Admin.Conn.Read(b[:])
		if cut := !errIsTimeout(err); cut != enforced {
			t.Errorf("enforced %t: %v", enforced, err)
		}
	}
}

// The discovery service names the subsystems, at any offset of its log.
func TestDiscovery(t *testing.T) {
	t.Parallel()
	tg := newTarget(t, Options{Advertise: "10.0.2.2"})
	p := params()
	p.SubNQN = DiscoveryNQN
	c := tg.controller(host.Options{}, p, 0)
	id := make([]byte, 4096)
	cmd := host.Command{0: opIdentify, 40: 1}
	if cpl, err := c.Admin.Do(cmd, nil, id); err != nil || cpl.Status != 0 || id[111] != 2 || !bytes.HasPrefix(id[768:], []byte(DiscoveryNQN)) {
		t.Errorf("%+v, %v, % x", cpl, err, id[100:112])
	}
	page := make([]byte, 2048)
	get := func(b []byte, off uint32) {
		t.Helper()
		cmd := host.Command{0: opGetLog, 40: logDiscovery}
		le.PutUint16(cmd[42:], uint16(len(b)/4-1))
		le.PutUint32(cmd[48:], off)
		if cpl, err := c.Admin.Do(cmd, nil, b); err != nil || cpl.Status != 0 {
			t.Fatalf("%+v, %v", cpl, err)
		}
	}
	get(page, 0)
	e := page[1024:]
	port := tg.addr[strings.LastIndexByte(tg.addr, ':')+1:]
	if le.Uint64(page[8:]) != 1 || e[0] != 3 || e[1] != 1 || e[2] != 2 || strings.TrimRight(string(e[32:64]), " ") != port ||
		strings.TrimRight(string(e[512:768]), " ") != "10.0.2.2" || string(bytes.TrimRight(e[256:512], "\x00")) != testNQN {
		t.Errorf("log % x", page[:1100])
	}
	part := make([]byte, 512)
	get(part, 1024+256)
	if !bytes.HasPrefix(part, []byte(testNQN)) {
		t.Errorf("part of the log % x", part[:64])
	}
	get(part, 1<<30)
	if !bytes.Equal(part, make([]byte, 512)) {
		t.Errorf("behind the log % x", part)
	}
	for _, op := range []uint8{opRead, 0x55} {
		if cpl, err := c.Admin.Do(host.Command{0: op, 40: 1}, nil, nil); err != nil || cpl.Status == 0 {
			t.Errorf("opcode %X: %+v, %v", op, cpl, err)
		}
	}
	// It has no I/O queues.
	p.QID, p.CNTLID = 1, 1
	_, _, err := tg.open(host.Options{}).Connect(p)
	if s, ok := errors.AsType[*host.StatusError](err); !ok || s.Status&^0x4000 == 0 {
		t.Errorf("an I/O queue: %v", err)
	}
}

// The end of the server lets what is being executed be answered.
func TestCloseAnswers(t *testing.T) {
	t.Parallel()
	tg := newTarget(t, Options{})
	tg.flushes = make(chan chan struct{}, 1)
	c := tg.controller(host.Options{}, params(), 1)
	if _, err := c.IO[0].Submit(ioCommand(opFlush, 0, 1), nil, nil); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		wait := <-tg.flushes
		go func() { ended <- tg.srv.Close() }()
		for !tg.stopping() {
			runtime.Gosched()
		}
		close(wait)
	}()
	if cpl, err := c.IO[0].Next(); err != nil || cpl.Status != 0 {
		t.Errorf("%+v, %v", cpl, err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Names that no host or subsystem can have are refused by a message that says why.
func TestNames(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"disk":                             `it does not begin with "nqn."`,
		"nqn." + strings.Repeat("x", 220):  "longer than 223 bytes",
		"nqn.2026-01.org.example:with gap": "invalid character",
	} {
		if err := CheckNQN(name); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
	if _, err := New(Options{}, Subsystem{NQN: "disk"}); err == nil || err.Error() != `subsystem NQN "disk": it does not begin with "nqn."` {
		t.Error(err)
	}
	if _, err := New(Options{Hosts: []Host{{NQN: "host"}}}, Subsystem{NQN: testNQN}); err == nil || err.Error() != `host NQN "host": it does not begin with "nqn."` {
		t.Error(err)
	}
}
