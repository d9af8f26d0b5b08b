package pi

// The two checksums of protection information, eight bytes at a time:
//
//	16-bit guard  CRC-16/T10-DIF, polynomial 8BB7h, most significant bit first
//	64-bit guard  CRC-64/NVME, polynomial AD93D23594C93659h, reflected, all ones in and out
//
// (NVM Command Set specification 1.0, sections 5.2.1.1 and 5.2.1.3).
const (
	crc16Poly = 0x8BB7
	crc64Poly = 0x9A6C9329AC4BC9B5 // reflected
)

// Table k moves a byte on past k further bytes.
var (
	crc16Tables = makeCRC16()
	crc64Tables = makeCRC64()
)

func makeCRC16() *[8][256]uint16 {
	t := new([8][256]uint16)
	for i := range t[0] {
		c := uint16(i) << 8
		for range 8 {
			if c&0x8000 != 0 {
				c = c<<1 ^ crc16Poly
			} else {
				c <<= 1
			}
		}
		t[0][i] = c
	}
	for k := 1; k < len(t); k++ {
		for i := range t[k] {
			c := t[k-1][i]
			t[k][i] = c<<8 ^ t[0][c>>8]
		}
	}
	return t
}

func makeCRC64() *[8][256]uint64 {
	t := new([8][256]uint64)
	for i := range t[0] {
		c := uint64(i)
		for range 8 {
			if c&1 != 0 {
				c = c>>1 ^ crc64Poly
			} else {
				c >>= 1
			}
		}
		t[0][i] = c
	}
	for k := 1; k < len(t); k++ {
		for i := range t[k] {
			c := t[k-1][i]
			t[k][i] = c>>8 ^ t[0][byte(c)]
		}
	}
	return t
}

// crc16 continues the CRC-16/T10-DIF c with the bytes of p; it begins with 0.
func crc16(c uint16, p []byte) uint16 {
	t := crc16Tables
	for ; len(p) >= 8; p = p[8:] {
		c = t[7][p[0]^byte(c>>8)] ^ t[6][p[1]^byte(c)] ^ t[5][p[2]] ^ t[4][p[3]] ^
			t[3][p[4]] ^ t[2][p[5]] ^ t[1][p[6]] ^ t[0][p[7]]
	}
	for _, b := range p {
		c = c<<8 ^ t[0][byte(c>>8)^b]
	}
	return c
}

// crc64 continues the CRC-64/NVME c with the bytes of p; it begins with 0.
func crc64(c uint64, p []byte) uint64 {
	t := crc64Tables
	c = ^c
	for ; len(p) >= 8; p = p[8:] {
		c ^= le.Uint64(p)
		c = t[7][byte(c)] ^ t[6][byte(c>>8)] ^ t[5][byte(c>>16)] ^ t[4][byte(c>>24)] ^
			t[3][byte(c>>32)] ^ t[2][byte(c>>40)] ^ t[1][byte(c>>48)] ^ t[0][c>>56]
	}
	for _, b := range p {
		c = c>>8 ^ t[0][byte(c)^b]
	}
	return ^c
}
