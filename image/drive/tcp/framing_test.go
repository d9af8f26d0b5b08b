package tcp

import (
	"io"
	"net"
	"testing"
	"time"

	"zimg/image/drive/tcp/host"
)

// What breaks the stream of PDUs ends the connection, and says why.
func TestFramingErrors(t *testing.T) {
	t.Parallel()
	tg := newTarget(t, Options{})
	edit := func(b []byte, at int, v ...byte) []byte {
		copy(b[at:], v)
		return b
	}
	write := ioCommand(opWrite, 0, 100)
	write[1], write[39] = 0x40, 0x5A
	le.PutUint32(write[32:], 51200)
	capsule := func(q *host.Queue) []byte { return q.PDU(typeCapsuleCmd, 0, write[:], nil) }
	for i, c := range []struct {
		name string
		o    host.Options
		pdu  func(q *host.Queue, tag uint16) []byte
		fes  uint16
		info uint32
	}{
		{"unknown type", host.Options{}, func(*host.Queue, uint16) []byte { return edit(make([]byte, 24), 0, 0x0A) }, fesHeader, 0},
		{"a PDU of ours", host.Options{}, func(*host.Queue, uint16) []byte { return edit(make([]byte, 24), 0, typeC2HData) }, fesHeader, 0},
		{"a second ICReq", host.Options{}, func(*host.Queue, uint16) []byte { return host.ICReq(host.Options{}) }, fesSequence, 0},
		{"HLEN", host.Options{}, func(q *host.Queue, _ uint16) []byte { return edit(capsule(q), 2, 71) }, fesHeader, 2},
		{"PLEN below HLEN", host.Options{}, func(q *host.Queue, _ uint16) []byte { return edit(capsule(q), 4, 71) }, fesHeader, 4},
		{"PDO in the header", host.Options{}, func(q *host.Queue, _ uint16) []byte {
			return edit(q.PDU(typeCapsuleCmd, 0, write[:], make([]byte, 512)), 3, 68)
		}, fesHeader, 3},
		{"PDO not aligned", host.Options{}, func(q *host.Queue, _ uint16) []byte {
			return edit(q.PDU(typeCapsuleCmd, 0, write[:], make([]byte, 512)), 3, 73)
		}, fesHeader, 3},
		{"PDO behind the PDU", host.Options{}, func(q *host.Queue, _ uint16) []byte {
			return edit(q.PDU(typeCapsuleCmd, 0, write[:], make([]byte, 16)), 3, 88)
		}, fesHeader, 3},
		{"too much in a capsule", host.Options{}, func(q *host.Queue, _ uint16) []byte {
			return q.PDU(typeCapsuleCmd, 0, write[:], make([]byte, InCapsule+4))[:72]
		}, fesHeader, 4},
		{"4 GiB", host.Options{}, func(q *host.Queue, _ uint16) []byte { return edit(capsule(q), 3, 72, 0xFF, 0xFF, 0xFF, 0xFF) }, fesLimit, 4},
		{"a digest that was not agreed", host.Options{}, func(q *host.Queue, _ uint16) []byte { return edit(capsule(q), 1, flagHDGST) }, fesHeader, 1},
		{"no digest, which was agreed", host.Options{HeaderDigest: true}, func(q *host.Queue, _ uint16) []byte { return edit(capsule(q), 1, 0) }, fesHeader, 1},
		{"no data digest, which was agreed", host.Options{DataDigest: true}, func(q *host.Queue, _ uint16) []byte {
			return edit(q.PDU(typeCapsuleCmd, 0, write[:], make([]byte, 16)), 1, 0)
		}, fesHeader, 1},
		{"unknown tag", host.Options{}, func(q *host.Queue, tag uint16) []byte { return q.H2CData(0, 0, tag+1, 0, make([]byte, 512)) }, fesHeader, 10},
		{"a tag without a command", host.Options{}, func(q *host.Queue, _ uint16) []byte { return q.H2CData(0, 0, 500, 0, make([]byte, 512)) }, fesHeader, 10},
		{"tag of another command", host.Options{}, func(q *host.Queue, tag uint16) []byte { return q.H2CData(0, 9, tag, 0, make([]byte, 512)) }, fesHeader, 8},
		{"offset", host.Options{}, func(q *host.Queue, tag uint16) []byte { return q.H2CData(0, 0, tag, 512, make([]byte, 512)) }, fesHeader, 12},
		{"more than was asked for", host.Options{}, func(q *host.Queue, tag uint16) []byte { return q.H2CData(0, 0, tag, 0, make([]byte, 51204)) }, fesRange, 12},
		{"an offset of 4 GiB", host.Options{}, func(q *host.Queue, tag uint16) []byte { return q.H2CData(0, 0, tag, 0xFFFFFF00, make([]byte, 512)) }, fesRange, 12},
		{"DATAL", host.Options{}, func(q *host.Queue, tag uint16) []byte {
			return edit(q.H2CData(0, 0, tag, 0, make([]byte, 512)), 16, 0, 4)
		}, fesHeader, 16},
		{"no data", host.Options{}, func(q *host.Queue, tag uint16) []byte { return q.H2CData(0, 0, tag, 0, nil) }, fesHeader, 16},
		{"the last before the end", host.Options{}, func(q *host.Queue, tag uint16) []byte { return q.H2CData(flagLast, 0, tag, 0, make([]byte, 512)) }, fesHeader, 1},
		{"more than MAXH2CDATA", host.Options{}, func(q *host.Queue, tag uint16) []byte {
			return q.H2CData(0, 0, tag, 0, make([]byte, maxH2CData+4))[:24]
		}, fesLimit, 4},
	} {
		p := params()
		p.HostID[1] = byte(i)
		q := tg.controller(c.o, p, 1).IO[0]
		if err := q.Send(capsule(q)); err != nil { // an R2T for 51,200 bytes is outstanding
			t.Fatal(err)
		}
		b := make([]byte, 24)
		if c.o.HeaderDigest {
			b = make([]byte, 28)
		}
		if _, err := io.ReadFull(q.R, b); err != nil || b[0] != typeR2T || le.Uint32(b[16:]) != 51200 {
			t.Fatalf("%s: % x, %v", c.name, b, err)
		}
		if err := q.Send(c.pdu(q, le.Uint16(b[10:]))); err != nil {
			t.Fatal(err)
		}
		terminated(t, c.name, q, c.fes, c.info)
	}
}

// A header digest that is wrong, with the digest in the information.
func TestHeaderDigestError(t *testing.T) {
	t.Parallel()
	tg := newTarget(t, Options{})
	q := tg.controller(host.Options{HeaderDigest: true}, params(), 1).IO[0]
	cmd := ioCommand(opRead, 0, 1)
	pdu := q.PDU(typeCapsuleCmd, 0, cmd[:], nil)
	pdu[20] ^= 1
	got := le.Uint32(pdu[72:])
	if err := q.Send(pdu); err != nil {
		t.Fatal(err)
	}
	terminated(t, "header digest", q, fesDigest, got)
}

// What is wrong at the beginning of a connection.
func TestBadBeginnings(t *testing.T) {
	t.Parallel()
	tg := newTarget(t, Options{})
	ic := func(at int, v ...byte) []byte {
		b := host.ICReq(host.Options{})
		copy(b[at:], v)
		return b
	}
	for _, c := range []struct {
		name string
		b    []byte
		fes  uint16
		info uint32
	}{
		{"a command", ic(0, typeCapsuleCmd), fesSequence, 0},
		{"HTTP", []byte("GET / HTTP/1.1\r\n\r\n"), fesSequence, 0},
		{"HLEN", ic(2, 24), fesHeader, 2},
		{"PLEN", ic(4, 127), fesHeader, 4},
		{"version", ic(8, 1), fesUnsupported, 8},
		{"alignment", ic(10, 32), fesHeader, 10},
		{"digest", ic(11, 4), fesHeader, 11},
	} {
		nc, err := tg.dial()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = nc.Close() }()
		_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := nc.Write(c.b); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 24)
		if _, err := io.ReadFull(nc, b); err != nil || b[0] != typeC2HTerm || le.Uint16(b[8:]) != c.fes || le.Uint32(b[10:]) != c.info {
			t.Errorf("%s: % x, %v", c.name, b, err)
		}
	}
}

// A peer that does nothing, or stops in the middle of a PDU, is cut off; others are served all the time.
func TestStalledPeers(t *testing.T) {
	t.Parallel()
	tg := newTarget(t, Options{Stall: 200 * time.Millisecond, Handshake: 300 * time.Millisecond})
	good := tg.controller(host.Options{}, params(), 1)
	ended := func(name string, nc net.Conn) {
		t.Helper()
		_ = nc.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.Copy(io.Discard, nc); err != nil && errIsTimeout(err) {
			t.Errorf("%s: not cut off", name)
		}
	}
	silent, err := tg.dial()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	half := tg.open(host.Options{}) // ICReq and nothing more
	p := params()
	p.HostID[5] = 1
	middle := tg.controller(host.Options{}, p, 1)
	cmd := ioCommand(opWrite, 0, 1)
	if err := middle.IO[0].Send(middle.IO[0].PDU(typeCapsuleCmd, 0, cmd[:], nil)[:40]); err != nil {
		t.Fatal(err)
	}
	ended("silent", silent)
	ended("without Connect", half.Conn)
	ended("in the middle of a PDU", middle.IO[0].Conn)
	for range 3 {
		if cpl, err := good.IO[0].Do(ioCommand(opRead, 0, 8), nil, make([]byte, 4096)); err != nil || cpl.Status != 0 {
			t.Fatalf("%+v, %v", cpl, err)
		}
	}
	// Between PDUs a host may wait as long as it likes: longer than both limits.
	if v, err := middle.Admin.Get(regCSTS, 4); err != nil || v != 1 {
		t.Errorf("%d, %v", v, err)
	}
}

func errIsTimeout(err error) bool {
	e, ok := err.(net.Error) //nolint:errorlint // as net documents it
	return ok && e.Timeout()
}

// A peer that takes no answers is cut off, and memory for it is bounded by then.
func TestPeerThatDoesNotRead(t *testing.T) {
	t.Parallel()
	tg := newTarget(t, Options{Stall: 200 * time.Millisecond})
	c := tg.controller(host.Options{}, params(), 1)
	q := c.IO[0]
	_ = q.Conn.SetWriteDeadline(time.Now().Add(20 * time.Second))
	cmd := ioCommand(opRead, 0, 1024)
	cmd[1], cmd[39] = 0x40, 0x5A
	le.PutUint32(cmd[32:], 512<<10)
	pdu := q.PDU(typeCapsuleCmd, 0, cmd[:], nil)
	for {
		if _, err := q.Conn.Write(pdu); err != nil {
			if errIsTimeout(err) {
				t.Error("not cut off")
			}
			break
		}
	}
	// The association goes on.
	if v, err := c.Admin.Get(regCSTS, 4); err != nil || v != 1 {
		t.Errorf("%d, %v", v, err)
	}
}
