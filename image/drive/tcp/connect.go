package tcp

import (
	"bytes"
	"errors"
	"strings"
	"time"

	"zimg/image/drive"
)

// Lengths of a Connect command's data and of an NQN (NVMe Base 2.0, sections 6.3 and 4.5).
const (
	connectLen = 1024
	maxNQN     = 223
)

// connectData is the data of a Connect command.
//
//	0         16        18        256                  512                  768       1024
//	+---------+---------+---------+--------------------+--------------------+---------+
//	| HOSTID  | CNTLID  |         | SUBNQN             | HOSTNQN            |         |
//	+---------+---------+---------+--------------------+--------------------+---------+
type connectData struct {
	hostID  [16]byte
	cntlid  uint16
	subNQN  string
	hostNQN string
}

// Offsets of parameters, for the answer to a Connect that is refused.
const (
	inDataCNTLID  = 16
	inDataSUBNQN  = 256
	inDataHOSTNQN = 512
	inSQEQID      = 42
	inSQESQSIZE   = 44
)

func decodeConnect(b []byte) connectData {
	return connectData{
		hostID: [16]byte(b), cntlid: le.Uint16(b[inDataCNTLID:]),
		subNQN: nqnField(b[inDataSUBNQN:][:256]), hostNQN: nqnField(b[inDataHOSTNQN:][:256]),
	}
}

// nqnField is the name in a field of 256 bytes; all of them, which is too long for a name, if it has no end.
func nqnField(b []byte) string {
	if n := bytes.IndexByte(b, 0); n >= 0 {
		b = b[:n]
	}
	return string(b)
}

// CheckNQN says what is wrong with an NVMe qualified name (NVMe Base 2.0, section 4.5).
func CheckNQN(s string) error {
	if !strings.HasPrefix(s, "nqn.") {
		return errors.New(`it does not begin with "nqn."`)
	}
	return checkName(s)
}

// checkName is CheckNQN for the name that a host gives itself. SPDK's identify sends an empty one.
func checkName(s string) error {
	if len(s) > maxNQN {
		return errors.New("longer than 223 bytes")
	}
	for _, r := range s {
		if r <= ' ' || r == 0x7F || r == '\uFFFD' {
			return errors.New("invalid character")
		}
	}
	return nil
}

// errDisconnected ends a connection because the host has asked for that.
var errDisconnected = errors.New("disconnected by the host")

// connect is the Connect command. It answers, in any case.
func (c *conn) connect(cmd *command) {
	cpl, ok := c.tryConnect(&cmd.sqe, decodeConnect(cmd.data))
	c.finish(cmd, cpl)
	if ok && c.auth == nil {
		c.usable()
	}
}

func (c *conn) tryConnect(sqe *drive.Command, d connectData) (cpl drive.Completion, ok bool) {
	refused := func(s drive.Status) (drive.Completion, bool) { return drive.Completion{Status: s}, false }
	qid, size := le.Uint16(sqe[inSQEQID:]), le.Uint16(sqe[inSQESQSIZE:])
	kato := time.Duration(le.Uint32(sqe[48:])) * time.Millisecond
	switch {
	case c.assoc != nil:
		return refused(drive.SequenceError | drive.DNR)
	case le.Uint16(sqe[40:]) != 0:
		return refused(incompatibleFormat)
	case int(qid) > c.srv.o.IOQueues:
		return invalidParameter(false, inSQEQID), false
	case size == 0 || int(size) >= max(c.srv.o.QueueDepth, adminDepth):
		return invalidParameter(false, inSQESQSIZE), false
	case checkName(d.hostNQN) != nil:
		return invalidParameter(true, inDataHOSTNQN), false
	}
	sub, found := c.srv.subsystem(d.subNQN)
	if !found {
		return invalidParameter(true, inDataSUBNQN), false
	}
	host, allowed := c.srv.allowed(d.hostNQN)
	if !allowed {
		c.srv.o.Log("%s: host %q is not allowed to connect", c, d.hostNQN)
		return refused(hostNotAllowed)
	}
	var a *association
	if qid == 0 {
		if d.cntlid != 0xFFFF { // controllers are made as hosts come: the dynamic model
			return invalidParameter(true, inDataCNTLID), false
		}
		a = c.srv.associate(sub, host, d, kato)
	} else {
		// The host identifier is that of the admin queue. It is not compared: some hosts send another one with each queue,
		// and other targets take it.
		a = c.srv.association(d.cntlid)
		if a == nil || a.sub != sub || a.hostNQN != d.hostNQN {
			return invalidParameter(true, inDataCNTLID), false
		}
		if !a.active() || a.sub == nil {
			return refused(drive.SequenceError | drive.DNR)
		}
	}
	if a == nil || !a.join(c, qid) {
		return refused(drive.SequenceError | drive.DNR)
	}
	const noFlowControl = 1 << 2
	c.queue(a, qid, int(size)+1, sqe[46]&noFlowControl == 0)
	cpl.Result = uint64(a.cntlid)
	if sub != nil && host != nil && host.Key != nil {
		c.auth = newAuth(a)
		cpl.Result |= mustAuthenticate
		return cpl, true
	}
	if qid == 0 {
		if err := a.activate(); err != nil {
			c.srv.o.Log("%s: refused: %v", c, err)
			return refused(controllerBusy)
		}
	}
	return cpl, true
}

// mustAuthenticate is AUTHREQ.ATR in dword 0 of a Connect that has succeeded.
const mustAuthenticate = 1 << 17
