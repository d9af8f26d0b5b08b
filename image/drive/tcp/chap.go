package tcp

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"math/big"
	"sync"
)

// Hash functions of DH-HMAC-CHAP (NVMe Base 2.0, section 8.13.5.2).
const (
	hashSHA256 = 1
	hashSHA384 = 2
	hashSHA512 = 3
)

// newHash is the function id, nil if there is none.
func newHash(id uint8) func() hash.Hash {
	switch id {
	case hashSHA256:
		return sha256.New
	case hashSHA384:
		return sha512.New384
	case hashSHA512:
		return sha512.New
	}
	return nil
}

// hashLen is the length of its values, 0 if there is no function id.
func hashLen(id uint8) int {
	if h := newHash(id); h != nil {
		return h().Size()
	}
	return 0
}

// mac is the HMAC with hash function id of the parts, one after the other.
func mac(id uint8, key []byte, parts ...[]byte) []byte {
	h := hmac.New(newHash(id), key)
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// group is a finite field Diffie-Hellman group of RFC 7919, with generator 2.
type group struct {
	bits int   // of the prime
	x    int64 // RFC 7919, appendix A: what makes it a safe prime
	exp  int   // bits of a secret exponent (section 5.2, twice the strength)

	once  sync.Once
	prime *big.Int
}

// groups are those of DH-HMAC-CHAP, by their identifiers (NVMe Base 2.0, figure of DHgIDs). The first
// is none: no Diffie-Hellman exchange.
var groups = [...]*group{
	nil,
	{bits: 2048, x: 560316, exp: 225},
	{bits: 3072, x: 2625351, exp: 275},
	{bits: 4096, x: 5736041, exp: 325},
	{bits: 6144, x: 15705020, exp: 375},
	{bits: 8192, x: 10965728, exp: 400},
}

func (g *group) len() int { return g.bits / 8 }

// p is the prime: 2^b - 2^(b-64) + (floor(2^(b-130) e) + x) 2^64 - 1.
func (g *group) p() *big.Int {
	g.once.Do(func() {
		power := func(n int) *big.Int { return new(big.Int).Lsh(big.NewInt(1), uint(n)) }
		// e is the sum of 1/k!, here with 64 bits more than are needed.
		const guard = 64
		e, term := new(big.Int), power(g.bits-130+guard)
		for k := int64(1); term.Sign() > 0; k++ {
			e.Add(e, term)
			term.Div(term, big.NewInt(k))
		}
		e.Rsh(e, guard)
		p := power(g.bits)
		p.Sub(p, power(g.bits-64))
		e.Add(e, big.NewInt(g.x))
		p.Add(p, e.Lsh(e, 64))
		g.prime = p.Sub(p, big.NewInt(1))
	})
	return g.prime
}

// generate makes a secret exponent and the public value to it.
func (g *group) generate() (secret *big.Int, public []byte, err error) {
	b := make([]byte, (g.exp+7)/8)
	if _, err := rand.Read(b); err != nil {
		return nil, nil, err
	}
	b[0] |= 0x80 // so that it is never short
	secret = new(big.Int).SetBytes(b)
	v := new(big.Int).Exp(big.NewInt(2), secret, g.p())
	return secret, v.FillBytes(make([]byte, g.len())), nil
}

// shared is the session key made of the own secret and the other side's public value; ok is false if that is
// not one that an honest peer sends.
func (g *group) shared(secret *big.Int, public []byte) (key []byte, ok bool) {
	y := new(big.Int).SetBytes(public)
	last := new(big.Int).Sub(g.p(), big.NewInt(1))
	if y.Cmp(big.NewInt(1)) <= 0 || y.Cmp(last) >= 0 {
		return nil, false
	}
	return y.Exp(y, secret, g.p()).FillBytes(make([]byte, g.len())), true
}

// chap is what one side proves the other.
type chap struct {
	hash        uint8
	session     []byte // key of the Diffie-Hellman exchange; nil without one
	seq         uint32
	transaction uint16
}

// augmented is a challenge bound to the session key.
func (c *chap) augmented(challenge []byte) []byte {
	if c.session == nil {
		return challenge
	}
	h := newHash(c.hash)()
	h.Write(c.session)
	return mac(c.hash, h.Sum(nil), challenge)
}

// response is what a side with key answers to challenge: its role is "HostHost" or
// "Controller" (NVMe Base 2.0, sections 8.13.5.4 and 8.13.5.5).
func (c *chap) response(key, challenge []byte, role, own, other string) []byte {
	numbers := le.AppendUint16(le.AppendUint32(nil, c.seq), c.transaction)
	return mac(c.hash, key, c.augmented(challenge), numbers, []byte{0}, []byte(role), []byte(own), []byte{0}, []byte(other))
}
