package writelog_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"

	"zimg/image/writelog"
)

// log is a log of sectors of 512 bytes, as QEMU writes it: a write of two sectors at 8, a flush, a
// discard of four sectors at 16, a mark, and a write with FUA.
func log() []byte {
	b := make([]byte, 512)
	put := func(off int, v uint64) { binary.LittleEndian.PutUint64(b[off:], v) }
	copy(b, "\x72\x68\x73\x77\x66\x73\x6a\x00")
	put(8, 1)
	put(16, 5)
	b[24], b[25] = 0, 2
	entry := func(sector, sectors, flags, length uint64, data string) {
		at := len(b)
		b = append(b, make([]byte, 512)...)
		put(at, sector)
		put(at+8, sectors)
		put(at+16, flags)
		put(at+24, length)
		if n := (int(sectors)*512 + 511) / 512 * 512; flags&4 == 0 && flags&8 == 0 {
			b = append(b, make([]byte, n)...)
			copy(b[at+512:], data)
		}
		if flags&8 != 0 {
			b = append(b, make([]byte, 512)...)
		}
	}
	entry(8, 2, 0, 0, "first")
	entry(0, 0, 1, 0, "")
	entry(16, 4, 4, 0, "")
	entry(0, 0, 8, 5, "")
	entry(24, 1, 2, 0, "last")
	return b
}

func TestRead(t *testing.T) {
	b := log()
	l, err := writelog.Read(bytes.NewReader(b), int64(len(b)))
	if err != nil || l.Missing != 0 {
		t.Fatal(err, l)
	}
	got := l.Entries
	want := []writelog.Entry{
		{Off: 4096, Length: 1024, DataOff: 1024},
		{Flags: writelog.Flush, DataOff: 2560},
		{Flags: writelog.Discard, Off: 8192, Length: 2048, DataOff: 3072},
		{Flags: writelog.Mark, DataOff: 3584, MarkLen: 5},
		{Flags: writelog.FUA, Off: 12288, Length: 512, DataOff: 4608},
	}
	if len(got) != len(want) {
		t.Fatalf("%d entries: %+v", len(got), got)
	}
	for i := range want {
		if got[i] != want[i] || l.Pos(i) != want[i].DataOff-512 {
			t.Errorf("entry %d at %d: %+v, want %+v", i, l.Pos(i), got[i], want[i])
		}
	}
	if data := string(b[got[4].DataOff:][:4]); data != "last" || !got[4].HasData() || got[2].HasData() {
		t.Errorf("data %q", data)
	}
}

// A log that ends anywhere, or has zeroes from anywhere on as where QEMU had not written yet, ends
// before the entry that is not whole; what is no log is said not to be one.
func TestReadCutAndDamaged(t *testing.T) {
	b := log()
	last := 0
	for n := range len(b) {
		l, err := writelog.Read(bytes.NewReader(b[:n]), int64(n))
		if n == 0 {
			if err != nil || len(l.Entries) > 0 {
				t.Fatalf("nothing: %+v, %v", l, err)
			}
			continue
		}
		if n < 28 {
			if !errors.Is(err, writelog.ErrNotLog) {
				t.Fatalf("first %d bytes: %v", n, err)
			}
			continue
		}
		if err != nil || len(l.Entries) < last || int(l.Missing)+len(l.Entries) != 5 {
			t.Fatalf("first %d bytes: %+v, %v", n, l, err)
		}
		last = len(l.Entries)
	}
	if last != 4 {
		t.Errorf("all but a byte: %d entries", last)
	}
	hole := bytes.Clone(b)
	clear(hole[2560:3072]) // the discard, counted and not written
	if l, err := writelog.Read(bytes.NewReader(hole), int64(len(hole))); err != nil || len(l.Entries) != 2 || l.Missing != 3 {
		t.Errorf("an entry of zeroes: %+v, %v", l, err)
	}
	early := bytes.Clone(b)
	clear(early[:512]) // before its first flush
	if l, err := writelog.Read(bytes.NewReader(early), int64(len(early))); err != nil || len(l.Entries) != 5 || l.Missing != 0 {
		t.Errorf("no super block yet: %+v, %v", l, err)
	}
	newer := bytes.Clone(b)
	newer[8] = 2
	if _, err := writelog.Read(bytes.NewReader(newer), int64(len(newer))); !errors.Is(err, writelog.ErrNotLog) || !strings.HasPrefix(err.Error(), "unsupported version 2, want 1: ") {
		t.Errorf("another version: %v", err)
	}
	for _, at := range []int{0, 8, 24, 512 + 7, 512 + 15, 512 + 20, 512 + 25} {
		c := bytes.Clone(b)
		c[at] ^= 0xFF
		if _, err := writelog.Read(bytes.NewReader(c), int64(len(c))); !errors.Is(err, writelog.ErrNotLog) {
			t.Errorf("byte %d: %v", at, err)
		}
	}
}

// Whatever a log says, what is read of it is in it, and offsets are numbers.
func FuzzRead(f *testing.F) {
	f.Add(log())
	huge := log()
	copy(huge[512:], "\xff\xff\xff\xff\xff\xff\x0f") // first sector
	f.Add(huge)
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := writelog.Read(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		end := int64(0)
		for i, e := range l.Entries {
			if e.Off < 0 || e.Length < 0 || e.Off > math.MaxInt64-e.Length || l.Pos(i) < end || e.DataOff <= l.Pos(i) {
				t.Fatalf("entry %d at %d: %+v", i, l.Pos(i), e)
			}
			if end = e.DataOff; e.HasData() {
				end += e.Length
			}
			if end > int64(len(b)) {
				t.Fatalf("entry %d ends at byte %d of %d", i, end, len(b))
			}
		}
	})
}
