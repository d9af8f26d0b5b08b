//go:build unix

package disk_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"zimg/image/disk"
)

const mib = 1 << 20

// create makes a file of size zeroes in a folder of its own.
func create(t testing.TB, size int64) disk.File {
	t.Helper()
	f, err := disk.OS.Open(filepath.Join(t.TempDir(), "image"), disk.CreateNew, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return f
}

func write(t testing.TB, f disk.File, b []byte, off int64) {
	t.Helper()
	if n, err := f.WriteAt(b, off); n != len(b) || err != nil {
		t.Fatalf("WriteAt(%d bytes, %d) = %d, %v", len(b), off, n, err)
	}
}

func content(t testing.TB, f disk.File) []byte {
	t.Helper()
	b, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(b)
	return b
}

func allocated(t testing.TB, f disk.File) int64 {
	t.Helper()
	n, err := f.AllocatedBytes()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	fifo, locked := filepath.Join(dir, "fifo"), filepath.Join(dir, "taken")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(locked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		mode disk.Mode
		is   error
		says string
	}{
		{dir, disk.ReadOnly, syscall.EISDIR, "is a directory"},
		{dir, disk.ReadWrite, syscall.EISDIR, "is a directory"},
		{fifo, disk.ReadOnly, nil, "a FIFO, not a regular file or block device"},
		{"/dev/null", disk.ReadWrite, nil, "not a regular file or block device"},
		{filepath.Join(dir, "none"), disk.ReadWrite, fs.ErrNotExist, "no such file"},
		{locked, disk.CreateNew, fs.ErrExist, "file exists"},
		{filepath.Join(dir, "none", "file"), disk.CreateNew, fs.ErrNotExist, "no such file"},
	} {
		f, err := disk.OS.Open(tt.name, tt.mode, 0o600)
		if f != nil || err == nil || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), tt.name) {
			t.Errorf("Open(%s, %d) = %v, %v; want an error that says %q", tt.name, tt.mode, f, err, tt.says)
		}
		if tt.is != nil && !errors.Is(err, tt.is) {
			t.Errorf("Open(%s, %d) = %v, which is not %v", tt.name, tt.mode, err, tt.is)
		}
	}
	if names, err := disk.OS.List(fifo); !errors.Is(err, syscall.ENOTDIR) { // and does not wait for a writer
		t.Errorf("List(%s) = %v, %v", fifo, names, err)
	}
	if lock, err := disk.LockDir(disk.OS, fifo); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("LockDir(%s) = %v, %v", fifo, lock, err)
	}
}

func TestReadOnlyFileCannotBeWritten(t *testing.T) {
	name := create(t, mib).Name()
	f, err := disk.OS.Open(name, disk.ReadOnly, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if _, err := f.WriteAt([]byte{1}, 0); err == nil {
		t.Error("WriteAt worked")
	}
	if err := f.Truncate(0); err == nil {
		t.Error("Truncate worked")
	}
	if err := f.Allocate(0, mib); err == nil {
		t.Error("Allocate worked")
	}
}

func TestHoles(t *testing.T) {
	f := create(t, 8*mib)
	if at, err := f.SeekData(0); !errors.Is(err, io.EOF) {
		t.Fatalf("SeekData in a file of holes = %d, %v; want EOF", at, err)
	}
	write(t, f, noise(2*mib), 2*mib)
	if err := f.PunchHole(3*mib, 512<<10); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		what string
		seek func(int64) (int64, error)
		off  int64
		want int64
	}{
		{"data", f.SeekData, 0, 2 * mib},
		{"data", f.SeekData, 2*mib + 1, 2*mib + 1},
		{"data", f.SeekData, 3 * mib, 3*mib + 512<<10},
		{"data", f.SeekData, 4 * mib, -1},
		{"data", f.SeekData, 8 * mib, -1},
		{"hole", f.SeekHole, 0, 0},
		{"hole", f.SeekHole, 2 * mib, 3 * mib},
		{"hole", f.SeekHole, 3*mib + 512<<10, 4 * mib},
		{"hole", f.SeekHole, 8 * mib, -1},
	} {
		got, err := tt.seek(tt.off)
		if tt.want < 0 {
			if !errors.Is(err, io.EOF) {
				t.Errorf("%s from %d = %d, %v; want EOF", tt.what, tt.off, got, err)
			}
		} else if got != tt.want || err != nil {
			t.Errorf("%s from %d = %d, %v; want %d", tt.what, tt.off, got, err, tt.want)
		}
	}
	if n := allocated(t, f); n < mib || n > 2*mib {
		t.Errorf("allocated %d bytes, want 1.5 MiB or a little more", n)
	}
	if err := f.PunchHole(0, 100*mib); err != nil {
		t.Fatal(err)
	}
	if size, err := f.Size(); size != 8*mib || err != nil {
		t.Errorf("a punch beyond the end made the size %d (%v)", size, err)
	}
	if n := allocated(t, f); n > 64<<10 {
		t.Errorf("allocated %d bytes after everything was punched", n)
	}
}

func TestPunchHoleAnyRange(t *testing.T) {
	const size = 64 << 10
	f := create(t, size)
	rapid.Check(t, func(t *rapid.T) {
		want := noise(size)
		if _, err := f.WriteAt(want, 0); err != nil {
			t.Fatal(err)
		}
		off := rapid.Int64Range(0, size+10).Draw(t, "off")
		length := rapid.Int64Range(0, size).Draw(t, "length")
		if err := f.PunchHole(off, length); err != nil {
			t.Fatal(err)
		}
		clear(want[min(off, size):min(off+length, size)])
		got := make([]byte, size)
		if _, err := f.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("punch of %d+%d left other bytes (%v)", off, length, err)
		}
		if n, err := f.Size(); n != size || err != nil {
			t.Fatalf("size is %d, %v", n, err)
		}
	})
}

func TestAllocate(t *testing.T) {
	f := create(t, 0)
	err := f.Allocate(0, 4*mib)
	if errors.Is(err, disk.ErrUnsupported) {
		if n := allocated(t, f); n != 0 {
			t.Fatalf("said unsupported and took %d bytes", n)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if n := allocated(t, f); n < 4*mib {
		t.Errorf("allocated %d bytes, want 4 MiB", n)
	}
	if got := content(t, f); !bytes.Equal(got, make([]byte, 4*mib)) {
		t.Error("what was allocated is not 4 MiB of zeroes")
	}
	if err := f.Sync(); err != nil {
		t.Error(err)
	}
}

func TestRenames(t *testing.T) {
	dir := t.TempDir()
	a, b, c := filepath.Join(dir, "a"), filepath.Join(dir, "b"), filepath.Join(dir, "c")
	for _, name := range []string{a, b} {
		if err := os.WriteFile(name, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := disk.OS.RenameNew(a, b); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("RenameNew over a file: %v", err)
	}
	if got, err := os.ReadFile(b); string(got) != b || err != nil {
		t.Fatalf("RenameNew changed its target to %q (%v)", got, err)
	}
	if err := disk.OS.RenameNew(a, c); err != nil {
		t.Fatal(err)
	}
	if err := disk.OS.Rename(c, b); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(b); string(got) != a || err != nil {
		t.Errorf("after Rename the file has %q (%v)", got, err)
	}
	if _, err := disk.OS.Stat(c); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the old name is still there: %v", err)
	}
	if err := disk.OS.SyncDir(b); err != nil {
		t.Error(err)
	}
	if err := disk.OS.SyncDir(filepath.Join(dir, "none", "x")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("SyncDir in no directory: %v", err)
	}
	if err := disk.OS.Remove(b); err != nil {
		t.Error(err)
	}
	if err := disk.OS.RenameNew(a, b); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("RenameNew of nothing: %v", err)
	}
}
