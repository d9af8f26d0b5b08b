package tcp

import (
	"crypto/hmac"
	"crypto/rand"
	"math/big"
	"slices"
	"time"

	"zimg/image/drive"
)

// Messages of DH-HMAC-CHAP (NVMe Base 2.0, section 8.13.5): a type and an identifier. The types are
// those of all protocols (0) and of this one (1).
//
//	host                                     subsystem
//	  AUTH_Negotiate      -- Send ----->
//	                      <- Receive ---     DH-HMAC-CHAP_Challenge
//	  DH-HMAC-CHAP_Reply  -- Send ----->
//	                      <- Receive ---     DH-HMAC-CHAP_Success1
//	  DH-HMAC-CHAP_Success2 Send ----->      only if the subsystem has proved itself, too
const (
	msgNegotiate = 0x00
	msgChallenge = 0x01
	msgReply     = 0x02
	msgSuccess1  = 0x03
	msgSuccess2  = 0x04
	msgFailure2  = 0xF0
	msgFailure1  = 0xF1

	typeCommon = 0
	typeChap   = 1
)

// Why authentication fails.
const (
	authFailed           = 1
	authConcatMismatch   = 3
	authHashUnusable     = 4
	authGroupUnusable    = 5
	authIncorrectPayload = 6
	authIncorrectMessage = 7
)

// Lengths and places in the commands and messages.
const (
	authHeader    = 16 // of Challenge, Reply and Success1
	authMostSent  = 4 << 10
	authMostTaken = 16 << 10
	protocolLen   = 64 // of one protocol descriptor in Negotiate
	idsPerKind    = 30 // hashes in such a descriptor, and groups
)

// auth is the authentication of one queue. The goroutine of its connection uses it.
type auth struct {
	a      *association
	passed bool

	next    uint8 // the message that comes or goes next
	failure uint8 // why, when next is msgFailure1
	chap    chap
	group   uint8
	secret  *big.Int
	c1, c2  []byte // the challenges of both sides; c2 is nil if the host does not ask for proof
	s2      uint32
}

func newAuth(a *association) *auth { return &auth{a: a} }

// authLength is the length of the message of an Authentication Send or Receive command.
func (c *conn) authLength(sqe *drive.Command) (int, drive.Status) {
	const protocol, specific = 0xE9, 1 // SECP, SPSP0 and SPSP1
	n, most := le.Uint32(sqe[44:]), uint32(authMostSent)
	if sqe[4] == fctypeAuthReceive {
		most = authMostTaken
	}
	if sqe[43] != protocol || sqe[41] != specific || sqe[42] != specific || n == 0 || n > most {
		return 0, drive.InvalidField | drive.DNR
	}
	if c.auth == nil { // the host need not, and there is no key to do it with
		return 0, drive.SequenceError | drive.DNR
	}
	return int(n), 0
}

// authSend takes a message from the host. What is wrong with it the host learns by its next Receive.
func (c *conn) authSend(cmd *command) drive.Status {
	x, m := c.auth, cmd.data
	if len(m) < 8 {
		return c.authFailed(authIncorrectPayload)
	}
	kind, id, transaction := m[0], m[1], le.Uint16(m[4:])
	switch {
	case kind == typeCommon && id == msgNegotiate: // at any time: it begins anew
		x.chap = chap{transaction: transaction}
		if why := x.negotiate(m); why != 0 {
			return c.authFailed(why)
		}
		x.next = msgChallenge
		return 0
	case transaction != x.chap.transaction:
		return c.authFailed(authIncorrectPayload)
	case id == msgFailure2:
		c.srv.o.Log("%s: %s rejected the authentication of this subsystem; the controller keys differ", c, x.a.hostNQN)
		return c.authFailed(authFailed)
	case kind != typeChap || id != x.next:
		return c.authFailed(authIncorrectMessage)
	case id == msgReply:
		if why := c.reply(m); why != 0 {
			c.srv.o.Log("%s: %s failed to authenticate", c, x.a.hostNQN)
			return c.authFailed(why)
		}
		x.next = msgSuccess1
		return 0
	case id == msgSuccess2:
		return c.authPassed()
	}
	return c.authFailed(authIncorrectMessage)
}

// authFailed notes why the next message to the host is a failure.
func (c *conn) authFailed(why uint8) drive.Status {
	c.auth.passed, c.auth.next, c.auth.failure = false, msgFailure1, why
	if c.in.limit.IsZero() {
		c.in.limit = time.Now().Add(c.srv.o.Handshake)
	}
	return 0
}

// authPassed lets the host use the queue.
func (c *conn) authPassed() drive.Status {
	x := c.auth
	x.next = msgNegotiate
	if c.qid == 0 && !x.a.active() {
		if err := x.a.activate(); err != nil {
			c.srv.o.Log("%s: refused: %v", c, err)
			return controllerBusy
		}
	}
	x.passed = true
	c.usable()
	return 0
}

// negotiate chooses a hash and a group of those that the host can do.
func (x *auth) negotiate(m []byte) (why uint8) {
	const head, chapID = 8, 1
	if m[6] != 0 { // secure channel concatenation, which needs TLS
		return authConcatMismatch
	}
	protocols := int(m[7])
	if len(m) < head+protocols*protocolLen {
		return authIncorrectPayload
	}
	for i := range protocols {
		p := m[head+i*protocolLen:][:protocolLen]
		if p[0] != chapID {
			continue
		}
		hashes, dh := int(p[2]), int(p[3])
		if hashes > idsPerKind || dh > idsPerKind {
			return authIncorrectPayload
		}
		return x.choose(p[4:][:hashes], p[4+idsPerKind:][:dh])
	}
	return authHashUnusable
}

func (x *auth) choose(hashes, dh []byte) (why uint8) {
	for _, id := range []uint8{x.a.host.Key.hash, hashSHA256, hashSHA384, hashSHA512} {
		if id != 0 && slices.Contains(hashes, id) {
			x.chap.hash = id
			break
		}
	}
	if x.chap.hash == 0 {
		return authHashUnusable
	}
	// 2048 bits are as strong as anything that is protected here, and quick. Without an exchange the secrets
	// alone protect, which are random.
	for _, id := range []uint8{1, 2, 3, 4, 5, 0} {
		if slices.Contains(dh, id) {
			x.group = id
			return 0
		}
	}
	return authGroupUnusable
}

// reply checks what the host says to the challenge.
func (c *conn) reply(m []byte) (why uint8) {
	x := c.auth
	if len(m) < authHeader {
		return authIncorrectPayload
	}
	n, hasChallenge, dh := int(m[6]), m[8] != 0, int(le.Uint16(m[10:]))
	if n != hashLen(x.chap.hash) || len(m) < authHeader+2*n+dh {
		return authIncorrectPayload
	}
	got, challenge, public := m[authHeader:][:n], m[authHeader+n:][:n], m[authHeader+2*n:][:dh]
	if x.group != 0 {
		g := groups[x.group]
		if dh != g.len() {
			return authIncorrectPayload
		}
		c.srv.dh <- struct{}{}
		session, ok := g.shared(x.secret, public)
		<-c.srv.dh
		if !ok {
			return authGroupUnusable
		}
		x.chap.session = session
	} else if dh != 0 {
		return authIncorrectPayload
	}
	want := x.chap.response(x.a.host.Key.transformed(x.a.hostNQN), x.c1, "HostHost", x.a.hostNQN, x.a.sub.NQN)
	if !hmac.Equal(got, want) {
		return authFailed
	}
	x.s2, x.c2 = le.Uint32(m[12:]), nil
	if hasChallenge {
		if x.a.host.CtrlKey == nil {
			return authFailed
		}
		x.c2 = slices.Clone(challenge)
	}
	return 0
}

// authReceive gives the host the next message.
func (c *conn) authReceive(cmd *command) drive.Status {
	x := c.auth
	var m []byte
	switch x.next {
	case msgChallenge:
		var err error
		if m, err = c.challenge(); err != nil {
			return drive.InternalError
		}
		x.next = msgReply
	case msgSuccess1:
		m = x.success1()
		if len(m) > len(cmd.data) {
			return drive.InvalidField | drive.DNR
		}
		if x.c2 != nil && x.s2 != 0 {
			x.next = msgSuccess2
		} else if st := c.authPassed(); st != 0 {
			return st
		}
	default:
		why := x.failure
		if x.next != msgFailure1 {
			_ = c.authFailed(authIncorrectMessage)
			why = authIncorrectMessage
		}
		m = make([]byte, 8)
		m[0], m[1], m[6], m[7] = typeCommon, msgFailure1, 1, why
		le.PutUint16(m[4:], x.chap.transaction)
	}
	if len(m) > len(cmd.data) {
		return drive.InvalidField | drive.DNR
	}
	copy(cmd.data, m)
	return 0
}

// message is the header of a message with n bytes of hash.
func (x *auth) message(id uint8) []byte {
	m := make([]byte, authHeader)
	m[0], m[1] = typeChap, id
	le.PutUint16(m[4:], x.chap.transaction)
	m[6] = uint8(hashLen(x.chap.hash))
	return m
}

func (c *conn) challenge() ([]byte, error) {
	x := c.auth
	m := x.message(msgChallenge)
	x.c1 = make([]byte, hashLen(x.chap.hash)+4)
	if _, err := rand.Read(x.c1); err != nil {
		return nil, err
	}
	x.chap.seq = le.Uint32(x.c1[len(x.c1)-4:]) | 1 // never zero
	x.c1 = x.c1[:len(x.c1)-4]
	m[8], m[9] = x.chap.hash, x.group
	le.PutUint32(m[12:], x.chap.seq)
	m = append(m, x.c1...)
	if x.group == 0 {
		return m, nil
	}
	c.srv.dh <- struct{}{}
	secret, public, err := groups[x.group].generate()
	<-c.srv.dh
	x.secret = secret
	le.PutUint16(m[10:], uint16(len(public)))
	return append(m, public...), err
}

// success1 proves to the host, if it has asked, that the subsystem knows its key.
func (x *auth) success1() []byte {
	m := x.message(msgSuccess1)
	if x.c2 == nil {
		return append(m, make([]byte, m[6])...)
	}
	m[8] = 1
	own := x.chap
	own.seq = x.s2
	return append(m, own.response(x.a.host.CtrlKey.transformed(x.a.sub.NQN), x.c2, "Controller", x.a.sub.NQN, x.a.hostNQN)...)
}
