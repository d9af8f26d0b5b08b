package tcp

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"zimg/image/drive"
	"zimg/image/drive/tcp/host"
)

// Data goes both ways unchanged: in capsules and by R2T, of every size, with every combination of
// digests and alignments, with flow control and without.
func TestDataBothWays(t *testing.T) {
	t.Parallel()
	tg := newTarget(t, Options{})
	n := 0
	for _, hd := range []bool{false, true} {
		for _, dd := range []bool{false, true} {
			for _, noFlow := range []bool{false, true} {
				o := host.Options{HeaderDigest: hd, DataDigest: dd, InCapsule: InCapsule, HPDA: uint8(n % 3 * 15)}
				n++
				p := params()
				p.NoFlowControl = noFlow
				p.HostID[0] = byte(n)
				t.Run(fmt.Sprintf("header digest %t, data digest %t, no flow control %t", hd, dd, noFlow), func(t *testing.T) {
					q := tg.controller(o, p, 2).IO[1]
					for i, blocks := range []int{1, 8, 16, 17, 31, 256, 257, 1024} {
						want := make([]byte, blocks*512)
						for k := range want {
							want[k] = byte(rand.Uint32())
						}
						c, err := q.Do(ioCommand(opWrite, 3, blocks), want, nil)
						if err != nil || c.Status != 0 {
							t.Fatalf("write of %d: %+v, %v", len(want), c, err)
						}
						got := make([]byte, len(want))
						c, err = q.Do(ioCommand(opRead, 3, blocks), nil, got)
						if err != nil || c.Status != 0 || !bytes.Equal(got, want) {
							t.Fatalf("read of %d: %+v, %v", len(want), c, err)
						}
						head := uint16(0xFFFF)
						if !noFlow {
							head = uint16(1+2*(i+1)) % 128
						}
						if c.SQHD != head {
							t.Errorf("submission queue head %d, want %d", c.SQHD, head)
						}
					}
				})
			}
		}
	}
}

// Many commands at once on several queues, each with data of its own; more than the connection may hold
// wait for their turn.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	tg := newTarget(t, Options{Held: 128 << 10})
	c := tg.controller(host.Options{}, params(), 3)
	errs := make(chan error, len(c.IO))
	for k, q := range c.IO {
		go func() {
			const each, blocks = 12, 50
			want := map[uint16][]byte{}
			got := map[uint16][]byte{}
			for _, op := range []uint8{opWrite, opRead} {
				for i := range each {
					at := uint64(k*each+i) * blocks
					b := bytes.Repeat([]byte{byte(k), byte(i)}, blocks*256)
					var err error
					if op == opWrite {
						_, err = q.Submit(ioCommand(op, at, blocks), b, nil)
					} else {
						in := make([]byte, len(b))
						var cid uint16
						cid, err = q.Submit(ioCommand(op, at, blocks), nil, in)
						want[cid], got[cid] = b, in
					}
					if err != nil {
						errs <- err
						return
					}
				}
				for range each {
					cpl, err := q.Next()
					if err == nil {
						err = cpl.Check()
					}
					if err == nil && op == opRead && !bytes.Equal(got[cpl.CID], want[cpl.CID]) {
						err = fmt.Errorf("queue %d command %d read other data", k, cpl.CID)
					}
					if err != nil {
						errs <- err
						return
					}
				}
			}
			errs <- nil
		}()
	}
	for range c.IO {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

// A flush that waits for the disk holds up neither reads on its queue nor later flushes' answers.
func TestSlowCommandsDoNotBlock(t *testing.T) {
	t.Parallel()
	tg := newTarget(t, Options{})
	tg.flushes = make(chan chan struct{}, 4)
	c := tg.controller(host.Options{}, params(), 1)
	q := c.IO[0]
	flush, err := q.Submit(ioCommand(opFlush, 0, 1), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		read, err := q.Submit(ioCommand(opRead, 0, 8), nil, make([]byte, 4096))
		if err != nil {
			t.Fatal(err)
		}
		if cpl, err := q.Next(); err != nil || cpl.CID != read || cpl.Status != 0 {
			t.Fatalf("%+v, %v", cpl, err)
		}
	}
	close(<-tg.flushes)
	if cpl, err := q.Next(); err != nil || cpl.CID != flush || cpl.Status != 0 {
		t.Fatalf("%+v, %v", cpl, err)
	}
	// Completed later, from a goroutine of the controller.
	id, err := q.Submit(ioCommand(opDelayed, 0, 1), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.Submit(ioCommand(opRead, 0, 1), nil, make([]byte, 512)); err != nil {
		t.Fatal(err)
	}
	if cpl, err := q.Next(); err != nil || cpl.CID == id {
		t.Fatalf("%+v, %v", cpl, err)
	}
	tg.fakes()[0].complete(drive.Completion{Result: 77})
	if cpl, err := q.Next(); err != nil || cpl.CID != id || cpl.Result != 77 {
		t.Fatalf("%+v, %v", cpl, err)
	}
}

// More commands than the queue has entries are refused one by one; the rest is answered.
func TestQueueFull(t *testing.T) {
	t.Parallel()
	tg := newTarget(t, Options{})
	p := params()
	p.SQSize = 3
	q := tg.controller(host.Options{}, p, 1).IO[0]
	for range 6 {
		if _, err := q.Submit(ioCommand(opDelayed, 0, 1), nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if cpl, err := q.Next(); err != nil || cpl.Status != uint16(drive.SequenceError|drive.DNR) {
			t.Fatalf("%+v, %v", cpl, err)
		}
	}
	tg.fakes()[0].complete(drive.Completion{})
	for range 4 {
		if cpl, err := q.Next(); err != nil || cpl.Status != 0 {
			t.Fatalf("%+v, %v", cpl, err)
		}
	}
}

// What is wrong with a command is answered, and the queue goes on.
func TestBadCommands(t *testing.T) {
	t.Parallel()
	tg := newTarget(t, Options{})
	q := tg.controller(host.Options{InCapsule: InCapsule}, params(), 1).IO[0]
	sgl := func(cmd host.Command, kind uint8, off uint64, n uint32) host.Command {
		cmd[1] = 0x40
		le.PutUint64(cmd[24:], off)
		le.PutUint32(cmd[32:], n)
		cmd[39] = kind
		return cmd
	}
	prp := sgl(ioCommand(opRead, 0, 1), 0x5A, 0, 512)
	prp[1] = 0
	for _, c := range []struct {
		name string
		cmd  host.Command
		data int // in the capsule
		want drive.Status
	}{
		{"opcode", sgl(ioCommand(0x55, 0, 1), 0x5A, 0, 512), 0, drive.InvalidOpcode | drive.DNR},
		{"range", sgl(ioCommand(opRead, 1<<40, 1), 0x5A, 0, 512), 0, drive.LBAOutOfRange | drive.DNR},
		{"too large", sgl(ioCommand(opRead, 0, 2000), 0x5A, 0, 2000*512), 0, drive.InvalidField | drive.DNR},
		{"PRP", prp, 0, drive.InvalidField | drive.DNR},
		{"read into the capsule", sgl(ioCommand(opRead, 0, 1), 0x01, 0, 512), 0, sglTypeInvalid},
		{"descriptor type", sgl(ioCommand(opWrite, 0, 1), 0x00, 0, 512), 0, sglTypeInvalid},
		{"short descriptor", sgl(ioCommand(opWrite, 0, 2), 0x5A, 0, 512), 0, drive.InvalidSGLLength | drive.DNR},
		{"short read descriptor", sgl(ioCommand(opRead, 0, 2), 0x5A, 0, 512), 0, drive.InvalidSGLLength | drive.DNR},
		{"nothing in the capsule", sgl(ioCommand(opWrite, 0, 1), 0x01, 0, 512), 0, sglOffsetInvalid},
		{"less in the capsule", sgl(ioCommand(opWrite, 0, 2), 0x01, 0, 1024), 512, sglOffsetInvalid},
		{"offset behind the capsule", sgl(ioCommand(opWrite, 0, 1), 0x01, 1<<63, 512), 512, sglOffsetInvalid},
		{"an offset that overflows", sgl(ioCommand(opWrite, 0, 1), 0x01, ^uint64(511), 512), 512, sglOffsetInvalid},
		{"offset in the capsule", sgl(ioCommand(opWrite, 0, 1), 0x01, 512, 512), 1024, 0},
		{"data that nobody wants", sgl(ioCommand(opFlush, 0, 1), 0x01, 0, 1024), 1024, 0},
		{"unknown fabrics command", host.Command{0: 0x7F, 1: 0x40, 4: 0x33}, 0, drive.InvalidOpcode | drive.DNR},
		{"a second Connect", sgl(host.Command{0: 0x7F, 4: 1}, 0x01, 0, 1024), 1024, drive.SequenceError | drive.DNR},
		{"a property on an I/O queue", host.Command{0: 0x7F, 4: 4}, 0, drive.InvalidField | drive.DNR},
		{"authentication that is not needed", sgl(host.Command{0: 0x7F, 4: 5, 41: 1, 42: 1, 43: 0xE9, 44: 16}, 0x01, 0, 16), 16, drive.SequenceError | drive.DNR},
	} {
		le.PutUint16(c.cmd[2:], 7)
		var data []byte
		if c.data > 0 {
			data = make([]byte, c.data)
		}
		if err := q.Send(q.PDU(typeCapsuleCmd, 0, c.cmd[:], data)); err != nil {
			t.Fatal(err)
		}
		var b [24]byte
		if _, err := readFull(q, b[:]); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if got := drive.Status(le.Uint16(b[22:]) >> 1); b[0] != typeCapsuleResp || le.Uint16(b[20:]) != 7 || got != c.want {
			t.Errorf("%s: %v, want %v (% x)", c.name, got, c.want, b)
		}
	}
}

func readFull(q *host.Queue, b []byte) (int, error) {
	n := 0
	for n < len(b) {
		m, err := q.R.Read(b[n:])
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// A data digest that is wrong spoils the command, not the connection.
func TestDataDigestError(t *testing.T) {
	t.Parallel()
	tg := newTarget(t, Options{})
	q := tg.controller(host.Options{DataDigest: true, InCapsule: InCapsule}, params(), 1).IO[0]
	cmd := ioCommand(opWrite, 0, 1)
	cmd[1], cmd[33], cmd[39] = 0x40, 2, 0x01
	pdu := q.PDU(typeCapsuleCmd, 0, cmd[:], make([]byte, 512))
	pdu[len(pdu)-1] ^= 1
	if err := q.Send(pdu); err != nil {
		t.Fatal(err)
	}
	var b [24]byte
	if _, err := readFull(q, b[:]); err != nil || drive.Status(le.Uint16(b[22:])>>1) != transientTransport {
		t.Fatalf("% x, %v", b, err)
	}
	// Of a transfer, when all of it has come.
	cmd[33], cmd[34], cmd[39] = 0, 2, 0x5A // 128 KiB
	le.PutUint16(cmd[48:], 255)
	if err := q.Send(q.PDU(typeCapsuleCmd, 0, cmd[:], nil)); err != nil {
		t.Fatal(err)
	}
	if _, err := readFull(q, b[:]); err != nil || b[0] != typeR2T {
		t.Fatalf("% x, %v", b, err)
	}
	bad := q.H2CData(0, 0, le.Uint16(b[10:]), 0, make([]byte, 64<<10))
	bad[len(bad)-2] ^= 4
	if err := q.Send(append(bad, q.H2CData(flagLast, 0, le.Uint16(b[10:]), 64<<10, make([]byte, 64<<10))...)); err != nil {
		t.Fatal(err)
	}
	if _, err := readFull(q, b[:]); err != nil || b[0] != typeCapsuleResp || drive.Status(le.Uint16(b[22:])>>1) != transientTransport {
		t.Fatalf("% x, %v", b, err)
	}
	if n := tg.fakes()[0].executed.Load(); n != 0 {
		t.Errorf("%d commands with damaged data were executed", n)
	}
	if cpl, err := q.Do(ioCommand(opRead, 0, 8), nil, make([]byte, 4096)); err != nil || cpl.Status != 0 {
		t.Errorf("%+v, %v", cpl, err)
	}
}

// terminated waits for the C2HTermReq that ends a connection.
func terminated(t *testing.T, name string, q *host.Queue, fes uint16, info uint32) {
	t.Helper()
	_, err := q.Next()
	term, ok := errors.AsType[*host.Terminated](err)
	if !ok || term.FES != fes || term.Info != info {
		t.Errorf("%s: %v, want FES %d with %Xh", name, err, fes, info)
		return
	}
	var b [1]byte
	if n, err := q.R.Read(b[:]); err == nil {
		t.Errorf("%s: %d bytes after the end", name, n)
	}
}
