package crash_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"zimg/image/crash"
	"zimg/layout"
)

// first is a run with resets:
//
//	write:1 zone 0, 4 blocks    write:2 zone 1, 16 blocks    flush:1
//	write:3 zone 0, 4 blocks    write:4 reset of zone 1      write:5 zone 1, 2 blocks
//	write:6 zone 3, 1 block     flush:2
func first() *logger {
	l := newLogger()
	l.write(0, 'a', 4)
	l.write(zone, 'b', 16)
	l.flush()
	l.write(4*block, 'c', 4)
	l.reset(1)
	l.write(zone, 'd', 2)
	l.write(3*zone+2*block, 'e', 1)
	l.flush()
	return l
}

func TestMake(t *testing.T) {
	t.Parallel()
	for _, traced := range []bool{true, false} {
		r := open(t, record(t, first(), 0, traced))
		if w, f := len(r.Points(crash.AtWrite)), len(r.Points(crash.AtFlush)); w != 6 || f != 2 || r.Traced != traced {
			t.Fatalf("%d writes, %d flushes, traced %v", w, f, r.Traced)
		}
		for _, c := range []struct {
			kind crash.Kind
			n    int
			fate crash.Unflushed
			want string
		}{
			{crash.AtWrite, 0, crash.Keep, "E E E C.."},
			{crash.AtWrite, 1, crash.Keep, "Caaaa E E C.."},
			{crash.AtWrite, 1, crash.Drop, "E E E C.."},
			{crash.AtFlush, 1, crash.Drop, "Caaaa Fbbbbbbbbbbbbbbbb E C.."},
			{crash.AtWrite, 3, crash.Drop, "Caaaa Fbbbbbbbbbbbbbbbb E C.."},
			{crash.AtWrite, 3, crash.Keep, "Caaaacccc Fbbbbbbbbbbbbbbbb E C.."},
			{crash.AtWrite, 4, crash.Drop, "Caaaa E E C.."}, // a reset is not held back
			{crash.AtWrite, 5, crash.Drop, "Caaaa E E C.."},
			{crash.AtWrite, 6, crash.Keep, "Caaaacccc Cdd E C..e"},
			{crash.AtFlush, 2, crash.Drop, "Caaaacccc Cdd E C..e"},
		} {
			if got := at(t, r, c.kind, c.n, c.fate, 1); got != c.want {
				t.Errorf("%s:%d %s: %s, want %s", c.kind, c.n, c.fate, got, c.want)
			}
		}
		if _, err := r.Point(crash.AtFlush, 3); !errors.Is(err, layout.ErrRange) {
			t.Errorf("flush 3: %v", err)
		}
		if err := r.Make(t.Context(), filepath.Join(t.TempDir(), "c"), 0, "lose", 1, false); err == nil {
			t.Error("fate lose was taken")
		}
	}
}

// Torn keeps of each zone what was written up to some block, by the seed: every length occurs, of
// what was written since a reset too, none below what was flushed, in zones that do not know of each
// other, and the same seed gives the same image.
func TestMakeTorn(t *testing.T) {
	t.Parallel()
	r := open(t, record(t, first(), 0, true))
	for _, c := range []struct {
		point int
		want  func(yield func(string))
	}{
		{3, func(yield func(string)) {
			for n := range 5 {
				yield("Caaaa" + strings.Repeat("c", n) + " Fbbbbbbbbbbbbbbbb E C..")
			}
		}},
		{6, func(yield func(string)) {
			for n := range 5 {
				for _, reset := range []string{"E", "Cd", "Cdd"} {
					for _, old := range []string{"C..", "C..e"} {
						yield("Caaaa" + strings.Repeat("c", n) + " " + reset + " E " + old)
					}
				}
			}
		}},
	} {
		seen := map[string]int{}
		for seed := range uint64(150) {
			got := at(t, r, crash.AtWrite, c.point, crash.Torn, seed)
			if seed < 5 && at(t, r, crash.AtWrite, c.point, crash.Torn, seed) != got {
				t.Fatalf("seed %d: two images", seed)
			}
			seen[got]++
		}
		c.want(func(want string) {
			if seen[want] == 0 {
				t.Errorf("never %s", want)
			}
			delete(seen, want)
		})
		if len(seen) > 0 {
			t.Errorf("unexpected: %v", seen)
		}
	}
}

// What a seed gives does not change from version to version.
func TestSeed(t *testing.T) {
	r := open(t, record(t, first(), 0, true))
	for seed, want := range []string{"Caaaacc Cdd E C..e", "Caaaac E E C..", "Caaaaccc Cdd E C..e"} {
		if got := at(t, r, crash.AtWrite, 6, crash.Torn, uint64(seed)); got != want {
			t.Errorf("seed %d: %q", seed, got)
		}
	}
}

// A zone is finished when it was, between the write before and the flush or write after; without QEMU's trace
// it is not known.
func TestFinish(t *testing.T) {
	l := newLogger()
	l.write(0, 'a', 1)
	l.flush()
	l.finish(0)
	l.write(zone, 'b', 1) // write:2
	l.finish(2)
	l.flush()
	l.write(3*zone+2*block, 'c', 1)
	l.manage("pci_nvme_finish_zone finish zone, slba=0, idx=0, all=1")
	l.flush() // flush:3
	l.reset(0)
	dir := record(t, l, 0, true)
	r := open(t, dir)
	for _, c := range []struct {
		kind crash.Kind
		n    int
		fate crash.Unflushed
		want string
	}{
		{crash.AtWrite, 1, crash.Keep, "Ca E E C.."},
		{crash.AtFlush, 1, crash.Drop, "Ca E E C.."},
		{crash.AtWrite, 2, crash.Drop, "Fa E E C.."},
		{crash.AtFlush, 2, crash.Drop, "Fa Cb F C.."},
		{crash.AtWrite, 3, crash.Drop, "Fa Cb F C.."},
		{crash.AtFlush, 3, crash.Drop, "Fa Fb F F..c"},
		{crash.AtWrite, 4, crash.Drop, "E Fb F F..c"},
	} {
		if got := at(t, r, c.kind, c.n, c.fate, 1); got != c.want {
			t.Errorf("%s:%d %s: %s, want %s", c.kind, c.n, c.fate, got, c.want)
		}
	}
	var list []string
	for e := range r.Events() {
		list = append(list, fmt.Sprintf("%s%d", e.Op, e.Write+e.Flush))
	}
	if got, want := strings.Join(list, " "), "write1 flush1 finish0 write2 finish0 flush2 write3 finish-all0 flush3 reset4"; got != want {
		t.Errorf("events %s, want %s", got, want)
	}
	if err := os.Remove(filepath.Join(dir, crash.TraceName)); err != nil {
		t.Fatal(err)
	}
	if got, want := at(t, open(t, dir), crash.AtFlush, 3, crash.Drop, 1), "Ca Cb E C..c"; got != want {
		t.Errorf("without a trace: %s, want %s", got, want)
	}
}

// Zeroes written over all of a zone are not its reset.
func TestZeroesAreNoReset(t *testing.T) {
	l := newLogger()
	l.write(0, 0, 16)
	l.write(zone, 0, 16)
	l.reset(1)
	l.flush()
	want := "F................ E E C.."
	dir := record(t, l, 0, true)
	for range 2 { // with a trace and without
		if got := at(t, open(t, dir), crash.AtFlush, 1, crash.Drop, 1); got != want {
			t.Errorf("%s, want %s", got, want)
		}
		_ = os.Remove(filepath.Join(dir, crash.TraceName))
	}
}

// Of several writes to a zone that are under way at once a later one may be done first: then those before
// it are on the drive as well.
func TestOutOfOrder(t *testing.T) {
	l := newLogger()
	l.write(2*block, 'c', 1)
	l.flush()
	l.write(3*block, 'd', 1)
	l.write(block, 'b', 1)
	l.write(0, 'a', 1)
	l.reset(0)
	l.write(block, 'B', 1) // whose predecessor the log does not have any more
	r := open(t, record(t, l, 0, true))
	for n, want := range []string{"E E E C..", "Cabc E E C..", "Cabcd E E C..", "Cabcd E E C..", "Cabcd E E C..", "E E E C..", "C.B E E C.."} {
		if got := at(t, r, crash.AtWrite, n, crash.Keep, 1); got != want {
			t.Errorf("write:%d: %s, want %s", n, got, want)
		}
	}
	if got, want := at(t, r, crash.AtFlush, 1, crash.Drop, 1), "Cabc E E C.."; got != want {
		t.Errorf("flush:1: %s, want %s", got, want)
	}
}

// No image has more active zones than its drive can have: a zone that was Full and lost its end stays
// Full if need be, and no other does.
func TestActiveLimit(t *testing.T) {
	t.Parallel()
	l := newLogger()
	l.write(0, 'a', 4)
	l.flush()
	l.write(4*block, 'a', 12)
	l.write(zone, 'b', 1)
	r := open(t, record(t, l, 2, true))
	if got, want := at(t, r, crash.AtWrite, 2, crash.Drop, 1), "Caaaa E E C.."; got != want {
		t.Errorf("two active: %s, want %s", got, want)
	}
	held := 0
	for seed := range uint64(100) {
		got := at(t, r, crash.AtWrite, 3, crash.Torn, seed)
		if strings.Count(got, "C") > 2 {
			t.Fatalf("seed %d: %s", seed, got)
		}
		if strings.HasPrefix(got, "Faaaa") && !strings.HasPrefix(got, "Faaaaaaaaaaaaaaaa") {
			held++
		}
	}
	if held == 0 {
		t.Error("no zone was held Full")
	}
}

// A namespace without zones: unflushed writes and discards are dropped, or any of their blocks are there;
// a write with FUA is durable with what it was written over.
func TestPlain(t *testing.T) {
	t.Parallel()
	l := newLogger()
	l.write(plainOff, 'a', 4)
	l.flush()
	l.write(plainOff+block, 'b', 2)
	l.entry(plainOff, 2*block, 4, nil) // a discard
	l.write(plainOff+3*block, 'c', 1)
	l.entry(plainOff+3*block, block, 2, bytes.Repeat([]byte{'d'}, block))
	r := open(t, record(t, l, 0, true))
	for _, c := range []struct {
		n    int
		fate crash.Unflushed
		want string
	}{
		{1, crash.Drop, ""},
		{2, crash.Drop, " | aaaa"},
		{2, crash.Keep, " | abba"},
		{3, crash.Keep, " | ..ba"},
		{3, crash.Drop, " | aaaa"},
		{5, crash.Drop, " | aaad"},
		{5, crash.Keep, " | ..bd"},
	} {
		if got, want := at(t, r, crash.AtWrite, c.n, c.fate, 1), "E E E C.."+c.want; got != want {
			t.Errorf("write:%d %s: %s, want %s", c.n, c.fate, got, want)
		}
	}
	seen := map[string]bool{}
	for seed := range uint64(100) {
		seen[strings.TrimPrefix(at(t, r, crash.AtWrite, 3, crash.Torn, seed), "E E E C.. | ")] = true
	}
	for _, want := range []string{"aaaa", "abaa", "aaba", "abba", "..aa", "..ba"} {
		if !seen[want] {
			t.Errorf("never %s", want)
		}
		delete(seen, want)
	}
	if len(seen) > 0 {
		t.Errorf("unexpected: %v", seen)
	}
}

// What no NVMe drive has done is said to be wrong, with its place.
func TestHostile(t *testing.T) {
	for name, entry := range map[string]func(*logger){
		"beyond all":         func(l *logger) { l.entry(1<<30, block, 4, nil) },
		"between":            func(l *logger) { l.entry(4*zone, block, 4, nil) },
		"over the end":       func(l *logger) { l.entry(plainOff+15*block, 2*block, 4, nil) },
		"over two zones":     func(l *logger) { l.write(15*block, 'a', 2) },
		"half a block":       func(l *logger) { l.entry(0, 512, 0, make([]byte, 512)) },
		"no block at all":    func(l *logger) { l.entry(512, block, 4, nil) },
		"far beyond the end": func(l *logger) { l.entry(1<<60, block, 4, nil) },
	} {
		l := newLogger()
		l.write(0, 'a', 1)
		entry(l)
		_, err := crash.Open(record(t, l, 0, true))
		text := map[string]string{"half a block": "512 bytes at 0 of namespace 1 are not whole blocks of 4096 bytes"}[name]
		if !errors.Is(err, layout.ErrRange) || !strings.Contains(err.Error(), "entry 1 at byte 5120") || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is not made leaves what was there, and nothing else; the recording itself is not overwritten.
func TestMakeFails(t *testing.T) {
	l := first()
	l.write(2*zone, 'x', 4)
	dir := record(t, l, 0, true)
	r := open(t, dir)
	points := r.Points(crash.AtWrite)
	last := points[len(points)-1]
	old := filepath.Join(t.TempDir(), "old")
	if err := r.Make(t.Context(), old, last, crash.Keep, 0, false); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(old)
	if err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(dir, crash.LogName)
	if err := r.Make(t.Context(), log, last, crash.Keep, 0, true); err == nil || !strings.Contains(err.Error(), "part of the recording") {
		t.Errorf("over its own log: %v", err)
	}
	if err := os.Truncate(log, 4096); err != nil { // its data is gone
		t.Fatal(err)
	}
	if err := r.Make(t.Context(), old, last, crash.Keep, 0, true); err == nil {
		t.Error("made of a log without data")
	}
	after, err := os.ReadFile(old)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the old image has changed (%v)", err)
	}
	if names, err := os.ReadDir(filepath.Dir(old)); err != nil || len(names) != 1 {
		t.Errorf("left behind: %v, %v", names, err)
	}
}
