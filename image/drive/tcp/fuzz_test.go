package tcp

import (
	"io"
	"net"
	"testing"
	"time"

	"zimg/image/drive/tcp/host"
)

// FuzzPDU sends any bytes to a server, at the beginning, and after a Connect. Nothing panics or hangs, and
// what the connection holds stays within its bounds.
func FuzzPDU(f *testing.F) {
	q := &host.Queue{}
	read := ioCommand(opRead, 0, 8)
	read[1], read[33], read[39] = 0x40, 0x10, sglTransport
	write := ioCommand(opWrite, 0, 2)
	write[1], write[33], write[39] = 0x40, 4, sglCapsule
	long := ioCommand(opWrite, 0, 64)
	long[1], long[33], long[39] = 0x40, 0x80, sglTransport
	connect, data := params().ConnectCommand()
	connect[1], connect[33], connect[39] = 0x40, 4, sglCapsule
	auth := host.Command{0: 0x7F, 1: 0x40, 4: 5, 39: 1, 41: 1, 42: 1, 43: 0xE9, 44: 72}
	auth[32] = 72
	for _, b := range [][]byte{
		host.ICReq(host.Options{}),
		q.PDU(typeCapsuleCmd, 0, read[:], nil),
		q.PDU(typeCapsuleCmd, 0, write[:], make([]byte, 1024)),
		append(q.PDU(typeCapsuleCmd, 0, long[:], nil), q.H2CData(flagLast, 0, 0, 0, make([]byte, 32768))...),
		q.PDU(typeCapsuleCmd, 0, connect[:], data),
		q.PDU(typeCapsuleCmd, 0, auth[:], host.Negotiate(1, []uint8{1}, []uint8{0})),
		q.PDU(typeH2CTerm, 0, make([]byte, 16), nil),
	} {
		for mode := range uint8(4) {
			f.Add(mode, b)
		}
	}
	f.Fuzz(func(t *testing.T, mode uint8, b []byte) {
		o := Options{Held: 64 << 10, Stall: time.Second, Handshake: 2 * time.Second}
		if mode&2 != 0 {
			o.Hosts = []Host{{NQN: hostNQN, Key: &Key{hashSHA256, count(0, 32)}}}
		}
		fk := &fake{size: 1 << 20, mem: make([]byte, 1<<20)}
		srv, err := New(o, Subsystem{NQN: testNQN, New: func(Association) (Controller, error) { return fk, nil }})
		if err != nil {
			t.Fatal(err)
		}
		ours, theirs := net.Pipe()
		srv.ServeConn(theirs)
		if mode&1 != 0 {
			q, err := host.Open(ours, host.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := q.Connect(params()); err != nil {
				t.Fatal(err)
			}
		}
		drained := make(chan struct{})
		go func() {
			defer close(drained)
			_, _ = io.Copy(io.Discard, ours)
		}()
		_ = ours.SetWriteDeadline(time.Now().Add(10 * time.Second))
		if _, err := ours.Write(b); errIsTimeout(err) {
			t.Error("the server does not read")
		}
		held := 0
		srv.mu.Lock()
		for c := range srv.conns {
			c.mu.Lock()
			held += c.held
			if len(c.slots) > max(c.entries, 2) {
				t.Errorf("%d commands in a queue of %d", len(c.slots), c.entries)
			}
			c.mu.Unlock()
		}
		srv.mu.Unlock()
		if held > max(o.Held, fakeMax) {
			t.Errorf("%d bytes are held", held)
		}
		_ = ours.Close()
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		<-drained
	})
}
