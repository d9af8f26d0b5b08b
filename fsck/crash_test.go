package fsck_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"zimg/fsck"
	"zimg/image"
	"zimg/image/disk"
	"zimg/image/imagetest"
	"zimg/layout"
)

// crashStates is how many states TestCrashStates looks at.
func crashStates() int {
	if n, err := strconv.Atoi(os.Getenv("ZIMG_CRASH_STATES")); err == nil {
		return n
	}
	if testing.Short() {
		return 300
	}
	return 10000
}

// history does random things to an image and remembers every state that it was
// committed in.
type history struct {
	rng    *rand.Rand
	fs     disk.FS
	states map[string]bool
}

// remember adds the state of im, as it will be once it is committed.
func (h *history) remember(im *image.Image) error {
	text, err := imagetest.Zones(im)
	h.states[text] = true
	return err
}

// step does one thing.
func (h *history) step() (err error) {
	if h.rng.IntN(6) == 0 {
		kind := layout.Sidecar
		if _, err := h.fs.Stat(path + image.SidecarSuffix); err == nil {
			kind = layout.Trailing
		}
		return image.ConvertInPlace(path, image.ConvertOptions{FS: h.fs, Layout: kind})
	}
	im, err := image.Open(path, image.Options{FS: h.fs, Write: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, im.Close()) }()
	n := im.Namespaces()[h.rng.IntN(2)]
	for range 1 + h.rng.IntN(5) {
		i := h.rng.Uint64N(n.ZoneCount)
		z := n.EmptyZone(i)
		if h.rng.IntN(3) > 0 {
			z.State = layout.Full
			z.WP, z.Written = layout.NoWP, z.End()
		}
		if err := n.SetZone(i, z); err != nil {
			return err
		}
	}
	if h.rng.IntN(4) == 0 {
		if err := im.SetLabel(strconv.Itoa(h.rng.IntN(1000))); err != nil {
			return err
		}
	}
	if err := h.remember(im); err != nil {
		return err
	}
	return im.Commit()
}

// empty is the standard image without data: zones may change state with nothing
// to be discarded.
func empty(t *testing.T, kind layout.Kind) *imagetest.MemFS {
	t.Helper()
	s := imagetest.Standard(kind)
	for _, n := range s.Namespaces {
		for i, z := range n.Zones {
			z.Fill = 0
			n.Zones[i] = z
		}
	}
	fs := imagetest.NewMemFS()
	if err := s.Create(fs, path); err != nil {
		t.Fatal(err)
	}
	return fs
}

// The power fails in the middle of random histories: every state opens as one
// that was committed, and a check finds no errors.
func TestCrashStates(t *testing.T) {
	t.Parallel()
	total, warned := 0, 0
	for seed := uint64(0); total < crashStates() && !t.Failed(); seed++ {
		kind := layout.Trailing + layout.Kind(seed%2)
		fs := empty(t, kind)
		h := &history{rng: rand.New(rand.NewPCG(seed, 1)), fs: fs, states: map[string]bool{}}
		im, err := image.Open(path, image.Options{FS: fs})
		if err != nil {
			t.Fatal(err)
		}
		if err := h.remember(im); err != nil {
			t.Fatal(err)
		}
		_ = im.Close()
		fs.CrashAt(fs.Ops() + 1 + h.rng.IntN(80))
		for range 12 {
			if err := h.step(); errors.Is(err, imagetest.ErrCrashed) {
				break
			} else if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		for name, after := range fs.CrashImages(6) {
			total++
			text, err := describe(after)
			if err != nil || !h.states[text] {
				t.Fatalf("seed %d, %s: a state that was never committed: %v", seed, name, err)
			}
			r, codes, err := verdict(t, after, fsck.Options{})
			if err != nil || r.Errors > 0 {
				t.Fatalf("seed %d, %s: check finds %v, %v", seed, name, codes, err)
			}
			if r.Warnings > 0 {
				warned++
				if warned%16 == 1 { // of an interrupted commit or conversion, which a repair cleans up
					sound2(t, after, text)
				}
			}
		}
	}
	t.Logf("%d states, %d with leftovers", total, warned)
}

// describe is the committed state of the image.
func describe(fs disk.FS) (string, error) {
	im, err := image.Open(path, image.Options{FS: fs})
	if err != nil {
		return "", err
	}
	defer func() { _ = im.Close() }()
	return imagetest.Zones(im)
}

// sound2 repairs and wants the same zones.
func sound2(t *testing.T, fs *imagetest.MemFS, want string) {
	t.Helper()
	if r, codes, err := verdict(t, fs, fsck.Options{Mode: fsck.Safe}); err != nil || r.ExitCode() != 0 {
		t.Fatalf("not repaired: %v, %v", codes, err)
	}
	if got, err := describe(fs); err != nil || got != want {
		t.Fatalf("the repair has changed the zones (%v)", err)
	}
}

// damaged is an image with damage that a safe repair fixes: a block, a header
// and data beyond a write pointer.
func damaged(t testing.TB, kind layout.Kind) *imagetest.MemFS {
	t.Helper()
	fs, _ := standard(t, kind)
	im, err := image.Open(path, image.Options{FS: fs, Write: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := im.BeginChange(); err != nil { // so that a repair discards data too
		t.Fatal(err)
	}
	off, slot := int64(im.Header().MetaOff), int64(im.Header().SlotLen)
	if err := im.Close(); err != nil {
		t.Fatal(err)
	}
	all := files(t, fs)
	copy(all[path][10*128*512:], "remains")
	meta := all[metaName(kind)]
	copy(meta[off+slot+3*layout.BlockLen+100:], "damage")
	return diskOf(all)
}

// A repair is interrupted at every operation, and every call of it fails in turn:
// it can be done again, and undone.
func TestRepairInterrupted(t *testing.T) {
	for _, kind := range []layout.Kind{layout.Trailing, layout.Sidecar} {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			repairInterrupted(t, kind)
		})
	}
}

func repairInterrupted(t *testing.T, kind layout.Kind) {
	clean := damaged(t, kind)
	before := files(t, clean)
	start := clean.Ops()
	if r, codes, err := verdict(t, clean, fsck.Options{Mode: fsck.Safe}); err != nil || r.ExitCode() != 0 || r.Fixed < 3 {
		t.Fatalf("%v, %v", codes, err)
	}
	repaired, err := describe(clean)
	if err != nil {
		t.Fatal(err)
	}
	states := 0
	finish := func(what string, fs *imagetest.MemFS) {
		t.Helper()
		states++
		undoable := false
		if _, err := fs.Stat(path + fsck.UndoSuffix); err == nil {
			undoable = true
		}
		all := files(t, fs)
		if r, codes, err := verdict(t, fs, fsck.Options{Mode: fsck.Safe}); err != nil || r.ExitCode() != 0 {
			t.Fatalf("%s: not repaired the second time: %v, %v", what, codes, err)
		}
		if got, err := describe(fs); err != nil || got != repaired {
			t.Fatalf("%s: other zones after the second repair (%v)", what, err)
		}
		if !undoable {
			return
		}
		fs = diskOf(all)
		if err := fsck.Undo(path, fsck.Options{FS: fs}, false); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		after := files(t, fs)
		for name := range after {
			if before[name] == nil {
				delete(after, name) // a temporary file that a power cut left
			}
		}
		if !same(before, after) {
			t.Fatalf("%s: undo does not bring back the bytes", what)
		}
	}
	steps := clean.Ops() - start
	for n := 1; n <= steps; n++ {
		if !imagetest.Sampled(n, steps) {
			continue
		}
		fs := diskOf(before)
		fs.CrashAt(fs.Ops() + n)
		_, _ = fsck.Repair(path, fsck.Options{FS: fs, Mode: fsck.Safe})
		for name, after := range fs.CrashImages(3) {
			finish("cut at "+strconv.Itoa(n)+", "+name, after)
		}
	}
	failing := errors.New("the disk is full")
	counter := imagetest.NewFaultFS(diskOf(before))
	if _, err := fsck.Repair(path, fsck.Options{FS: counter, Mode: fsck.Safe}); err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= counter.Calls(); n++ {
		if !imagetest.Sampled(n, counter.Calls()) {
			continue
		}
		under := diskOf(before)
		fs := imagetest.NewFaultFS(under)
		fs.FailAt(n, failing)
		_, err := fsck.Repair(path, fsck.Options{FS: fs, Mode: fsck.Safe})
		if fs.Hit() == "" {
			t.Fatalf("call %d is not made", n)
		}
		if err != nil && !errors.Is(err, failing) {
			t.Fatalf("call %d (%s): %v", n, fs.Hit(), err)
		}
		finish("call "+strconv.Itoa(n)+" ("+fs.Hit()+")", under)
	}
	t.Logf("%d states", states)
}
