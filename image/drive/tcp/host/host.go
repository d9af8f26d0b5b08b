// Package host is a small NVMe/TCP host: what tests and measurements need to talk to a target
// over any net.Conn, one queue at a time. It checks what it receives, and it can be made to
// misbehave: Send takes any bytes.
//
//	host.go   a queue: commands with their data     connect.go  Connect, properties, a whole controller
//	auth.go   DH-HMAC-CHAP, the host's side
package host

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"

	"zimg/layout"
)

var le = binary.LittleEndian

// Command is a submission queue entry. The data pointer and the identifier are filled in by Submit.
type Command [64]byte

// Completion is how a command ended.
type Completion struct {
	CID    uint16
	Result uint64
	Status uint16 // without the phase bit
	SQHD   uint16
}

// Options are what a queue asks for.
type Options struct {
	HeaderDigest, DataDigest bool
	HPDA                     uint8 // alignment of data to the host, in dwords from 0
	InCapsule                int   // data up to this many bytes goes in the capsule
}

// Queue is one connection. One goroutine uses it.
type Queue struct {
	Conn net.Conn
	R    *bufio.Reader
	W    *bufio.Writer // flushed before Next waits

	MaxData int // of one H2CData PDU, from the ICResp

	o    Options
	free []uint16
	cmds map[uint16]*request
}

type request struct{ out, in []byte }

// Open begins a connection: ICReq and ICResp.
func Open(c net.Conn, o Options) (*Queue, error) {
	q := &Queue{Conn: c, R: bufio.NewReaderSize(c, 128<<10), W: bufio.NewWriterSize(c, 128<<10), o: o, cmds: map[uint16]*request{}}
	for i := range 1024 {
		q.free = append(q.free, uint16(1023-i))
	}
	if err := q.Send(ICReq(o)); err != nil {
		return nil, err
	}
	b := make([]byte, 128)
	if _, err := io.ReadFull(q.R, b); err != nil {
		return nil, err
	}
	if b[0] != 1 || b[2] != 128 || le.Uint32(b[4:]) != 128 || le.Uint16(b[8:]) != 0 || b[10] != 0 || b[11] != digestBits(o) {
		return nil, fmt.Errorf("ICResp % x", b[:16])
	}
	q.MaxData = int(le.Uint32(b[12:]))
	if q.MaxData < 4096 || q.MaxData%4 != 0 {
		return nil, fmt.Errorf("MAXH2CDATA %d", q.MaxData)
	}
	return q, nil
}

// ICReq is the PDU that begins a connection.
func ICReq(o Options) []byte {
	b := make([]byte, 128)
	b[2], b[4], b[10], b[11] = 128, 128, o.HPDA, digestBits(o)
	return b
}

func digestBits(o Options) (b uint8) {
	if o.HeaderDigest {
		b |= 1
	}
	if o.DataDigest {
		b |= 2
	}
	return b
}

// Send sends b at once.
func (q *Queue) Send(b []byte) error {
	if _, err := q.W.Write(b); err != nil {
		return err
	}
	return q.W.Flush()
}

// Submit sends a command: out is the data for the controller, in has room for that from it.
func (q *Queue) Submit(cmd Command, out, in []byte) (cid uint16, err error) {
	cid = q.free[len(q.free)-1]
	q.free = q.free[:len(q.free)-1]
	q.cmds[cid] = &request{out, in}
	le.PutUint16(cmd[2:], cid)
	inside := len(out) > 0 && len(out) <= q.o.InCapsule
	cmd[1] = cmd[1]&0x3F | 0x40
	le.PutUint32(cmd[32:], uint32(len(out)+len(in)))
	cmd[39] = 0x5A
	if inside {
		cmd[39] = 0x01
		return cid, q.write(4, 0, cmd[:], out)
	}
	return cid, q.write(4, 0, cmd[:], nil)
}

// PDU makes a PDU with the digests that were agreed; body is its header after the first 8 bytes.
func (q *Queue) PDU(kind, flags uint8, body, data []byte) []byte {
	b := append(q.head(kind, flags, body, len(data)), data...)
	if len(data) > 0 && q.o.DataDigest {
		b = le.AppendUint32(b, layout.Checksum(data))
	}
	return b
}

// head is the part of a PDU before its n bytes of data.
func (q *Queue) head(kind, flags uint8, body []byte, n int) []byte {
	hlen := 8 + len(body)
	b := make([]byte, 8, hlen+8)
	b[0], b[1], b[2] = kind, flags|digestBits(q.o)&1, uint8(hlen)
	plen := hlen
	if q.o.HeaderDigest {
		plen += 4
	}
	if n > 0 {
		b[3] = uint8(plen)
		plen += n
		if q.o.DataDigest {
			b[1] |= 2
			plen += 4
		}
	}
	le.PutUint32(b[4:], uint32(plen))
	b = append(b, body...)
	if q.o.HeaderDigest {
		b = le.AppendUint32(b, layout.Checksum(b))
	}
	return b
}

// write is PDU into the buffer of what is to be sent, without a copy of large data.
func (q *Queue) write(kind, flags uint8, body, data []byte) error {
	if _, err := q.W.Write(q.head(kind, flags, body, len(data))); err != nil {
		return err
	}
	_, err := q.W.Write(data)
	if err == nil && len(data) > 0 && q.o.DataDigest {
		_, err = q.W.Write(le.AppendUint32(nil, layout.Checksum(data)))
	}
	return err
}

// Next waits for the end of any command, and moves data in the meantime.
func (q *Queue) Next() (Completion, error) {
	if err := q.W.Flush(); err != nil {
		return Completion{}, err
	}
	for {
		c, done, err := q.receive()
		if err != nil || done {
			return c, err
		}
	}
}

// Do is Submit and Next for one command alone.
func (q *Queue) Do(cmd Command, out, in []byte) (Completion, error) {
	cid, err := q.Submit(cmd, out, in)
	if err != nil {
		return Completion{}, err
	}
	c, err := q.Next()
	if err == nil && c.CID != cid {
		err = fmt.Errorf("completion of command %d, want %d", c.CID, cid)
	}
	return c, err
}

// Terminated is the C2HTermReq PDU of a target that has ended the connection.
type Terminated struct {
	FES  uint16
	Info uint32
	PDU  []byte // the header of the PDU that it did not like
}

func (e *Terminated) Error() string { return fmt.Sprintf("terminated: FES %d, %Xh", e.FES, e.Info) }

// receive takes one PDU.
func (q *Queue) receive() (c Completion, done bool, err error) {
	var hdr [28]byte
	b := hdr[:24]
	if _, err := io.ReadFull(q.R, b); err != nil {
		return c, false, err
	}
	plen := int(le.Uint32(b[4:]))
	if b[2] != 24 || plen < 24 {
		return c, false, fmt.Errorf("PDU % x", b[:8])
	}
	if b[0] == 3 {
		t := &Terminated{FES: le.Uint16(b[8:]), Info: le.Uint32(b[10:]), PDU: make([]byte, min(plen-24, 128))}
		_, err := io.ReadFull(q.R, t.PDU)
		if err == nil {
			err = t
		}
		return c, false, err
	}
	if (b[1]&1 != 0) != q.o.HeaderDigest {
		return c, false, fmt.Errorf("flags %x", b[1])
	}
	if q.o.HeaderDigest {
		if _, err := io.ReadFull(q.R, hdr[24:]); err != nil {
			return c, false, err
		}
		if le.Uint32(hdr[24:]) != layout.Checksum(b) {
			return c, false, fmt.Errorf("header digest of % x", hdr)
		}
	}
	switch b[0] {
	case 5:
		c = Completion{le.Uint16(b[20:]), le.Uint64(b[8:]), le.Uint16(b[22:]) >> 1, le.Uint16(b[16:])}
		return c, true, q.end(c.CID)
	case 7:
		cid := le.Uint16(b[8:])
		if err := q.dataIn(cid, b, plen); err != nil {
			return c, false, err
		}
		if b[1]&8 != 0 {
			return Completion{CID: cid, SQHD: 0xFFFF}, true, q.end(cid)
		}
		return c, false, nil
	case 9:
		return c, false, q.dataOut(b)
	}
	return c, false, fmt.Errorf("PDU % x", b)
}

func (q *Queue) end(cid uint16) error {
	if q.cmds[cid] == nil {
		return fmt.Errorf("completion of command %d, which is not outstanding", cid)
	}
	delete(q.cmds, cid)
	q.free = append(q.free, cid)
	return nil
}

// dataIn takes the data of a C2HData PDU with header b.
func (q *Queue) dataIn(cid uint16, b []byte, plen int) error {
	r := q.cmds[cid]
	off, n, pdo := int(le.Uint32(b[12:])), int(le.Uint32(b[16:])), int(b[3])
	begin := 24
	if q.o.HeaderDigest {
		begin += 4
	}
	want := pdo + n
	if q.o.DataDigest {
		want += 4
	}
	if r == nil || off+n > len(r.in) || pdo < begin || pdo%(4*(int(q.o.HPDA)+1)) != 0 || plen != want || (b[1]&2 != 0) != q.o.DataDigest {
		return fmt.Errorf("C2HData % x", b)
	}
	if _, err := q.R.Discard(pdo - begin); err != nil {
		return err
	}
	p := r.in[off:][:n]
	if _, err := io.ReadFull(q.R, p); err != nil || !q.o.DataDigest {
		return err
	}
	var d [4]byte
	if _, err := io.ReadFull(q.R, d[:]); err != nil {
		return err
	}
	if le.Uint32(d[:]) != layout.Checksum(p) {
		return fmt.Errorf("data digest of command %d", cid)
	}
	return nil
}

// dataOut answers an R2T PDU with header b.
func (q *Queue) dataOut(b []byte) error {
	cid, tag, off, n := le.Uint16(b[8:]), le.Uint16(b[10:]), int(le.Uint32(b[12:])), int(le.Uint32(b[16:]))
	r := q.cmds[cid]
	if r == nil || off+n > len(r.out) || n == 0 {
		return fmt.Errorf("R2T % x", b)
	}
	for end := off + n; off < end; {
		m := min(end-off, q.MaxData)
		flags := uint8(0)
		if off+m == end {
			flags = 4
		}
		if err := q.write(6, flags, dataHeader(cid, tag, off, m), r.out[off:][:m]); err != nil {
			return err
		}
		off += m
	}
	return q.W.Flush()
}

// H2CData is a PDU with a piece of data for command cid.
func (q *Queue) H2CData(flags uint8, cid, tag uint16, off int, data []byte) []byte {
	return q.PDU(6, flags, dataHeader(cid, tag, off, len(data)), data)
}

func dataHeader(cid, tag uint16, off, n int) []byte {
	body := make([]byte, 16)
	le.PutUint16(body, cid)
	le.PutUint16(body[2:], tag)
	le.PutUint32(body[4:], uint32(off))
	le.PutUint32(body[8:], uint32(n))
	return body
}
