package layout_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"

	"zimg/layout"
)

// The checksums of 1 MiB of blocks, against the standard library's.
func BenchmarkChecksumOfAMebibyte(b *testing.B) {
	data := bytes.Repeat([]byte("zone"), 1<<18)
	castagnoli := crc32.MakeTable(crc32.Castagnoli)
	blocks := func(sum func([]byte) uint32) func(*testing.B) {
		return func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				for i := 0; i < len(data); i += layout.BlockLen {
					sum(data[i : i+layout.BlockLen])
				}
			}
		}
	}
	b.Run("zimg", blocks(layout.Checksum))
	b.Run("hash-crc32", blocks(func(p []byte) uint32 { return crc32.Checksum(p, castagnoli) }))
}

// record is a zone descriptor as encoding/binary reads and writes it.
type record struct {
	Type, State, Attrs, Info uint8
	_                        [4]byte
	Cap, Start, WP           uint64
	_                        [32]byte
}

// A block of zone descriptors, against encoding/binary.
func BenchmarkDecode64Zones(b *testing.B) {
	block := make([]byte, 64*layout.DescriptorSize)
	b.Run("zimg", func(b *testing.B) {
		var sum layout.LBA
		for b.Loop() {
			for i := 0; i < len(block); i += layout.DescriptorSize {
				d, err := layout.DecodeZoneDescriptor(block[i : i+layout.DescriptorSize])
				if err != nil {
					b.Fatal(err)
				}
				sum += d.WP
			}
		}
	})
	b.Run("encoding-binary", func(b *testing.B) {
		var zones [64]record
		for b.Loop() {
			if _, err := binary.Decode(block, binary.LittleEndian, &zones); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkEncode64Zones(b *testing.B) {
	block := make([]byte, 64*layout.DescriptorSize)
	b.Run("zimg", func(b *testing.B) {
		d := layout.ZoneDescriptor{Type: layout.SeqWriteRequired, State: layout.Closed, Cap: 256}
		for b.Loop() {
			for i := 0; i < len(block); i += layout.DescriptorSize {
				d.Encode(block[i : i+layout.DescriptorSize])
			}
		}
	})
	b.Run("encoding-binary", func(b *testing.B) {
		var zones [64]record
		for b.Loop() {
			if _, err := binary.Encode(block, binary.LittleEndian, &zones); err != nil {
				b.Fatal(err)
			}
		}
	})
}
