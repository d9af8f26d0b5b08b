package tcp

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"zimg/layout"
)

// Key is a secret for DH-HMAC-CHAP.
type Key struct {
	hash   uint8 // that it is transformed with, 0 for none
	secret []byte
}

// ParseKey reads a secret in the form that nvme gen-dhchap-key prints, of 32, 48 or 64 bytes:
//
//	DHHC-1:HH:base64(secret, CRC-32 of secret):
//
// The hash HH is 00 for none, 01 to 03 for SHA-256, SHA-384 and SHA-512 (NVMe Base 2.0, section
// 8.13.5.8).
func ParseKey(text string) (*Key, error) {
	rest, ok := strings.CutPrefix(strings.TrimSpace(text), "DHHC-1:")
	if !ok {
		return nil, errors.New(`a key must begin with "DHHC-1:"`)
	}
	hash, rest, ok := strings.Cut(rest, ":")
	if !ok || len(hash) != 2 || hash[0] != '0' || hash[1] < '0' || hash[1] > '3' {
		return nil, fmt.Errorf("invalid hash %q in the key: must be 00 to 03", hash)
	}
	b, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(rest, ":"))
	if err != nil {
		return nil, errors.New("the key is not valid base64")
	}
	n := len(b) - 4
	if n != 32 && n != 48 && n != 64 {
		return nil, fmt.Errorf("invalid key length %d: must be 32, 48 or 64 bytes", n)
	}
	if le.Uint32(b[n:]) != layout.ChecksumIEEE(b[:n]) {
		return nil, errors.New("the checksum of the key is wrong; it may have been copied incompletely")
	}
	return &Key{hash: hash[1] - '0', secret: b[:n]}, nil
}

// transformed is the secret as it is used between one host or subsystem and all others.
func (k *Key) transformed(nqn string) []byte {
	if k.hash == 0 {
		return k.secret
	}
	return mac(k.hash, k.secret, []byte(nqn), []byte("NVMe-over-Fabrics"))
}
