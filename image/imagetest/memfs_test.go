package imagetest_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"zimg/image/disk"
	"zimg/image/imagetest"
)

// tb is what testing.T and rapid.T have in common.
type tb interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func open(t tb, fsys disk.FS, name string, mode disk.Mode) disk.File {
	t.Helper()
	f, err := fsys.Open(name, mode, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func must(t tb, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func write(t tb, f disk.File, s string, off int64) {
	t.Helper()
	if n, err := f.WriteAt([]byte(s), off); n != len(s) || err != nil {
		t.Fatalf("WriteAt = %d, %v", n, err)
	}
}

// read returns the content of a file, "-" if there is none.
func read(t tb, m *imagetest.MemFS, name string) string {
	t.Helper()
	b, err := m.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return "-"
	}
	must(t, err)
	return string(b)
}

// model is a file that is nothing but bytes.
type model struct{ b []byte }

func (m *model) truncate(size int) {
	grown := make([]byte, max(size, len(m.b)))
	copy(grown, m.b)
	m.b = grown[:size]
	m.b = m.b[:size:size]
}

func (m *model) write(b []byte, off int) {
	m.truncate(max(len(m.b), off+len(b)))
	copy(m.b[off:], b)
}

func (m *model) punch(off, length int) {
	clear(m.b[min(off, len(m.b)):min(off+length, len(m.b))])
}

// act does one random change, in units of unit bytes, to a file and its model.
func act(t *rapid.T, f disk.File, m *model, unit int) {
	const most = 40
	off := rapid.IntRange(0, most).Draw(t, "off") * unit
	n := rapid.IntRange(1, most/2).Draw(t, "len") * unit
	switch rapid.IntRange(0, 5).Draw(t, "what") {
	case 0:
		must(t, f.Truncate(int64(off)))
		m.truncate(off)
	case 1:
		must(t, f.PunchHole(int64(off), int64(n)))
		m.punch(off, n)
	case 2:
		must(t, f.Allocate(int64(off), int64(n)))
		m.truncate(max(len(m.b), off+n))
	default:
		b := bytes.Repeat([]byte{rapid.Byte().Draw(t, "byte")}, n)
		_, err := f.WriteAt(b, int64(off))
		must(t, err)
		m.write(b, off)
	}
}

func TestMemFSAgainstBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, want := imagetest.NewMemFS(), &model{}
		f := open(t, m, "a", disk.CreateNew)
		unit := rapid.SampledFrom([]int{1, 37, 511, 512, 1000, 4096}).Draw(t, "unit")
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			act(t, f, want, unit)
			got, err := m.ReadFile("a")
			must(t, err)
			if !bytes.Equal(got, want.b) {
				t.Fatal("content differs from the model's")
			}
		}
		if size, err := f.Size(); size != int64(len(want.b)) || err != nil {
			t.Fatalf("size %d, %v; want %d", size, err, len(want.b))
		}
		part := make([]byte, rapid.IntRange(0, 9000).Draw(t, "read"))
		off := rapid.IntRange(0, len(want.b)+10).Draw(t, "from")
		n, err := f.ReadAt(part, int64(off))
		rest := want.b[min(off, len(want.b)):]
		if !bytes.Equal(part[:n], rest[:min(len(part), len(rest))]) || (n < len(part)) != errors.Is(err, io.EOF) {
			t.Fatalf("ReadAt(%d bytes, %d) of %d = %d, %v", len(part), off, len(want.b), n, err)
		}
		checkHoles(t, f, want.b)
	})
}

// checkHoles walks a file by extents: what is said to be a hole must be zero,
// and the allocated size must be that of the data.
func checkHoles(t *rapid.T, f disk.File, want []byte) {
	var data int64
	at := int64(0)
	for at < int64(len(want)) {
		from, err := f.SeekData(at)
		if errors.Is(err, io.EOF) {
			from = int64(len(want))
		} else {
			must(t, err)
		}
		if len(bytes.Trim(want[at:from], "\x00")) != 0 {
			t.Fatalf("the hole %d-%d has data", at, from)
		}
		if from == int64(len(want)) {
			break
		}
		if at, err = f.SeekHole(from); err != nil || at <= from {
			t.Fatalf("SeekHole(%d) = %d, %v", from, at, err)
		}
		data += (at-from+imagetest.PageSize-1)/imagetest.PageSize*imagetest.PageSize + from%imagetest.PageSize
	}
	if got, err := f.AllocatedBytes(); got != data || err != nil {
		t.Fatalf("allocated %d, %v; the extents have %d", got, err, data)
	}
	if _, err := f.SeekHole(int64(len(want))); !errors.Is(err, io.EOF) {
		t.Fatalf("SeekHole at the end: %v", err)
	}
}

func TestMemFSPunchGivesSpaceBack(t *testing.T) {
	m := imagetest.NewMemFS()
	f := open(t, m, "a", disk.CreateNew)
	write(t, f, string(bytes.Repeat([]byte{1}, 10*4096+100)), 0)
	for _, tt := range []struct{ off, length, want int64 }{
		{100, 200, 11}, {4000, 200, 11}, {4096, 4096, 10}, {8000, 9000, 8}, {10 * 4096, 100, 7}, {0, 1 << 40, 0},
	} {
		must(t, f.PunchHole(tt.off, tt.length))
		if got, err := f.AllocatedBytes(); got != tt.want*4096 || err != nil {
			t.Errorf("after punch %d+%d: %d pages, %v; want %d", tt.off, tt.length, got/4096, err, tt.want)
		}
	}
}

func TestMemFSIsSparse(t *testing.T) {
	begin := time.Now()
	m := imagetest.NewMemFS()
	f := open(t, m, "a", disk.CreateNew)
	must(t, f.Truncate(1<<40))
	write(t, f, "end", 1<<40-3)
	if at, err := f.SeekData(5); at != 1<<40-4096 || err != nil {
		t.Errorf("SeekData = %d, %v", at, err)
	}
	must(t, f.Sync(), m.SyncDir("a"))
	must(t, f.PunchHole(1, 1<<40))
	if at, err := f.SeekData(0); !errors.Is(err, io.EOF) {
		t.Errorf("SeekData after the punch = %d, %v", at, err)
	}
	for what, after := range m.CrashImages(5) {
		g := open(t, after, "a", disk.ReadOnly)
		b := make([]byte, 3)
		_, err := g.ReadAt(b, 1<<40-3)
		must(t, err)
		if s := string(b); s != "end" && s != "\x00\x00\x00" {
			t.Errorf("%s: the end is %q", what, s)
		}
	}
	if d := time.Since(begin); d > 30*time.Second {
		t.Errorf("took %v: something walks through the holes", d)
	}
}

func TestMemFSNames(t *testing.T) {
	m := imagetest.NewMemFS()
	write(t, open(t, m, "d/a", disk.CreateNew), "a", 0)
	write(t, open(t, m, "./d/../d/b", disk.CreateNew), "b", 0)
	for _, tt := range []struct {
		what string
		err  error
		want error
	}{
		{"open none", second(m.Open("d/c", disk.ReadWrite, 0)), fs.ErrNotExist},
		{"create again", second(m.Open("d/a", disk.CreateNew, 0)), fs.ErrExist},
		{"open directory", second(m.Open("d", disk.ReadOnly, 0)), syscall.EISDIR},
		{"rename none", m.Rename("d/c", "d/e"), fs.ErrNotExist},
		{"rename new over", m.RenameNew("d/a", "d/b"), fs.ErrExist},
		{"rename across", m.Rename("d/a", "e/a"), syscall.EXDEV},
		{"remove none", m.Remove("d/c"), fs.ErrNotExist},
		{"stat none", second(m.Stat("c")), fs.ErrNotExist},
		{"read none", second(m.ReadFile("c")), fs.ErrNotExist},
	} {
		if !errors.Is(tt.err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.what, tt.err, tt.want)
		}
	}
	if n := m.Ops(); n != 4 {
		t.Errorf("%d operations counted, want 4: what fails changes nothing", n)
	}
	must(t, m.Rename("d/a", "d/b"), m.RenameNew("d/b", "d/c"))
	if got := m.Names(); !slices.Equal(got, []string{filepath.Join("d", "c")}) || read(t, m, "d/c") != "a" {
		t.Errorf("names are %q, content %q", got, read(t, m, "d/c"))
	}
	info, err := m.Stat("d/c")
	if err != nil || info.Size() != 1 || info.Name() != "c" || info.Mode() != 0o600 || info.IsDir() {
		t.Errorf("Stat = %+v, %v", info, err)
	}
	if info, err := m.Stat("d"); err != nil || !info.IsDir() {
		t.Errorf("Stat of the directory = %+v, %v", info, err)
	}
	kept := open(t, m, "d/c", disk.ReadOnly)
	must(t, m.Remove("d/c"))
	b := make([]byte, 1)
	if _, err := kept.ReadAt(b, 0); err != nil || b[0] != 'a' {
		t.Errorf("who had the file open has lost it: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestMemFSHandles(t *testing.T) {
	m := imagetest.NewMemFS()
	m.WriteFile("a", []byte("abc"))
	f := open(t, m, "a", disk.ReadOnly)
	for what, err := range map[string]error{
		"write":    second(f.WriteAt([]byte{1}, 0)),
		"truncate": f.Truncate(0),
		"punch":    f.PunchHole(0, 1),
		"allocate": f.Allocate(0, 9),
	} {
		if !errors.Is(err, syscall.EBADF) {
			t.Errorf("%s on a read-only file: %v", what, err)
		}
	}
	if err := second(f.ReadAt(make([]byte, 1), -1)); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("read at -1: %v", err)
	}
	must(t, f.Close())
	for what, err := range map[string]error{
		"read": second(f.ReadAt(make([]byte, 1), 0)), "sync": f.Sync(), "close": f.Close(), "size": second(f.Size()), "lock": f.Lock(disk.LockRead),
	} {
		if !errors.Is(err, fs.ErrClosed) {
			t.Errorf("%s after close: %v", what, err)
		}
	}
	if n := m.Ops(); n != 0 || read(t, m, "a") != "abc" {
		t.Errorf("%d operations, content %q", n, read(t, m, "a"))
	}
}

func TestMemFSLocks(t *testing.T) {
	m := imagetest.NewMemFS()
	m.WriteFile("a", nil)
	a, b := open(t, m, "a", disk.ReadWrite), open(t, m, "a", disk.ReadOnly)
	locked := func(err error) {
		t.Helper()
		if !errors.Is(err, disk.ErrLocked) {
			t.Errorf("error is %v, want ErrLocked", err)
		}
	}
	must(t, a.Lock(disk.LockRead), b.Lock(disk.LockRead))
	locked(a.Lock(disk.LockWrite))
	must(t, b.Lock(disk.LockNone))
	locked(b.Lock(disk.LockWrite)) // a's lock was not lost when it was refused more
	must(t, a.Lock(disk.LockWrite))
	locked(b.Lock(disk.LockRead))
	after := open(t, m.AfterCrash(imagetest.KeepAll, 0), "a", disk.ReadWrite)
	must(t, after.Lock(disk.LockWrite), a.Close(), b.Lock(disk.LockWrite))
}

func TestMemFSCounts(t *testing.T) {
	m := imagetest.NewMemFS()
	f := open(t, m, "a", disk.CreateNew)
	m.ResetCounters()
	write(t, f, "xy", 4095)                     // two blocks
	write(t, f, string(make([]byte, 4096)), 0)  // one
	write(t, f, "", 0)                          // none, and no operation
	write(t, f, string(make([]byte, 8193)), 10) // three
	must(t, f.Sync(), m.SyncDir("a"), f.Sync())
	_, err := f.ReadAt(make([]byte, 100), 0)
	must(t, err)
	want := imagetest.Counters{Ops: 6, Writes: 3, Blocks: 6, Syncs: 2, DirSyncs: 1, Reads: 1, ReadBytes: 100}
	if got := m.Counters(); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
	log := m.Log()
	if got := log[1]; got != (imagetest.Op{N: 2, Kind: imagetest.OpWrite, Name: "a", Off: 4095, Len: 2}) || len(log) != m.Ops() {
		t.Errorf("operation 2 is %v of %d", got, len(log))
	}
}

func TestMemFSCopy(t *testing.T) {
	m := imagetest.NewMemFS()
	src, dst := open(t, m, "src", disk.CreateNew), open(t, m, "dst", disk.CreateNew)
	must(t, src.Truncate(8<<20), dst.Truncate(8<<20))
	write(t, src, string(bytes.Repeat([]byte{1}, 3<<20)), 1<<20)
	m.ResetCounters()
	must(t, dst.CopyFrom(src, 0, 0, 8<<20, nil))
	if read(t, m, "src") != read(t, m, "dst") {
		t.Error("the copy differs")
	}
	if c := m.Counters(); c.Writes != 3 || c.Blocks != 3<<20/4096 {
		t.Errorf("cost %+v, want three writes of a MiB", c)
	}
}

func TestMemFSConcurrentReads(t *testing.T) {
	m := imagetest.NewMemFS()
	f := open(t, m, "a", disk.CreateNew)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				_, err := f.WriteAt([]byte{byte(i + 1)}, int64(i*4096*50+j*4096))
				_, err2 := f.SeekData(0)
				if err != nil || err2 != nil {
					t.Error(err, err2)
				}
			}
		})
	}
	wg.Wait()
	if n, err := f.AllocatedBytes(); n != 8*50*4096 || err != nil {
		t.Errorf("allocated %d, %v", n, err)
	}
}
