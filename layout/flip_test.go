package layout_test

import (
	"math/bits"
	"testing"

	"zimg/layout"
)

// No two bits of a block, and none of its stored CRC, look alike: so a CRC says
// which one flipped. The longest header is looked at, which shorter blocks are the end of.
func TestFlipsAreDistinct(t *testing.T) {
	t.Parallel()
	const length = 5 * layout.BlockLen
	b := make([]byte, length)
	zero := layout.Checksum(b)
	seen := make(map[uint32]int, length*8)
	for bit := range length * 8 {
		// The CRC is linear: what a bit does depends on its distance from the end alone.
		b := make([]byte, length-bit/8)
		clean := layout.Checksum(b)
		b[0] = 1 << (bit % 8)
		s := layout.Checksum(b) ^ clean
		if other, twice := seen[s]; twice || bits.OnesCount32(s) == 1 {
			t.Fatalf("bits %d and %d have the syndrome %#x", bit, other, s)
		}
		seen[s] = bit
	}
	for bit := 0; bit < length*8; bit += 4099 { // that it is found
		b[bit/8] ^= 1 << (bit % 8)
		if got, ok := layout.FindFlip(layout.Checksum(b)^zero, length); !ok || got != int64(bit) {
			t.Errorf("bit %d is taken for %d, %v", bit, got, ok)
		}
		b[bit/8] ^= 1 << (bit % 8)
	}
	for _, diff := range []uint32{0, 1, 1 << 31} { // nothing, and bits of the CRC itself
		if bit, ok := layout.FindFlip(diff, length); ok {
			t.Errorf("a difference of %#x is taken for bit %d", diff, bit)
		}
	}
}
