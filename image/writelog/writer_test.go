package writelog_test

import (
	"bytes"
	"io"
	"testing"

	"zimg/image/writelog"
)

// memory is a file in memory.
type memory []byte

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	if need := int(off) + len(p); need > len(*m) {
		*m = append(*m, make([]byte, need-len(*m))...)
	}
	return copy((*m)[off:], p), nil
}

// What a Writer writes is the log that QEMU would have written.
func TestWriter(t *testing.T) {
	t.Parallel()
	var m memory
	w, err := writelog.NewWriter(&m)
	if err != nil {
		t.Fatal(err)
	}
	pad := func(s string, n int) []byte { return append([]byte(s), make([]byte, n-len(s))...) }
	want := "100 bytes at 4096 are not whole sectors of 512 bytes"
	if _, err := w.Write(4096, make([]byte, 100)); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	var last int64
	for _, add := range []func() (int64, error){
		func() (int64, error) { return w.Write(4096, pad("first", 1024)) },
		w.Flush,
		func() (int64, error) { return w.Discard(8192, 2048) },
		func() (int64, error) { return w.Mark(make([]byte, 5)) },
		func() (int64, error) { return w.Write(12288, pad("last", 512)) },
	} {
		if last, err = add(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.SetFlags(last, writelog.FUA); err != nil {
		t.Fatal(err)
	}
	if err := w.Sync(); err != nil {
		t.Fatal(err)
	}
	if want := log(); !bytes.Equal(m, want) {
		for i := range min(len(m), len(want)) {
			if m[i] != want[i] {
				t.Fatalf("byte %d is %#x, want %#x", i, m[i], want[i])
			}
		}
		t.Fatalf("%d bytes, want %d", len(m), len(want))
	}
	for _, bad := range []func() (int64, error){
		func() (int64, error) { return w.Write(100, make([]byte, 512)) },
		func() (int64, error) { return w.Write(0, make([]byte, 100)) },
		func() (int64, error) { return w.Discard(0, 1) },
	} {
		if _, err := bad(); err == nil {
			t.Error("part of a sector was written")
		}
	}
	if l, err := writelog.Read(bytes.NewReader(m), int64(len(m))); err != nil || len(l.Entries) != 5 || l.Missing != 0 {
		t.Errorf("%+v, %v", l, err)
	}
}

// full is a file with room for so many bytes.
type full struct {
	memory
	room int
}

func (f *full) WriteAt(p []byte, off int64) (int, error) {
	if int(off)+len(p) > f.room {
		return 0, io.ErrShortWrite
	}
	return f.memory.WriteAt(p, off)
}

// An entry that there was no room for is not in the log.
func TestWriterFull(t *testing.T) {
	t.Parallel()
	for room := 1024; room < 3*1024; room += 256 {
		f := &full{room: room}
		w, err := writelog.NewWriter(f)
		if err != nil {
			t.Fatal(err)
		}
		entries := 0
		for range 4 {
			if _, err = w.Write(0, bytes.Repeat([]byte{1}, 512)); err != nil {
				break
			}
			entries++
		}
		if err == nil {
			t.Fatalf("%d bytes: everything was written", room)
		}
		l, err := writelog.Read(bytes.NewReader(f.memory), int64(len(f.memory)))
		if err != nil || len(l.Entries) != entries {
			t.Errorf("%d bytes: %d entries, want %d; %v", room, len(l.Entries), entries, err)
		}
	}
}
