package layout

import "github.com/klauspost/crc32"

// castagnoli is CRC-32C, the polynomial that NVMe, iSCSI and ext4 use: chosen
// for its error detection, not for speed.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Checksum is the CRC-32C of b.
func Checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// checksumZeroed is the CRC-32C of b with the four bytes at off taken as zero.
func checksumZeroed(b []byte, off int) uint32 {
	c := crc32.Update(0, castagnoli, b[:off])
	c = crc32.Update(c, castagnoli, []byte{0, 0, 0, 0})
	return crc32.Update(c, castagnoli, b[off+4:])
}

// UpdateChecksum is the CRC-32C of what sum is the CRC-32C of, followed by b.
func UpdateChecksum(sum uint32, b []byte) uint32 { return crc32.Update(sum, castagnoli, b) }

// ChecksumIEEE is the CRC-32 of b with the polynomial of Ethernet and zip, which formats of
// others use.
func ChecksumIEEE(b []byte) uint32 { return crc32.ChecksumIEEE(b) }
