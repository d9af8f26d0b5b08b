package image_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"zimg/image"
	"zimg/image/disk"
	"zimg/image/imagetest"
	"zimg/layout"
)

var errDisk = errors.New("the disk says no")

// Every single call fails in turn: the error says so, the image is as before or
// as after, and no half-made files are left.
func TestEveryCallFails(t *testing.T) {
	ops := operations()
	ops = append(ops, operation{name: "convert to a copy", layout: layout.Trailing})
	t.Parallel()
	var total atomic.Int64
	t.Cleanup(func() { t.Logf("%d calls failed", total.Load()) })
	for _, op := range ops {
		t.Run(op.name, func(t *testing.T) {
			t.Parallel()
			run := op.run
			if run == nil {
				run = func(fs disk.FS) error {
					return image.Convert(path, "/d/copy.zimg", image.ConvertOptions{FS: fs, Layout: layout.Sidecar})
				}
			}
			clean := op.start(t)
			was := op.zones(t, clean)
			counter := imagetest.NewFaultFS(clean)
			if err := run(counter); err != nil {
				t.Fatal(err)
			}
			is := op.zones(t, clean)
			for n := 1; n <= counter.Calls(); n++ {
				if !imagetest.Sampled(n, counter.Calls()) {
					continue
				}
				under := op.start(t)
				fs := imagetest.NewFaultFS(under)
				fs.FailAt(n, errDisk)
				err := run(fs)
				if err == nil && !harmless(fs.Hit()) {
					t.Fatalf("call %d (%s) failed, and nobody noticed", n, fs.Hit())
				}
				if err != nil && strings.Contains(err.Error(), ".tmp") {
					t.Errorf("call %d (%s): the error has a temporary name: %v", n, fs.Hit(), err)
				}
				if err != nil && !errors.Is(err, errDisk) {
					t.Errorf("call %d (%s): %v", n, fs.Hit(), err)
				}
				if got := op.zones(t, under); got != was && got != is {
					t.Fatalf("call %d (%s): neither before nor after:\n%s", n, fs.Hit(), got)
				}
				for _, name := range under.Names() {
					if strings.HasSuffix(name, ".tmp") && !strings.HasPrefix(fs.Hit(), "remove") {
						t.Errorf("call %d (%s): %s is left", n, fs.Hit(), name)
					}
				}
				total.Add(1)
			}
		})
	}
}

// harmless are calls whose failure changes nothing that was promised: a list is for what others have left.
func harmless(hit string) bool {
	return strings.HasPrefix(hit, "close") || strings.HasPrefix(hit, "list")
}

// A commit that has failed can be tried again.
func TestCommitAgain(t *testing.T) {
	t.Parallel()
	s := imagetest.Standard(layout.Trailing)
	counter := imagetest.NewFaultFS(imagetest.NewMemFS())
	if err := s.Create(counter, path); err != nil {
		t.Fatal(err)
	}
	for n := 1; ; n++ {
		fs := imagetest.NewFaultFS(imagetest.NewMemFS())
		if err := s.Create(fs, path); err != nil {
			t.Fatal(err)
		}
		im, err := image.Open(path, image.Options{FS: fs, Write: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := closeZone(im, 1, 50, 3); err != nil {
			t.Fatal(err)
		}
		fs.FailAt(fs.Calls()+n, errDisk)
		failed := im.Commit()
		if failed == nil {
			if n < 5 {
				t.Fatalf("a commit of %d calls", n)
			}
			return // n is beyond the last call
		}
		if err := im.Commit(); err != nil {
			t.Fatalf("call %d failed, and the next commit too: %v", n, err)
		}
		if err := im.Close(); err != nil {
			t.Fatal(err)
		}
		again, err := image.Open(path, image.Options{FS: fs})
		if err != nil {
			t.Fatal(err)
		}
		if z, err := again.Namespaces()[1].Zone(50); err != nil || z.State != layout.Closed {
			t.Errorf("call %d: %+v, %v", n, z, err)
		}
		_ = again.Close()
	}
}
