package tcp

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"zimg/image/drive"
	"zimg/image/drive/tcp/host"
)

// The primes are those of RFC 7919: SHA-256 of what OpenSSL 3.0 has under these names.
func TestGroups(t *testing.T) {
	t.Parallel()
	want := []string{
		"",
		"9cd3b7f336872f46c09428d1bbc19877a4d440512cda8d1c1cf0cd6e33698966",
		"0eaf67db3a839156d5013494a5318a772b5697d270d721f37f092efc69ea5a17",
		"4648414224ac881b3d0dc59b466f96d06a558278776807797ecf1f66ff397b3e",
		"227ac9066b3ddd9e193670cda2388fa884f65ba0cf98b742d1fe77a6687c79c7",
		"770b14efaf6f049929c523113b3fa99a8d11dab1b18af3609590122075d19833",
	}
	for i, g := range groups {
		if g == nil {
			continue
		}
		if sum := sha256.Sum256(g.p().Bytes()); hex.EncodeToString(sum[:]) != want[i] {
			t.Errorf("group of %d bits: another prime", g.bits)
		}
		for _, bad := range []*big.Int{big.NewInt(0), big.NewInt(1), new(big.Int).Sub(g.p(), big.NewInt(1)), g.p()} {
			if _, ok := g.shared(big.NewInt(5), bad.FillBytes(make([]byte, g.len()))); ok {
				t.Errorf("group of %d bits takes a weak value", g.bits)
			}
		}
	}
}

func count(from, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(from + i)
	}
	return b
}

// Responses that a program in Python has calculated from the specification.
func TestResponses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		key             Key
		chap            chap
		role, nqn, peer string
		want            string
	}{
		{
			Key{hashSHA256, count(0, 32)},
			chap{hash: hashSHA256, seq: 0x01020304, transaction: 0x0506},
			"HostHost", hostNQN, testNQN,
			"5e64d98a9852ef03976d54d0000e029b8de83b6f89a65187b02b18d274313488",
		},
		{
			Key{0, count(0, 48)},
			chap{hash: hashSHA384, seq: 0x01020304, transaction: 0x0506, session: bytes.Repeat([]byte{7}, 256)},
			"HostHost", hostNQN, testNQN,
			"7ec8e13900bd5c8f233e51bf70d69f58214813bf234dc7be8f000b3de35d2ce8596816cde89bf435beec73fdcaab1b2c",
		},
		{
			Key{hashSHA512, count(0, 64)},
			chap{hash: hashSHA512, seq: 0xFFFFFFFF, transaction: 0x0506, session: bytes.Repeat([]byte{7}, 384)},
			"Controller", testNQN, hostNQN,
			"2aefbb5a89d89c0277c0070bbe6c4dbee2fd5116e329fa8dde77956bb17557f3e4257d6714ac61fee9c0f09bc351c508a80390fb6c0edc4f54cf01bdf7a37bcc",
		},
	} {
		got := c.chap.response(c.key.transformed(c.nqn), count(100, hashLen(c.chap.hash)), c.role, c.nqn, c.peer)
		if hex.EncodeToString(got) != c.want {
			t.Errorf("%s: %x, want %s", c.role, got, c.want)
		}
	}
}

// Keys that nvme-cli 2.3 has made, and what is no key.
func TestParseKey(t *testing.T) {
	t.Parallel()
	for i, text := range []string{
		"DHHC-1:00:eGHcprOPJOI3FKucQVWMEr5MtQYpgJAG9+CIrPD4XMnv07Wz:",
		"DHHC-1:01:pEmP/pmlkgc7rIA3yvDNcNrAr7yBzQqRKjXlgbuniXjuHEG1:\n",
		"DHHC-1:02:jel7Q8QdBD1v5YJJuOdJEkNFszbpplAPGb4PZ5D2fUhftEwJ+4J9BTx7tcfmk0hfdq+RjA==:",
		"DHHC-1:03:ZGZHnjWKuleIq4Ln90N3nD5iEa3KPgcRLkpFN+e+ov09EUMAPlbZzHGCtTcc4061YWJ7wJoqbG84g30nDWy2KgcTAsw=:",
	} {
		k, err := ParseKey(text)
		if err != nil || int(k.hash) != i || len(k.secret) != []int{32, 32, 48, 64}[i] {
			t.Errorf("%s: %+v, %v", text, k, err)
		}
	}
	for text, want := range map[string]string{
		"": "must begin with", "NVMeTLSkey-1:01:AAAA:": "must begin with",
		"DHHC-1:04:eGHcprOPJOI3FKucQVWMEr5MtQYpgJAG9+CIrPD4XMnv07Wz:": "00 to 03",
		"DHHC-1:00:eGHcprOPJOI3FKucQVWMEr5MtQYpgJAG9+CIrPD4XMnv07W0:": "checksum",
		"DHHC-1:00:eGHcprOPJOI3FKucQVWMEr5MtQYpgJAG9+CIrPD4XMnv07W*:": "base64",
		"DHHC-1:00:eGHcprOPJOI3FKucQVWMEr5MtQYpgJAG9+CIrPD4XMnv:":     "bytes",
	} {
		if _, err := ParseKey(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func prime(id uint8) *big.Int { return groups[id].p() }

func secrets() host.Secrets {
	return host.Secrets{Host: count(0, 32), HostHash: 1, Hashes: []uint8{1, 2, 3}, Groups: []uint8{0, 1, 2, 3, 4, 5}, Prime: prime}
}

// A host with the key gets in, over every hash and group, one way and both ways; nothing else does.
func TestAuthentication(t *testing.T) {
	t.Parallel()
	tg := newTarget(t, Options{Hosts: []Host{{NQN: hostNQN, Key: &Key{hashSHA256, count(0, 32)}, CtrlKey: &Key{hashSHA384, count(9, 48)}}, {NQN: otherNQN}}})
	try := func(s host.Secrets) error {
		q := tg.open(host.Options{})
		_, must, err := q.Connect(params())
		if err != nil || !must {
			t.Fatalf("Connect: authentication %t, %v", must, err)
		}
		if _, err := q.Get(regCAP, 8); statusOf(err) != authRequired {
			t.Errorf("a property before authentication: %v", err)
		}
		if c, err := q.Do(host.Command{0: opIdentify}, nil, make([]byte, 4096)); err != nil || drive.Status(c.Status) != authRequired {
			t.Errorf("Identify before authentication: %+v, %v", c, err)
		}
		if err := q.Authenticate(params(), s); err != nil {
			return err
		}
		return q.Enable()
	}
	for _, h := range []uint8{1, 2, 3} {
		for _, g := range []uint8{0, 1, 2, 3} {
			for _, both := range []bool{false, true} {
				s := secrets()
				s.Hashes, s.Groups = []uint8{h}, []uint8{g}
				if both {
					s.Ctrl, s.CtrlHash = count(9, 48), 2
				}
				if err := try(s); err != nil {
					t.Errorf("hash %d, group %d, both ways %t: %v", h, g, both, err)
				}
			}
		}
	}
	for name, c := range map[string]struct {
		edit func(*host.Secrets)
		want uint8
	}{
		"another key":           {func(s *host.Secrets) { s.Host = count(1, 32) }, authFailed},
		"another transform":     {func(s *host.Secrets) { s.HostHash = 0 }, authFailed},
		"no hash in common":     {func(s *host.Secrets) { s.Hashes = []uint8{9} }, authHashUnusable},
		"no group in common":    {func(s *host.Secrets) { s.Groups = []uint8{77} }, authGroupUnusable},
		"a public value of one": {func(s *host.Secrets) { s.Groups, s.Public = []uint8{1}, count(0, 256)[:0:0] }, authIncorrectPayload},
		"a weak public value": {func(s *host.Secrets) {
			s.Groups, s.Public = []uint8{1}, big.NewInt(1).FillBytes(make([]byte, 256))
		}, authGroupUnusable},
	} {
		s := secrets()
		c.edit(&s)
		err := try(s)
		if f, ok := errors.AsType[*host.AuthFailure](err); !ok || f.Reason != 1 || f.Explanation != c.want {
			t.Errorf("%s: %v, want %d", name, err, c.want)
		}
	}
	s := secrets()
	s.Ctrl = count(1, 48)
	if err := try(s); err == nil {
		t.Error("the host accepts a subsystem with another key")
	}
}

func statusOf(err error) drive.Status {
	if s, ok := errors.AsType[*host.StatusError](err); ok {
		return drive.Status(s.Status)
	}
	return 0
}

// Messages that come out of turn, or are damaged, do not let anybody in.
func TestAuthenticationOutOfTurn(t *testing.T) {
	t.Parallel()
	tg := newTarget(t, Options{Handshake: 2 * time.Second, Hosts: []Host{{NQN: hostNQN, Key: &Key{hashSHA256, count(0, 32)}}}})
	message := func(kind, id uint8, n int) []byte {
		m := make([]byte, n)
		m[0], m[1] = kind, id
		return m
	}
	for name, list := range map[string][][]byte{
		"success first":        {message(1, msgSuccess2, 16)},
		"reply first":          {message(1, msgReply, 100)},
		"one byte":             {{0}},
		"a short negotiation":  {host.Negotiate(0, []uint8{1}, []uint8{0})[:60]},
		"success after hello":  {host.Negotiate(0, []uint8{1}, []uint8{0}), message(1, msgSuccess2, 16)},
		"reply before asking":  {host.Negotiate(0, []uint8{1}, []uint8{0}), message(1, msgReply, 100)},
		"another transaction":  {host.Negotiate(7, []uint8{1}, []uint8{0}), message(1, msgReply, 100)},
		"too many hashes":      {func() []byte { m := host.Negotiate(0, nil, nil); m[10] = 200; return m }()},
		"secure concatenation": {func() []byte { m := host.Negotiate(0, []uint8{1}, []uint8{0}); m[6] = 1; return m }()},
	} {
		q := tg.open(host.Options{})
		if _, _, err := q.Connect(params()); err != nil {
			t.Fatal(err)
		}
		for _, m := range list {
			if err := q.AuthSend(m); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		_, err := q.AuthReceive(msgSuccess1)
		if _, ok := errors.AsType[*host.AuthFailure](err); !ok {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := q.Get(regCAP, 8); statusOf(err) != authRequired {
			t.Errorf("%s: a property: %v", name, err)
		}
	}
	if n := len(tg.fakes()); n != 0 {
		t.Errorf("%d controllers were made", n)
	}
}
