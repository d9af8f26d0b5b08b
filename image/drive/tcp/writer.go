package tcp

import (
	"net"
	"sync"
	"time"

	"zimg/image/drive"
)

const (
	direct    = 16 << 10 // data of this size is not copied into the buffer
	batchSize = 64 << 10 // the buffer is sent when it is as full as this
)

// writer is what goes to a peer: PDUs are put into a buffer, which is sent when the reader
// has nothing more to do, or when it is full. It is safe for use by many goroutines; one
// that sends waits for the peer, for as long as stall.
type writer struct {
	conn  net.Conn
	stall time.Duration

	mu      sync.Mutex
	buf     []byte
	err     error // of the socket, for good
	digests digests
	align   int  // of data, in bytes
	count   bool // submission queue flow control is on
	head    int  // submission queue head
	entries int  // of the submission queue
}

// flush sends what there is.
func (w *writer) flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.send(nil, nil)
}

// send sends the buffer, then data, then tail. The caller has the lock.
func (w *writer) send(data, tail []byte) error {
	if w.err != nil || len(w.buf)+len(data) == 0 {
		return w.err
	}
	if w.err = w.conn.SetWriteDeadline(time.Now().Add(w.stall)); w.err != nil {
		return w.err
	}
	if len(data) == 0 {
		_, w.err = w.conn.Write(w.buf)
	} else {
		all := net.Buffers{w.buf, data, tail}
		_, w.err = all.WriteTo(w.conn)
	}
	w.buf = w.buf[:0]
	return w.err
}

// put appends a PDU that is complete.
func (w *writer) put(pdu []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf = append(w.buf, pdu...)
	return w.err
}

// fetched counts a command that has left the submission queue.
func (w *writer) fetched() {
	if !w.count {
		return
	}
	w.mu.Lock()
	w.head = (w.head + 1) % w.entries
	w.mu.Unlock()
}

// header appends the 24 bytes of a header to b, and their digest.
func (w *writer) header(b []byte, h header, body func(b []byte)) []byte {
	at := len(b)
	b = append(b, make([]byte, headerLen)...)
	h.encode(b[at:])
	body(b[at:])
	if w.digests.header {
		b = sum(b, b[at:])
	}
	return b
}

// response appends a CapsuleResp PDU to b.
func (w *writer) response(b []byte, cid uint16, c drive.Completion) []byte {
	n := uint32(headerLen + w.digests.headerLen())
	h := header{kind: typeCapsuleResp, flags: w.digests.flags(0), hlen: headerLen, plen: n}
	return w.header(b, h, func(b []byte) {
		le.PutUint64(b[8:], c.Result)
		if w.count {
			le.PutUint16(b[16:], uint16(w.head))
		} else {
			le.PutUint16(b[16:], 0xFFFF)
		}
		le.PutUint16(b[20:], cid)
		le.PutUint16(b[22:], uint16(c.Status)<<1)
	})
}

// answer appends the completion of command cid, after data if there is any. The data is
// the caller's again when answer returns.
func (w *writer) answer(cid uint16, c drive.Completion, data []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	if len(data) == 0 {
		w.buf = w.response(w.buf, cid, c)
		return w.full()
	}
	// A completion of zeroes needs no response of its own if the host does not look at the
	// head of the submission queue (section 3.3.2.1).
	alone := !w.count && c == drive.Completion{}
	w.dataHeader(cid, len(data), alone)
	var tail []byte
	if w.digests.data {
		tail = sum(tail, data)
	}
	if !alone {
		tail = w.response(tail, cid, c)
	}
	if len(data) >= direct {
		return w.send(data, tail)
	}
	w.buf = append(append(w.buf, data...), tail...)
	return w.full()
}

// dataHeader appends a C2HData PDU for n bytes, up to the data.
func (w *writer) dataHeader(cid uint16, n int, alone bool) {
	h := header{kind: typeC2HData, flags: w.digests.flags(n) | flagLast, hlen: headerLen}
	if alone {
		h.flags |= flagSuccess
	}
	begin := headerLen + w.digests.headerLen()
	pdo := (begin + w.align - 1) / w.align * w.align
	h.pdo = uint8(pdo)
	h.plen = uint32(pdo + n + w.digests.dataLen(n))
	w.buf = w.header(w.buf, h, func(b []byte) {
		le.PutUint16(b[8:], cid)
		le.PutUint32(b[16:], uint32(n))
	})
	w.buf = append(w.buf, make([]byte, pdo-begin)...)
}

// ready appends an R2T PDU for n bytes of command cid.
func (w *writer) ready(cid, tag uint16, n int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := header{kind: typeR2T, flags: w.digests.flags(0), hlen: headerLen, plen: uint32(headerLen + w.digests.headerLen())}
	w.buf = w.header(w.buf, h, func(b []byte) {
		le.PutUint16(b[8:], cid)
		le.PutUint16(b[10:], tag)
		le.PutUint32(b[16:], uint32(n))
	})
	return w.full()
}

func (w *writer) full() error {
	if len(w.buf) < batchSize {
		return w.err
	}
	return w.send(nil, nil)
}
