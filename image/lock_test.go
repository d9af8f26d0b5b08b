package image_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"zimg/image"
	"zimg/image/disk"
	"zimg/image/imagetest"
	"zimg/layout"
)

// intruder tries to take the write lock of a name, and keeps it.
type intruder struct {
	fs   disk.FS
	name string
	file disk.File
	info string // when it was let in
}

// try opens and locks the file as QEMU does, without looking whether the name still is the file's.
func (i *intruder) try(moment string) {
	if i.file != nil {
		return
	}
	file, err := i.fs.Open(i.name, disk.ReadWrite, 0)
	if err != nil {
		return
	}
	if err := file.Lock(disk.LockWrite); err != nil {
		_ = file.Close()
		return
	}
	i.file, i.info = file, moment
}

// Another process that takes the lock of a file which a command replaces or changes, before any call to
// the file system, either stops the command or is kept out: it never holds a file that the command has taken the name of.
func TestLockAtEveryCall(t *testing.T) {
	t.Parallel()
	var total atomic.Int64
	t.Cleanup(func() { t.Logf("%d moments", total.Load()) })
	for _, op := range lockedOperations() {
		t.Run(op.name, func(t *testing.T) {
			t.Parallel()
			names := []string{path}
			if op.layout == layout.Sidecar {
				names = append(names, path+image.SidecarSuffix)
			}
			counter := imagetest.NewFaultFS(op.start(t))
			if err := op.run(counter); err != nil {
				t.Fatal(err)
			}
			in, out := 0, 0
			for _, name := range names {
				for n := 1; n <= counter.Calls(); n++ {
					if !imagetest.Sampled(n, counter.Calls()) {
						continue
					}
					under := op.start(t)
					fs := imagetest.NewFaultFS(under)
					other := &intruder{fs: under, name: name}
					fs.Before(func(call int, what, file string) {
						if call == n {
							other.try(fmt.Sprintf("before call %d: %s %s", call, what, file))
						}
					})
					err := op.run(fs)
					total.Add(1)
					if other.file == nil {
						out++
						if err != nil {
							t.Fatalf("%s, call %d: nobody was let in, and it fails: %v", name, n, err)
						}
						continue
					}
					in++
					held, herr := other.file.Stat()
					named, nerr := under.Stat(name)
					if herr != nil || nerr != nil && err == nil {
						t.Fatal(herr, nerr)
					}
					if !disk.SameFile(held, named) {
						t.Fatalf("%s: it took the lock %s, and lost its file (%v)", name, other.info, err)
					}
					if err != nil && !errors.Is(err, disk.ErrLocked) {
						t.Errorf("%s: the lock was taken %s: %v", name, other.info, err)
					}
					if err := other.file.Close(); err != nil {
						t.Error(err)
					}
					op.zones(t, under) // opens
				}
			}
			if in == 0 || out == 0 {
				t.Errorf("let in %d times, kept out %d times: the moments have not met the work", in, out)
			}
		})
	}
}

// lockedOperations are those that change an image that is there.
func lockedOperations() []operation {
	var ops []operation
	for _, op := range operations() {
		if op.layout != 0 && op.result == "" {
			ops = append(ops, op)
		}
	}
	return ops
}
