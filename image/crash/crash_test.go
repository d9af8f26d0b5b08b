package crash_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"zimg/image"
	"zimg/image/crash"
	"zimg/layout"
)

const block, zone = 4096, 16 * 4096

// logger writes a log as QEMU does, sectors of 512 bytes.
type logger struct{ bytes.Buffer }

func newLogger() *logger {
	l := &logger{}
	super := make([]byte, 512)
	copy(super, "\x72\x68\x73\x77\x66\x73\x6a\x00\x01")
	super[25] = 2
	l.Write(super)
	return l
}

func (l *logger) entry(off, length int64, flags uint64, data []byte) {
	e := make([]byte, 512)
	binary.LittleEndian.PutUint64(e, uint64(off/512))
	binary.LittleEndian.PutUint64(e[8:], uint64(length/512))
	binary.LittleEndian.PutUint64(e[16:], flags)
	l.Write(e)
	l.Write(data)
}

func (l *logger) write(off int64, c byte, blocks int) {
	l.entry(off, int64(blocks)*block, 0, bytes.Repeat([]byte{c}, blocks*block))
}

func (l *logger) flush() { l.entry(0, 0, 1, nil) }

func (l *logger) reset(i int64) { l.entry(i*zone, zone, 0, make([]byte, zone)) }

// recording is a run on an image of four zones of 16 blocks, zone 3 with two blocks before:
//
//	write:1 zone 0, 4 blocks    write:2 zone 1, 16 blocks    flush:1
//	write:3 zone 0, 4 blocks    write:4 reset of zone 1      write:5 zone 1, 2 blocks
//	write:6 zone 3, 1 block     flush:2
func recording(t *testing.T) *crash.Recording {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "rec")
	path := filepath.Join(t.TempDir(), "d.zimg")
	n := layout.Namespace{CSI: layout.ZNS, BlockBits: 12, ZoneSize: 16, ZoneCap: 16, ZoneCount: 4, Blocks: 64, MAR: layout.NoLimit, MOR: layout.NoLimit}
	z := &layout.ZoneSlice{Table: []layout.Zone{n.EmptyZone(0), n.EmptyZone(1), n.EmptyZone(2), n.EmptyZone(3)}}
	z.Table[3].State, z.Table[3].WP, z.Table[3].Written = layout.Closed, 50, 50
	if err := image.Create(path, image.CreateOptions{Namespaces: []image.NamespaceSpec{{Namespace: n}}, Zones: []layout.Zones{z}}); err != nil {
		t.Fatal(err)
	}
	logs, err := crash.Prepare(dir, path, []layout.NSID{1})
	if err != nil {
		t.Fatal(err)
	}
	l := newLogger()
	l.write(0, 'a', 4)
	l.write(zone, 'b', 16)
	l.flush()
	l.write(4*block, 'c', 4)
	l.reset(1)
	l.write(zone, 'd', 2)
	l.write(3*zone+2*block, 'e', 1)
	l.flush()
	if err := os.WriteFile(logs[1], l.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	id, err := crash.Only(dir)
	if err != nil || id != 1 {
		t.Fatal(id, err)
	}
	r, err := crash.Open(dir, id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	if r.Writes() != 6 || r.Flushes() != 2 {
		t.Fatalf("%d writes, %d flushes", r.Writes(), r.Flushes())
	}
	if _, err := crash.Prepare(dir, path, []layout.NSID{1}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a recording was overwritten: %v", err)
	}
	return r
}

// state is an image in one line: for each zone its state, how far it is written, and the first
// byte of each block up to there.
func state(t *testing.T, path string) string {
	t.Helper()
	im, err := image.Open(path, image.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = im.Close() }()
	n := im.Namespaces()[0]
	var out []string
	for z, err := range n.All(0, 4) {
		if err != nil {
			t.Fatal(err)
		}
		text := z.State.String()[:1]
		b := make([]byte, 1)
		for lba := z.Start; lba < z.Written; lba++ {
			if _, err := n.ReadAt(b, int64(n.ByteOff(lba))); err != nil {
				t.Fatal(err)
			}
			if b[0] == 0 {
				b[0] = '.'
			}
			text += string(b)
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}

func TestMake(t *testing.T) {
	r := recording(t)
	for _, c := range []struct {
		flush bool
		n     int
		fate  crash.Unflushed
		want  string
	}{
		{false, 0, crash.Keep, "E E E C.."},
		{false, 1, crash.Keep, "Caaaa E E C.."},
		{false, 1, crash.Drop, "E E E C.."},
		{true, 1, crash.Drop, "Caaaa Fbbbbbbbbbbbbbbbb E C.."},
		{false, 3, crash.Drop, "Caaaa Fbbbbbbbbbbbbbbbb E C.."},
		{false, 3, crash.Keep, "Caaaacccc Fbbbbbbbbbbbbbbbb E C.."},
		{false, 4, crash.Drop, "Caaaa E E C.."}, // a reset is not held back
		{false, 6, crash.Keep, "Caaaacccc Cdd E C..e"},
		{true, 2, crash.Drop, "Caaaacccc Cdd E C..e"},
	} {
		entries, err := r.After(c.flush, c.n)
		if err != nil {
			t.Fatal(err)
		}
		dst := filepath.Join(t.TempDir(), "c.zimg")
		if err := r.Make(dst, entries, c.fate, 1, false); err != nil {
			t.Fatal(err)
		}
		if got := state(t, dst); got != c.want {
			t.Errorf("flush %v %d %s: %s, want %s", c.flush, c.n, c.fate, got, c.want)
		}
	}
	if _, err := r.After(true, 3); !errors.Is(err, layout.ErrRange) {
		t.Errorf("flush 3: %v", err)
	}
	if err := r.Make(filepath.Join(t.TempDir(), "c"), 0, "lose", 1, false); err == nil {
		t.Error("fate lose was taken")
	}
}

// Torn keeps of each zone what was written up to some block, by the seed: every length occurs, none
// below what was flushed, and the same seed gives the same image.
func TestMakeTorn(t *testing.T) {
	r := recording(t)
	entries, err := r.After(false, 3)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for seed := range uint64(60) {
		var got [2]string
		for i := range got {
			dst := filepath.Join(t.TempDir(), "c.zimg")
			if err := r.Make(dst, entries, crash.Torn, seed, false); err != nil {
				t.Fatal(err)
			}
			got[i] = state(t, dst)
		}
		if got[0] != got[1] {
			t.Fatalf("seed %d: %s and %s", seed, got[0], got[1])
		}
		seen[got[0]]++
	}
	for n := range 5 {
		want := "Caaaa" + strings.Repeat("c", n) + " Fbbbbbbbbbbbbbbbb E C.."
		if seen[want] == 0 {
			t.Errorf("never %s", want)
		}
		delete(seen, want)
	}
	if len(seen) > 0 {
		t.Errorf("unexpected: %v", seen)
	}
}
