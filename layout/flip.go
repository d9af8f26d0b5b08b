package layout

import (
	"math/bits"
)

// A CRC-32C says which bit flipped. The CRC is linear: one flipped bit changes
// the CRC of a block by a value, its syndrome, that depends only on how far the bit is
// from the end. For blocks as short as these (the code has a minimum distance of 4 up
// to 2^31 bits) no two bits have the same syndrome, and none has one with a
// single bit set, which is what a flipped bit of the stored CRC itself gives.
//
// A block that is garbage has the syndrome of some bit once in 2^32 / its
// number of bits, which is once in 131,072 for 4 KiB. So this is for a checker,
// which judges what it finds by other rules as well, and not for a reader.

// FindFlip returns the number of the bit that flipped in length bytes whose CRC
// differs from the one stored by diff (computed XOR stored): bit n is bit n%8 of byte n/8. ok is false if no
// single bit of them explains the difference.
func FindFlip(diff uint32, length int64) (bit int64, ok bool) {
	if diff == 0 {
		return 0, false
	}
	var syndromes [8]uint32 // of the bits of the byte that is looked at
	zero := Checksum([]byte{0})
	for i := range syndromes {
		syndromes[i] = Checksum([]byte{1 << i}) ^ zero
	}
	for at := length - 1; at >= 0; at-- {
		for i, s := range syndromes {
			if s == diff {
				return at*8 + int64(i), true
			}
			syndromes[i] = castagnoliTable[byte(s)] ^ s>>8
		}
	}
	return 0, false
}

// castagnoliTable is the table of the usual bytewise CRC-32C.
var castagnoliTable = func() (t [256]uint32) {
	for i := range t {
		c := uint32(i)
		for range 8 {
			c = c>>1 ^ 0x82F63B78&-(c&1)
		}
		t[i] = c
	}
	return t
}()

// CorrectHeader returns the slot header in b, which begins at file offset base
// and has up to MaxHeaderLen bytes, with one bit of it flipped back, and the number
// of that bit. The error is DecodeHeader's where no single bit is at fault.
func CorrectHeader(b []byte, base Bytes) (*Header, int64, error) {
	for n := BlockLen; n <= MaxHeaderLen && n <= len(b); n += BlockLen {
		fixed := append([]byte(nil), b[:n]...)
		diff := checksumZeroed(fixed, headerCRCOff) ^ le.Uint32(fixed[headerCRCOff:])
		bit, ok := FindFlip(diff, int64(n))
		if bits.OnesCount32(diff) == 1 {
			bit, ok = 8*headerCRCOff+int64(bits.TrailingZeros32(diff)), true
		}
		if !ok {
			continue
		}
		fixed[bit/8] ^= 1 << (bit % 8)
		if h, err := DecodeHeader(fixed, base); err == nil {
			return h, bit, nil
		}
	}
	_, err := DecodeHeader(b, base)
	if err == nil {
		err = Errorf(ErrDamaged, "slot header at byte %d: not a single-bit error", base)
	}
	return nil, 0, err
}
