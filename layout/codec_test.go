package layout_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"zimg/layout"
)

var le = binary.LittleEndian

// crc is CRC-32C by the standard library: not the code under test.
func crc(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// unhex reads bytes written as hex with spaces.
func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		panic(err)
	}
	return b
}

// at puts hex at offset off of b.
func at(b []byte, off int, s string) { copy(b[off:], unhex(s)) }

// A zone descriptor as ZNS 1.1 lays it out, byte by byte.
func TestZoneDescriptorBytes(t *testing.T) {
	b := unhex(`
		02 40 81 05 00000000  0006000000000000
		0018000000000000      8019000000000000
		0000000000000000 0000000000000000 0000000000000000 0000000000000000`)
	want := layout.ZoneDescriptor{Type: layout.SeqWriteRequired, State: layout.Closed, Attrs: layout.ZDEV | layout.ZFC, AttrsInfo: 5, Cap: 0x600, Start: 0x1800, WP: 0x1980}
	if got, err := layout.DecodeZoneDescriptor(b); err != nil || got != want {
		t.Errorf("decoded %+v, %v, want %+v", got, err, want)
	}
	enc := bytes.Repeat([]byte{0xff}, 64)
	want.Encode(enc)
	if !bytes.Equal(enc, b) {
		t.Errorf("encoded %x, want %x", enc, b)
	}
	if off := layout.DescriptorReserved(b); off != -1 {
		t.Errorf("reserved bytes at %d", off)
	}
	for off, mask := range map[int]byte{0: 0x10, 1: 0x01, 3: 0x10, 4: 1, 7: 0x80, 32: 1, 63: 0x80} {
		c := bytes.Clone(b)
		c[off] |= mask
		if got := layout.DescriptorReserved(c); got != off {
			t.Errorf("a reserved bit at %d is found at %d", off, got)
		}
	}
}

// locatorBytes is a locator put together from docs/FORMAT.md, section 3.
func locatorBytes() []byte {
	b := make([]byte, 4096)
	at(b, 0, "89 5A 49 4D 4C 0D 0A 1A  01000000  01000000")
	at(b, 16, "00112233445566778899aabbccddeeff")
	at(b, 32, "0000300000000000  0060000000000000") // 3 MiB, 24 KiB
	le.PutUint32(b[4092:], crc(b[:4092]))
	return b
}

const locatorOff = 3<<20 + 2*24<<10

func TestLocatorBytes(t *testing.T) {
	b := locatorBytes()
	want := &layout.Locator{Kind: layout.Trailing, UUID: [16]byte(unhex("00112233445566778899aabbccddeeff")), MetaOff: 3 << 20, SlotLen: 24 << 10}
	got, err := layout.DecodeLocator(b, locatorOff)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("decoded %+v, %v; want %+v", got, err, want)
	}
	if !bytes.Equal(want.Encode(), b) {
		t.Error("encoded otherwise")
	}
	if _, err := layout.DecodeLocator(b, locatorOff+4096); !errors.Is(err, layout.ErrDamaged) {
		t.Errorf("a locator that is not at the file's end: %v", err)
	}
}

// headerBytes is the header of slot 1 of an image with one zoned namespace, put
// together from docs/FORMAT.md, section 4.1.
func headerBytes() []byte {
	b := make([]byte, 4096)
	at(b, 0, "89 5A 49 4D 47 0D 0A 1A  01000000 00000000 00000000 00000000")
	at(b, 24, "00112233445566778899aabbccddeeff  0700000000000000")
	at(b, 48, "01000000 01000000 01000000 01000000") // trailing, clean, slot 1, one namespace
	at(b, 64, "0000100000000000  0050000000000000")  // 1 MiB, 20 KiB
	at(b, 80, "00100000 01000000")
	at(b, 88, "0010000000000000 0300000000000000 78563412 00000000")
	at(b, 112, "0020000000000000 0000100000000000")
	at(b, 128, "0000 84e2 506c 9717  0100 84e2 506c 9717")
	copy(b[192:], "zimg 1.0")
	copy(b[224:], "label")
	at(b, 512, "0f00000000000000 00 00000000000000 0000000000000000 0100000000000000")
	le.PutUint32(b[508:], crc(b))
	return b
}

func TestHeaderBytes(t *testing.T) {
	b := headerBytes()
	created := time.Unix(0, int64(le.Uint64(b[128:]))).UTC()
	want := &layout.Header{
		UUID: [16]byte(unhex("00112233445566778899aabbccddeeff")), Generation: 7, Kind: layout.Trailing, Flags: layout.Clean, Slot: 1,
		MetaOff: 1 << 20, SlotLen: 20 << 10, DataFiles: 1, DataLen: 1 << 20, ChecksumOff: 4096, ChecksumCount: 3, ChecksumCRC: 0x12345678,
		TableOff: 8192, Created: created, Committed: created.Add(1), Tool: "zimg 1.0", Label: "label", Counts: []layout.Counts{{15, 0, 0, 1}},
	}
	got, err := layout.DecodeHeader(b, 0)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("decoded %+v, %v; want %+v", got, err, want)
	}
	if !bytes.Equal(want.Encode(), b) {
		t.Error("encoded otherwise")
	}
}

// One field of a sound header is damaged at a time, under a correct CRC.
func TestHeaderFields(t *testing.T) {
	for _, c := range []struct {
		field string
		off   int
		bytes string
		want  error
	}{
		{"magic", 0, "00", layout.ErrNotImage},
		{"magic", 6, "0d", layout.ErrNotImage},
		{"version", 8, "02", layout.ErrNewer},
		{"version", 8, "00", layout.ErrDamaged},
		{"incompatible features", 20, "01", layout.ErrNewer},
		{"generation", 40, "00", layout.ErrDamaged},
		{"generation", 47, "81", layout.ErrDamaged},
		{"layout", 48, "03", layout.ErrDamaged},
		{"layout", 48, "00", layout.ErrDamaged},
		{"state flags", 52, "03", layout.ErrDamaged},
		{"state flags", 52, "04", layout.ErrDamaged},
		{"slot number", 56, "02", layout.ErrDamaged},
		{"namespace count", 60, "00", layout.ErrDamaged},
		{"namespace count", 60, "0002", layout.ErrDamaged},
		{"metadata offset", 64, "01", layout.ErrDamaged},
		{"metadata offset", 71, "80", layout.ErrDamaged},
		{"metadata offset", 65, "11", layout.ErrDamaged}, // not a multiple of 1 MiB
		{"slot length", 72, "01", layout.ErrDamaged},
		{"slot length", 79, "7f", layout.ErrDamaged},
		{"header length", 80, "00200000", layout.ErrDamaged},
		{"header length", 80, "01", layout.ErrDamaged},
		{"data files", 84, "02", layout.ErrDamaged},
		{"checksum array offset", 88, "00200000", layout.ErrDamaged},
		{"checksum count", 96, "04", layout.ErrDamaged},
		{"checksum count", 103, "ff", layout.ErrDamaged},
		{"reserved byte", 108, "01", layout.ErrDamaged},
		{"namespace table offset", 112, "00300000", layout.ErrDamaged},
		{"data length", 127, "80", layout.ErrDamaged},
		{"data length", 122, "20", layout.ErrDamaged},
		{"session kind", 188, "02", layout.ErrDamaged},
		{"tool", 192, "ff", layout.ErrDamaged},
		{"label", 230, "41", layout.ErrDamaged},
		{"reserved byte", 352, "01", layout.ErrDamaged},
		{"reserved byte", 576, "01", layout.ErrDamaged},
		{"reserved byte", 4095, "01", layout.ErrDamaged},
	} {
		b := headerBytes()
		at(b, c.off, c.bytes)
		le.PutUint32(b[508:], 0)
		le.PutUint32(b[508:], crc(b))
		_, err := layout.DecodeHeader(b, 0)
		var field *layout.FieldError
		if !errors.Is(err, c.want) || !errors.As(err, &field) || field.Field != c.field {
			t.Errorf("%s at %d: %v", c.field, c.off, err)
		}
	}
	// Features that do not forbid reading.
	b := headerBytes()
	at(b, 12, "ff000000 02000000")
	le.PutUint32(b[508:], 0)
	le.PutUint32(b[508:], crc(b))
	if h, err := layout.DecodeHeader(b, 0); err != nil || h.ReadOnlyFeatures() != 2 || !bytes.Equal(h.Encode(), b) {
		t.Errorf("features: %+v, %v", h, err)
	}
}

func TestLocatorFields(t *testing.T) {
	for _, c := range []struct {
		field string
		off   int
		bytes string
		want  error
	}{
		{"magic", 4, "47", layout.ErrNotImage},
		{"version", 8, "02", layout.ErrNewer},
		{"version", 8, "00", layout.ErrDamaged},
		{"layout", 12, "03", layout.ErrDamaged},
		{"metadata offset", 32, "01", layout.ErrDamaged},
		{"metadata offset", 33, "10", layout.ErrDamaged}, // not a multiple of 1 MiB
		{"metadata offset", 12, "02", layout.ErrDamaged}, // a sidecar's is 0
		{"slot length", 40, "01", layout.ErrDamaged},
		{"slot length", 47, "7f", layout.ErrDamaged},
		{"end of the file", 41, "50", layout.ErrDamaged},
		{"reserved byte", 48, "01", layout.ErrDamaged},
		{"reserved byte", 4091, "01", layout.ErrDamaged},
	} {
		b := locatorBytes()
		at(b, c.off, c.bytes)
		le.PutUint32(b[4092:], crc(b[:4092]))
		_, err := layout.DecodeLocator(b, locatorOff)
		var field *layout.FieldError
		if !errors.Is(err, c.want) || !errors.As(err, &field) || field.Field != c.field {
			t.Errorf("%s at %d: %v", c.field, c.off, err)
		}
	}
}

// Every flipped bit is noticed, and every prefix refused.
func TestFlipsAndPrefixes(t *testing.T) {
	for name, c := range map[string]struct {
		b      []byte
		decode func(b []byte) error
	}{
		"header":  {headerBytes(), func(b []byte) error { _, err := layout.DecodeHeader(b, 0); return err }},
		"locator": {locatorBytes(), func(b []byte) error { _, err := layout.DecodeLocator(b, locatorOff); return err }},
	} {
		if err := c.decode(c.b); err != nil {
			t.Fatal(err)
		}
		for bit := range len(c.b) * 8 {
			c.b[bit/8] ^= 1 << (bit % 8)
			if c.decode(c.b) == nil {
				t.Errorf("%s: bit %d flipped, and nobody noticed", name, bit)
			}
			c.b[bit/8] ^= 1 << (bit % 8)
		}
		for n := range len(c.b) {
			if c.decode(c.b[:n]) == nil {
				t.Errorf("%s: a prefix of %d bytes is taken", name, n)
			}
		}
	}
}

// namespaces draws up to four valid namespaces.
func namespaces(t *rapid.T, kind layout.Kind) []*layout.Entry {
	var list []*layout.Entry
	files := kind == layout.Sidecar && rapid.Bool().Draw(t, "a file each")
	for i := range rapid.IntRange(1, 4).Draw(t, "namespaces") {
		n := layout.Namespace{ID: layout.NSID(i + 1), BlockBits: rapid.Uint8Range(9, 16).Draw(t, "bits"), MS: rapid.Uint16Range(0, 64).Draw(t, "ms")}
		if rapid.Bool().Draw(t, "zoned") {
			n.CSI = layout.ZNS
			n.ZoneCount = rapid.Uint64Range(1, 5000).Draw(t, "zones")
			n.ZoneSize = layout.LBA(rapid.Uint64Range(1, 1<<20).Draw(t, "zone size"))
			n.ZoneCap = layout.LBA(rapid.Uint64Range(1, uint64(n.ZoneSize)).Draw(t, "capacity"))
			n.Blocks = n.ZoneSize * layout.LBA(n.ZoneCount)
			n.MAR, n.MOR = layout.NoLimit, rapid.SampledFrom([]uint32{0, 3, layout.NoLimit}).Draw(t, "mor")
			n.ZDES = rapid.Uint8().Draw(t, "zdes")
		} else {
			n.Blocks = layout.LBA(rapid.Uint64Range(1, 1<<30).Draw(t, "blocks"))
		}
		e := &layout.Entry{Namespace: n}
		if files {
			e.DataFile, e.Name = uint32(i), string(rune('a'+i))
		}
		list = append(list, e)
	}
	return list
}

// Any geometry is planned without overlap, and its table decodes to the same plan.
func TestPlans(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom([]layout.Kind{layout.Trailing, layout.Sidecar}).Draw(t, "layout")
		p, err := layout.Place(kind, namespaces(t, kind))
		if err != nil {
			t.Fatal(err)
		}
		ends := make([]layout.Bytes, len(p.DataLen))
		for _, e := range p.Entries {
			if e.DataOff%layout.DataAlign != 0 || e.DataOff < ends[e.DataFile] {
				t.Fatalf("namespace %d at %d, the one before ends at %d", e.ID, e.DataOff, ends[e.DataFile])
			}
			ends[e.DataFile] = e.DataOff + e.DataLen
		}
		if kind == layout.Trailing && p.MetaOff < ends[0] {
			t.Fatal("the metadata is in the data")
		}
		table := p.TableOff + layout.TableLen(len(p.Entries))
		for _, e := range p.Entries {
			for _, r := range []struct{ off, len layout.Bytes }{
				{e.Tables.Desc, layout.Bytes(e.ZoneCount) * layout.DescriptorSize},
				{e.Tables.WP, layout.Bytes(e.ZoneCount) * layout.WPLen},
				{e.Tables.Ext, layout.Bytes(e.ZoneCount) * layout.Bytes(e.ExtSize())},
			} {
				if r.len == 0 {
					continue
				}
				if r.off != table {
					t.Fatalf("a table at %d, the one before ends at %d", r.off, table)
				}
				table = layout.RoundUp(r.off+r.len, layout.BlockLen)
			}
		}
		if table != p.SlotLen || p.TableOff != p.ChecksumOff+layout.ChecksumArrayLen(p.ChecksumCount) || p.ChecksumCount != uint64((p.SlotLen-p.TableOff)/layout.BlockLen) {
			t.Fatalf("slot of %d, its tables end at %d: %+v", p.SlotLen, table, p)
		}
		h := &layout.Header{Generation: 1, Flags: layout.Clean, Counts: make([]layout.Counts, len(p.Entries))}
		for i, e := range p.Entries {
			h.Counts[i][0] = e.ZoneCount
		}
		p.Header(h)
		again, err := layout.DecodeHeader(h.Encode(), 0)
		if err != nil {
			t.Fatal(err)
		}
		q, err := layout.DecodeTable(again, layout.EncodeTable(p.Entries), 0)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(p, q) {
			t.Fatalf("planned %+v, decoded %+v", p, q)
		}
	})
}
