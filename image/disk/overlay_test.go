package disk_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"zimg/image/disk"
)

// lowerFile makes a file of random bytes that is not a whole number of blocks.
func lowerFile(t *testing.T) (path string, content []byte) {
	t.Helper()
	content = make([]byte, 300_123)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(content)
	path = filepath.Join(t.TempDir(), "lower")
	if err := os.WriteFile(path, content, 0o400); err != nil {
		t.Fatal(err)
	}
	return path, content
}

// Whatever is done to a file of an overlay, it reads as if it had been done to a file; and the lower file, which cannot even be
// written to, stays as it is.
func TestOverlay(t *testing.T) {
	t.Parallel()
	path, content := lowerFile(t)
	v := disk.NewOverlay(disk.OS, t.TempDir())
	file, err := v.Open(path, disk.ReadWrite, 0)
	if err != nil {
		t.Fatal(err)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	model := bytes.Clone(content)
	check := func() {
		t.Helper()
		got := make([]byte, len(model)+10)
		n, err := file.ReadAt(got, 0)
		if !errors.Is(err, io.EOF) || !bytes.Equal(got[:n], model) {
			t.Fatalf("%d bytes, %v; want %d", n, err, len(model))
		}
	}
	check()
	for range 500 {
		off, n := r.IntN(len(model)), r.IntN(20_000)
		if r.IntN(4) == 0 {
			off, n = off/4096*4096, n/4096*4096
		}
		switch r.IntN(10) {
		case 0:
			size := max(1000, len(model)-5000+r.IntN(10_000))
			if err := file.Truncate(int64(size)); err != nil {
				t.Fatal(err)
			}
			model = append(model, make([]byte, max(0, size-len(model)))...)[:size]
		case 1, 2, 3:
			if err := file.PunchHole(int64(off), int64(n)); err != nil {
				t.Fatal(err)
			}
			clear(model[off:min(len(model), off+n)])
		default:
			b := bytes.Repeat([]byte{byte(r.Int())}, n)
			if _, err := file.WriteAt(b, int64(off)); err != nil {
				t.Fatal(err)
			}
			model = append(model, make([]byte, max(0, off+n-len(model)))...)
			copy(model[off:], b)
		}
		if r.IntN(10) == 0 {
			check()
		}
	}
	check()
	again, err := v.Open(path, disk.ReadOnly, 0)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(model))
	if _, err := again.ReadAt(got, 0); err != nil || !bytes.Equal(got, model) {
		t.Errorf("opened again: %v", err)
	}
	if _, err := again.WriteAt(got[:1], 0); err == nil {
		t.Error("a file that is open for reading was written to")
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, content) {
		t.Errorf("the lower file has changed (%v)", err)
	}
	if err := errors.Join(file.Close(), again.Close(), v.Close()); err != nil {
		t.Error(err)
	}
}

// Writers of neighbouring parts of a block do not lose each other's bytes.
func TestOverlayParallel(t *testing.T) {
	t.Parallel()
	path, content := lowerFile(t)
	v := disk.NewOverlay(disk.OS, t.TempDir())
	file, err := v.Open(path, disk.ReadWrite, 0)
	if err != nil {
		t.Fatal(err)
	}
	var writers sync.WaitGroup
	for w := range 8 {
		writers.Go(func() {
			for off := 512 * w; off+512 < len(content); off += 8 * 512 {
				if _, err := file.WriteAt(bytes.Repeat([]byte{byte(w)}, 512), int64(off)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	got := make([]byte, len(content)/4096*4096)
	if _, err := file.ReadAt(got, 0); err != nil {
		t.Fatal(err)
	}
	for i, b := range got {
		if b != byte(i/512%8) {
			t.Fatalf("byte %d is %d", i, b)
		}
	}
	if err := errors.Join(file.Close(), v.Close()); err != nil {
		t.Error(err)
	}
}

// Overlays of one file work side by side while nobody can change it; and files that are made in an overlay are in it alone.
func TestOverlayNames(t *testing.T) {
	t.Parallel()
	path, _ := lowerFile(t)
	a, b := disk.NewOverlay(disk.OS, t.TempDir()), disk.NewOverlay(disk.OS, t.TempDir())
	for _, v := range []*disk.Overlay{a, b} {
		file, err := disk.OpenLocked(v, path, disk.ReadWrite, disk.LockWrite)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = file.Close() }()
	}
	if _, err := disk.OpenLocked(disk.OS, path, disk.ReadOnly, disk.LockWrite); !errors.Is(err, disk.ErrLocked) && !errors.Is(err, fs.ErrPermission) {
		t.Errorf("somebody else may write to it: %v", err)
	}
	beside := path + ".beside"
	file, err := a.Open(beside, disk.CreateNew, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Open(beside, disk.CreateNew, 0o600); !errors.Is(err, fs.ErrExist) {
		t.Errorf("made twice: %v", err)
	}
	if err := errors.Join(file.Truncate(7), file.Close()); err != nil {
		t.Fatal(err)
	}
	if info, err := a.Stat(beside); err != nil || info.Size() != 7 {
		t.Errorf("%v, %v", info, err)
	}
	for _, fsys := range []disk.FS{b, disk.OS} {
		if _, err := fsys.Stat(beside); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the file is outside of its overlay: %v", err)
		}
	}
	if err := a.Rename(beside, path+".moved"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Stat(beside); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the old name is there: %v", err)
	}
	if err := errors.Join(a.Remove(path+".moved"), a.Remove(path)); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Open(path, disk.ReadWrite, 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed: %v", err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}
