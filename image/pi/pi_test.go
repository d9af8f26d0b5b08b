package pi

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"zimg/layout"
)

// The check values of the catalogue of CRC algorithms for "123456789", and the
// test cases of the NVM Command Set specification (section 5.2.1.3.4) for CRC-64.
func TestChecksums(t *testing.T) {
	t.Parallel()
	digits := []byte("123456789")
	if c := crc16(0, digits); c != 0xD0DB {
		t.Errorf("CRC-16/T10-DIF is %#x", c)
	}
	if c := crc64(0, digits); c != 0xAE8B14860A799888 {
		t.Errorf("CRC-64/NVME is %#x", c)
	}
	up, down := make([]byte, 4096), make([]byte, 4096)
	for i := range up {
		up[i], down[i] = byte(i), ^byte(i)
	}
	for _, c := range []struct {
		name string
		data []byte
		want uint64
	}{
		{"zeroes", make([]byte, 4096), 0x6482D367EB22B64E},
		{"ones", bytes.Repeat([]byte{0xFF}, 4096), 0xC0DDBA7302ECA3AC},
		{"counting up", up, 0x3E729F5F6750449C},
		{"counting down", down, 0x9A2DF64B8E9E517E},
	} {
		if got := crc64(0, c.data); got != c.want {
			t.Errorf("CRC-64 of %s is %#x, want %#x", c.name, got, c.want)
		}
	}
	// 512 zeroes: 0; one bit set in the last byte: the polynomial.
	block := make([]byte, 512)
	if c := crc16(0, block); c != 0 {
		t.Errorf("CRC-16 of zeroes is %#x", c)
	}
	block[511] = 1
	if c := crc16(0, block); c != crc16Poly {
		t.Errorf("CRC-16 of one bit is %#x", c)
	}
	// In parts and byte by byte it is the same.
	if c := crc64(crc64(0, up[:13]), up[13:]); c != crc64(0, up) {
		t.Errorf("CRC-64 in parts is %#x", c)
	}
	if c := crc16(crc16(0, up[:13]), up[13:]); c != crc16(0, up) {
		t.Errorf("CRC-16 in parts is %#x", c)
	}
}

// Buffers that are not whole blocks are refused.
func TestBufferSizes(t *testing.T) {
	t.Parallel()
	f := Format{Type: 1, Block: 512, Meta: 8}
	want := "1000 bytes of data and 8 of metadata are not whole blocks of 512 and 8 bytes"
	if err := f.Generate(make([]byte, 1000), make([]byte, 8), Tags{}); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// The bytes of the protection information of one block at LBA 0x1_2345_6789.
func TestGenerate(t *testing.T) {
	t.Parallel()
	digits := make([]byte, 512)
	copy(digits[503:], "123456789") // leading zeroes do not change a CRC-16
	for _, c := range []struct {
		format Format
		tags   Tags
		want   []byte
	}{
		{Format{Type: 1, Block: 512, Meta: 8}, Tags{Ref: 0x23456789}, []byte{0xD0, 0xDB, 0, 0, 0x23, 0x45, 0x67, 0x89}},
		{Format{Type: 2, Block: 512, Meta: 8}, Tags{Ref: 5, App: 0xBEEF}, []byte{0xD0, 0xDB, 0xBE, 0xEF, 0, 0, 0, 5}},
		{Format{Type: 3, Block: 512, Meta: 10}, Tags{}, []byte{0xD0, 0xDB, 0, 0, 0, 0, 0, 0, 'm', 'm'}},
		{Format{Type: 1, Block: 512, Meta: 10, Off: 2}, Tags{Ref: 1}, append([]byte("mm"), guard16(digits, "mm"), guard16(digits, "mm", 1), 0, 0, 0, 0, 0, 1)},
		{Format{Type: 1, Wide: true, Block: 512, Meta: 16}, Tags{Ref: 0x123456789, App: 7}, append(be.AppendUint64(nil, crc64(0, digits)), 0, 7, 0, 1, 0x23, 0x45, 0x67, 0x89)},
	} {
		meta := bytes.Repeat([]byte("m"), c.format.Meta)
		if err := c.format.Generate(digits, meta, c.tags); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(meta, c.want) {
			t.Errorf("%+v: % x, want % x", c.format, meta, c.want)
		}
	}
	if err := (Format{Type: 1, Block: 512, Meta: 8}).Generate(digits, make([]byte, 16), Tags{}); err == nil {
		t.Error("one block with the metadata of two is accepted")
	}
}

// guard16 is one byte of the guard of a block and the metadata before it.
func guard16(block []byte, meta string, i ...int) byte {
	c := crc16(0, append(bytes.Clone(block), meta...))
	if len(i) > 0 {
		return byte(c)
	}
	return byte(c >> 8)
}

// formats are all that a namespace can have.
func formats() []*layout.Namespace {
	var all []*layout.Namespace
	for typ := uint8(1); typ <= 3; typ++ {
		for _, wide := range []bool{false, true} {
			for _, first := range []bool{false, true} {
				for _, extra := range []uint16{0, 24} {
					n := &layout.Namespace{BlockBits: 9, PI: typ, PIFirst: first, MS: 8 + extra}
					if wide {
						n.MS, n.PIFormat = 16+extra, 2
					}
					all = append(all, n)
				}
			}
		}
	}
	return all
}

// What is generated verifies; every flipped bit of it, and another place, is noticed.
func TestVerify(t *testing.T) {
	t.Parallel()
	const all = CheckGuard | CheckApp | CheckRef
	for _, n := range formats() {
		t.Run(fmt.Sprintf("type %d, pif %d, first %v, %d bytes", n.PI, n.PIFormat, n.PIFirst, n.MS), func(t *testing.T) {
			t.Parallel()
			f := Of(n)
			rnd := rand.New(rand.NewPCG(1, uint64(n.MS)))
			data, meta := make([]byte, 3*512), make([]byte, 3*int(n.MS))
			for i := range data {
				data[i] = byte(rnd.Uint32())
			}
			for i := range meta {
				meta[i] = byte(rnd.Uint32())
			}
			const lba = layout.LBA(1<<32 - 2) // the reference tag of 32 bits wraps
			tags := f.TagsAt(lba)
			tags.App, tags.Mask = 0x1234, 0xFF00
			if err := f.Generate(data, meta, tags); err != nil {
				t.Fatal(err)
			}
			if err := f.Verify(data, meta, tags, all); err != nil {
				t.Fatal(err)
			}
			wrong := func(what string, field Check, block int, data, meta []byte, tags Tags) {
				t.Helper()
				var e *Error
				if err := f.Verify(data, meta, tags, all); !errors.As(err, &e) || e.Field != field || e.Block != block {
					t.Errorf("%s: %v, want field %d of block %d", what, err, field, block)
				}
			}
			bad := bytes.Clone(data)
			bad[600] ^= 1
			wrong("a flipped bit of data", CheckGuard, 1, bad, meta, tags)
			badMeta := bytes.Clone(meta)
			badMeta[2*f.Meta+f.Off+1] ^= 1
			wrong("a flipped bit of a guard", CheckGuard, 2, data, badMeta, tags)
			other := tags
			other.App = 0x2234
			wrong("another application tag", CheckApp, 0, data, meta, other)
			other.App = 0x1255
			if err := f.Verify(data, meta, other, all); err != nil {
				t.Errorf("bits of the application tag that are masked: %v", err)
			}
			if f.Type != 3 {
				other = tags
				other.Ref++
				wrong("the next block", CheckRef, 0, data, meta, other)
			}
			if err := f.Verify(bad, meta, tags, CheckRef|CheckApp); err != nil {
				t.Errorf("guards are not asked for: %v", err)
			}
			unwritten := make([]byte, len(meta))
			f.MarkUnwritten(unwritten)
			if err := f.Verify(data, unwritten, tags, all); err != nil {
				t.Errorf("blocks nobody has written: %v", err)
			}
			if f.Type == 3 {
				unwritten[f.Off+f.Size()-1] = 0
				wrong("an application tag alone exempts nothing of type 3", CheckGuard, 0, data, unwritten, tags)
			}
		})
	}
}

func TestValidRef(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		format Format
		check  Check
		ref    uint64
		want   bool
	}{
		{Format{Type: 1}, CheckRef, 0x00000005, true},
		{Format{Type: 1}, CheckRef, 6, false},
		{Format{Type: 1, Wide: true}, CheckRef, 5, false},
		{Format{Type: 1, Wide: true}, CheckRef, 0x100000005, true},
		{Format{Type: 1}, CheckGuard, 6, true},
		{Format{Type: 2}, CheckRef, 6, true},
		{Format{Type: 3}, CheckRef, 5, false},
		{Format{Type: 3}, CheckGuard | CheckApp, 5, true},
	} {
		if got := c.format.ValidRef(c.check, 0x100000005, c.ref); got != c.want {
			t.Errorf("%+v, check %d, reference tag %#x: %v", c.format, c.check, c.ref, got)
		}
	}
}

func BenchmarkGenerate(b *testing.B) {
	data := make([]byte, 1<<20)
	for _, f := range []Format{{Type: 1, Block: 4096, Meta: 8}, {Type: 1, Wide: true, Block: 4096, Meta: 16}} {
		b.Run(fmt.Sprintf("wide=%v", f.Wide), func(b *testing.B) {
			meta := make([]byte, len(data)/4096*f.Meta)
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if err := f.Generate(data, meta, Tags{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
