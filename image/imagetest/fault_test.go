package imagetest_test

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"zimg/image/disk"
	"zimg/image/imagetest"
)

// everyCall makes each call of FS and File once and returns their errors.
func everyCall(fsys disk.FS) []error {
	f, err := fsys.Open("a", disk.CreateNew, 0o600)
	errs := []error{err}
	if err != nil {
		return errs
	}
	b := make([]byte, 4)
	g, err := fsys.Open("src", disk.ReadOnly, 0)
	errs = append(errs, err)
	if err != nil {
		return errs
	}
	errs = append(errs,
		f.Lock(disk.LockWrite),
		f.Truncate(100),
		second(f.WriteAt([]byte("abcd"), 0)),
		second(f.ReadAt(b, 0)),
		second(f.Size()),
		f.Allocate(0, 200),
		f.PunchHole(50, 10),
		second(f.SeekData(0)),
		second(f.SeekHole(0)),
		second(f.AllocatedBytes()),
		f.CopyFrom(g, 0, 0, 2, nil),
		f.Sync(),
		f.Close(),
		second(fsys.Stat("src")),
		fsys.Rename("src", "b"),
		fsys.RenameNew("b", "c"),
		fsys.SyncDir("c"),
		fsys.Remove("c"),
		fsys.Mkdir("d", disk.Access{Mode: 0o777}),
		second(fsys.List(".")))
	return errs
}

func scene() *imagetest.FaultFS {
	m := imagetest.NewMemFS()
	m.WriteFile("src", []byte("source"))
	return imagetest.NewFaultFS(m)
}

func TestFaultFSFailsEachCall(t *testing.T) {
	f := scene()
	for i, err := range everyCall(f) {
		if err != nil {
			t.Fatalf("call %d: %v", i+1, err)
		}
	}
	calls := f.Calls()
	if calls != 22 || f.Hit() != "" {
		t.Fatalf("%d calls, hit %q; want 22 and none", calls, f.Hit())
	}
	hits := map[string]bool{}
	for n := 1; n <= calls; n++ {
		f := scene()
		f.FailAt(n, syscall.ENOSPC)
		errs := everyCall(f)
		for i, err := range errs {
			// A rename or creation that fails makes the calls after it fail too, for their own reason.
			if hit := errors.Is(err, syscall.ENOSPC); hit != (i+1 == n) {
				t.Errorf("call %d failing: call %d has %v", n, i+1, err)
			}
		}
		op, _, _ := strings.Cut(f.Hit(), " ")
		hits[op] = true
	}
	if len(hits) != 20 { // Open is called twice, and both ways to rename say rename
		t.Errorf("the calls that failed are %v", hits)
	}
}

func TestFaultFSFailsFrom(t *testing.T) {
	f := scene()
	f.FailFrom(5, syscall.EIO)
	for i, err := range everyCall(f) {
		if errors.Is(err, syscall.EIO) != (i+1 >= 5) {
			t.Errorf("call %d: %v", i+1, err)
		}
	}
	if f.Hit() != "write a" {
		t.Errorf("hit %q", f.Hit())
	}
}

func TestFaultFSShort(t *testing.T) {
	m := imagetest.NewMemFS()
	m.WriteFile("a", []byte("abcdefgh"))
	f := imagetest.NewFaultFS(m)
	file := open(t, f, "a", disk.ReadWrite)

	f.ShortAt(2, syscall.ENOSPC)
	if n, err := file.WriteAt([]byte("12345"), 1); n != 2 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("short write = %d, %v", n, err)
	}
	if got := read(t, m, "a"); got != "a12defgh" {
		t.Errorf("a short write left %q", got)
	}
	f.ShortAt(3, syscall.EIO)
	b := make([]byte, 4)
	if n, err := file.ReadAt(b, 0); n != 2 || !errors.Is(err, syscall.EIO) || string(b) != "a1\x00\x00" {
		t.Errorf("short read = %d, %v, %q", n, err, b)
	}
	f.FailAt(4, syscall.EIO)
	if n, err := file.WriteAt([]byte("xyz"), 0); n != 0 || !errors.Is(err, syscall.EIO) || read(t, m, "a") != "a12defgh" {
		t.Errorf("failed write = %d, %v, left %q", n, err, read(t, m, "a"))
	}
}

func TestFaultFSCloseStillCloses(t *testing.T) {
	m := imagetest.NewMemFS()
	m.WriteFile("a", nil)
	f := imagetest.NewFaultFS(m)
	file := open(t, f, "a", disk.ReadWrite)
	must(t, file.Lock(disk.LockWrite))
	f.FailAt(3, syscall.EIO)
	if err := file.Close(); !errors.Is(err, syscall.EIO) {
		t.Errorf("close: %v", err)
	}
	must(t, open(t, m, "a", disk.ReadWrite).Lock(disk.LockWrite))
}
