package host

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
	"math/big"
)

// Secrets are those of DH-HMAC-CHAP, as bytes and with the hash that transforms them: 0 for none.
type Secrets struct {
	Host     []byte
	HostHash uint8
	Ctrl     []byte // nil: the subsystem need not prove anything
	CtrlHash uint8

	Hashes, Groups []uint8 // offered, in this order
	Prime          func(group uint8) *big.Int
	Public         []byte // sent instead of an honest value, if not nil
}

// AuthFailure is an AUTH_Failure1 message.
type AuthFailure struct{ Reason, Explanation uint8 }

func (e *AuthFailure) Error() string {
	return fmt.Sprintf("authentication failed: reason %d, %d", e.Reason, e.Explanation)
}

func authCommand(kind uint8, n int) Command {
	cmd := Command{0: 0x7F, 4: kind, 41: 1, 42: 1, 43: 0xE9}
	le.PutUint32(cmd[44:], uint32(n))
	return cmd
}

// AuthSend sends a message.
func (q *Queue) AuthSend(m []byte) error {
	old := q.o.InCapsule
	q.o.InCapsule = max(old, len(m))
	c, err := q.Do(authCommand(5, len(m)), m, nil)
	q.o.InCapsule = old
	if err == nil {
		err = c.Check()
	}
	return err
}

// AuthReceive receives the message id, or the failure in its place.
func (q *Queue) AuthReceive(id uint8) ([]byte, error) {
	m := make([]byte, 4096)
	c, err := q.Do(authCommand(6, len(m)), nil, m)
	if err == nil {
		err = c.Check()
	}
	switch {
	case err != nil:
		return nil, err
	case m[0] == 0 && m[1] == 0xF1:
		return nil, &AuthFailure{m[6], m[7]}
	case m[0] != 1 || m[1] != id:
		return nil, fmt.Errorf("message % x", m[:8])
	}
	return m, nil
}

func hashOf(id uint8) func() hash.Hash {
	return []func() hash.Hash{nil, sha256.New, sha512.New384, sha512.New}[id]
}

func sumOf(id uint8, key []byte, parts ...[]byte) []byte {
	h := hmac.New(hashOf(id), key)
	h.Write(bytes.Join(parts, nil))
	return h.Sum(nil)
}

func transform(id uint8, secret []byte, nqn string) []byte {
	if id == 0 {
		return secret
	}
	return sumOf(id, secret, []byte(nqn), []byte("NVMe-over-Fabrics"))
}

// Negotiate is the message that begins an authentication.
func Negotiate(transaction uint16, hashes, groups []uint8) []byte {
	m := make([]byte, 8+64)
	le.PutUint16(m[4:], transaction)
	m[7] = 1
	p := m[8:]
	p[0], p[2], p[3] = 1, uint8(len(hashes)), uint8(len(groups))
	copy(p[4:34], hashes)
	copy(p[34:], groups)
	return m
}

// Authenticate goes through all of DH-HMAC-CHAP.
func (q *Queue) Authenticate(p Params, s Secrets) error {
	const transaction = 0x1234
	if err := q.AuthSend(Negotiate(transaction, s.Hashes, s.Groups)); err != nil {
		return err
	}
	m, err := q.AuthReceive(1)
	if err != nil {
		return err
	}
	n, id, group, dh, seq := int(m[6]), m[8], m[9], int(le.Uint16(m[10:])), m[12:16]
	c1, theirs := m[16:][:n], m[16+n:][:dh]
	var own, session []byte
	if group != 0 {
		prime := s.Prime(group)
		x, err := rand.Int(rand.Reader, prime)
		if err != nil {
			return err
		}
		own = new(big.Int).Exp(big.NewInt(2), x, prime).FillBytes(make([]byte, dh))
		session = new(big.Int).Exp(new(big.Int).SetBytes(theirs), x, prime).FillBytes(make([]byte, dh))
		if s.Public != nil {
			own = s.Public
		}
	}
	bound := func(c []byte) []byte {
		if session == nil {
			return c
		}
		h := hashOf(id)()
		h.Write(session)
		return sumOf(id, h.Sum(nil), c)
	}
	tid := le.AppendUint16(nil, transaction)
	response := sumOf(id, transform(s.HostHash, s.Host, p.HostNQN), bound(c1), seq, tid, []byte("\x00HostHost"+p.HostNQN+"\x00"+p.SubNQN))
	reply := make([]byte, 16, 16+2*n+dh)
	reply[0], reply[1], reply[6] = 1, 2, uint8(n)
	copy(reply[4:], tid)
	le.PutUint16(reply[10:], uint16(len(own)))
	c2 := make([]byte, n)
	if s.Ctrl != nil {
		reply[8], reply[12] = 1, 99
		if _, err := rand.Read(c2); err != nil {
			return err
		}
	}
	reply = append(append(append(reply, response...), c2...), own...)
	if err := q.AuthSend(reply); err != nil {
		return err
	}
	if m, err = q.AuthReceive(3); err != nil || s.Ctrl == nil {
		return err
	}
	want := sumOf(id, transform(s.CtrlHash, s.Ctrl, p.SubNQN), bound(c2), reply[12:16], tid, []byte("\x00Controller"+p.SubNQN+"\x00"+p.HostNQN))
	done := make([]byte, 16)
	done[0], done[1] = 1, 4
	copy(done[4:], tid)
	if m[8] != 1 || !hmac.Equal(want, m[16:][:n]) {
		done[0], done[1], done[6], done[7] = 0, 0xF0, 1, 1
		return errors.Join(errors.New("the subsystem does not know its key"), q.AuthSend(done))
	}
	return q.AuthSend(done)
}
