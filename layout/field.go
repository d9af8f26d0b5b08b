package layout

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"
)

// le is the byte order of everything on disk.
var le = binary.LittleEndian

// firstNonZero is the index of the first byte of b that is not zero, or -1.
func firstNonZero(b []byte) int {
	for i, c := range b {
		if c != 0 {
			return i
		}
	}
	return -1
}

// reserved refuses bytes of region [from, to) that are not zero; base is the
// file offset of b.
func reserved(region string, base Bytes, b []byte, from, to int) error {
	if i := firstNonZero(b[from:to]); i >= 0 {
		return &FieldError{Region: region, Off: base + Bytes(from+i), Field: "reserved byte", Got: b[from+i], Want: 0, Err: ErrDamaged}
	}
	return nil
}

// shortInput is the error of a decoder that was given fewer bytes than the
// structure has.
func shortInput(region string, base Bytes, got int, want Bytes) error {
	return &FieldError{Region: region, Off: base, Field: "length", Got: got, Want: want, Err: ErrDamaged}
}

// getString reads NUL padded UTF-8; ok is false if it is not that.
func getString(b []byte) (s string, ok bool) {
	n := bytes.IndexByte(b, 0)
	if n < 0 {
		n = len(b)
	}
	return string(b[:n]), utf8.Valid(b[:n]) && firstNonZero(b[n:]) < 0
}

// putString writes s NUL padded; a longer one is cut (callers check first).
func putString(b []byte, s string) {
	clear(b)
	copy(b, s)
}

// RoundUp is n rounded up to a multiple of align, a power of two.
func RoundUp[T ~int64 | ~uint64](n, align T) T { return (n + align - 1) &^ (align - 1) }
