package vfiouser

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"golang.org/x/sys/unix"
)

var le = binary.LittleEndian

// Commands of the protocol.
const (
	cmdVersion     = 1
	cmdDMAMap      = 2
	cmdDMAUnmap    = 3
	cmdGetInfo     = 4
	cmdRegionInfo  = 5
	cmdRegionFDs   = 6
	cmdIRQInfo     = 7
	cmdSetIRQs     = 8
	cmdRegionRead  = 9
	cmdRegionWrite = 10
	cmdDMARead     = 11
	cmdDMAWrite    = 12
	cmdReset       = 13
)

// Header flags: the type in bits 3:0, then whether an answer is wanted, then whether it is an error.
const (
	flagReply   = 0x01
	flagNoReply = 0x10
	flagError   = 0x20
	typeMask    = 0x0F
)

const (
	headerLen  = 16
	maxData    = 1 << 20                     // max_data_xfer_size
	maxMessage = headerLen + 64 + maxData    // the longest message is a DMA reply
	maxFDs     = 16                          // max_msg_fds that we take
	oobLen     = 32 * ((maxFDs*4+15)/16 + 1) // room for one control message with maxFDs
)

// message is one message, header included.
//
//	 0        2         4              8              12             16
//	+--------+---------+--------------+--------------+--------------+--------
//	| id     | command | size         | flags        | error        | payload
//	+--------+---------+--------------+--------------+--------------+--------
type message struct {
	id, command uint16
	flags       uint32
	errno       uint32
	payload     []byte
	fds         []int
}

func (m *message) isReply() bool { return m.flags&typeMask == flagReply }

// takeFD takes the first descriptor out of the message, -1 if there is none.
func (m *message) takeFD() int {
	if len(m.fds) == 0 {
		return -1
	}
	fd := m.fds[0]
	m.fds = m.fds[1:]
	return fd
}

func (m *message) closeFDs() {
	for _, fd := range m.fds {
		_ = unix.Close(fd)
	}
	m.fds = nil
}

// wire reads messages, which one goroutine does, and sends them, which any may do.
type wire struct {
	conn *net.UnixConn
	send sync.Mutex
	oob  [oobLen]byte
}

// errProtocol is what a client sends that is no message.
var errProtocol = errors.New("vfio-user: protocol error by the client")

// read reads a message. Linux ends a read after the bytes that descriptors came with, so
// those read with the header, or with the payload, are the message's own.
func (w *wire) read() (*message, error) {
	var head [headerLen]byte
	m := &message{}
	if err := w.fill(head[:], m); err != nil {
		m.closeFDs()
		return nil, err
	}
	m.id, m.command = le.Uint16(head[0:]), le.Uint16(head[2:])
	size := le.Uint32(head[4:])
	m.flags, m.errno = le.Uint32(head[8:]), le.Uint32(head[12:])
	if size < headerLen || size > maxMessage {
		m.closeFDs()
		return nil, fmt.Errorf("%w: a message of %d bytes", errProtocol, size)
	}
	m.payload = make([]byte, size-headerLen)
	if err := w.fill(m.payload, m); err != nil {
		m.closeFDs()
		return nil, err
	}
	return m, nil
}

// fill reads all of b, and the descriptors that come with it.
func (w *wire) fill(b []byte, m *message) error {
	for got := 0; got < len(b); {
		n, oobn, flags, _, err := w.conn.ReadMsgUnix(b[got:], w.oob[:])
		if oobn > 0 {
			if err := m.takeRights(w.oob[:oobn]); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
		if flags&unix.MSG_CTRUNC != 0 {
			return fmt.Errorf("%w: too many file descriptors", errProtocol)
		}
		if n == 0 {
			return io.EOF
		}
		got += n
	}
	return nil
}

// takeRights adds the descriptors of control messages.
func (m *message) takeRights(oob []byte) error {
	list, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return err
	}
	for i := range list {
		fds, err := unix.ParseUnixRights(&list[i])
		if err != nil {
			continue // not descriptors
		}
		m.fds = append(m.fds, fds...)
	}
	if len(m.fds) > maxFDs {
		return fmt.Errorf("%w: %d file descriptors", errProtocol, len(m.fds))
	}
	return nil
}

// write sends one message in one piece.
func (w *wire) write(id, command uint16, flags, errno uint32, parts ...[]byte) error {
	size := headerLen
	for _, p := range parts {
		size += len(p)
	}
	b := make([]byte, headerLen, size)
	le.PutUint16(b[0:], id)
	le.PutUint16(b[2:], command)
	le.PutUint32(b[4:], uint32(size))
	le.PutUint32(b[8:], flags)
	le.PutUint32(b[12:], errno)
	for _, p := range parts {
		b = append(b, p...)
	}
	w.send.Lock()
	defer w.send.Unlock()
	_, err := w.conn.Write(b)
	return err
}

// answer sends the reply to m, unless none is wanted.
func (w *wire) answer(m *message, payload ...[]byte) error {
	if m.flags&flagNoReply != 0 {
		return nil
	}
	return w.write(m.id, m.command, flagReply, 0, payload...)
}

// refuse sends an error reply to m: a header with errno.
func (w *wire) refuse(m *message, errno unix.Errno) error {
	if m.flags&flagNoReply != 0 {
		return nil
	}
	return w.write(m.id, m.command, flagReply|flagError, uint32(errno))
}
