package live_test

import (
	"errors"
	"strings"
	"testing"

	"zimg/image"
	"zimg/image/imagetest"
	"zimg/image/live"
	"zimg/layout"
)

var errDisk = errors.New("the disk is broken")

// Each call to the system fails once, or from then on; a write may be done in part. The command that met it fails,
// and the next owner finds the zones as they were answered; or, if a sync failed, as after a power failure.
func TestEveryCallFails(t *testing.T) {
	t.Parallel()
	step := 1
	if testing.Short() {
		step = 7
	}
	base := imagetest.Seed(t)
	for _, plan := range []struct {
		name string
		set  func(f *imagetest.FaultFS, n int)
	}{
		{"once", func(f *imagetest.FaultFS, n int) { f.FailAt(n, errDisk) }},
		{"in part", func(f *imagetest.FaultFS, n int) { f.ShortAt(n, errDisk) }},
		{"from then on", func(f *imagetest.FaultFS, n int) { f.FailFrom(n, errDisk) }},
	} {
		for _, kind := range []layout.Kind{layout.Trailing, layout.Sidecar} {
			t.Run(plan.name+", "+kind.String(), func(t *testing.T) {
				t.Parallel()
				calls, sources := 1, map[live.Source]int{}
				for n := 1; n <= calls; n += step {
					fs := create(t, kind)
					faulty := imagetest.NewFaultFS(fs)
					if n > 1 {
						plan.set(faulty, n)
					}
					r, err := failing(faulty, base)
					if n == 1 {
						if err != nil {
							t.Fatal(err)
						}
						calls = faulty.Calls()
						continue
					}
					if err != nil && !errors.Is(err, errDisk) || err == nil && faulty.Hit() == "" {
						t.Fatalf("call %d of %d (%s): %v", n, calls, faulty.Hit(), err)
					}
					source, err := afterFault(fs, r, plan.name == "in part")
					if err != nil {
						t.Fatalf("call %d of %d (%s): %v", n, calls, faulty.Hit(), err)
					}
					sources[source]++
				}
				t.Logf("%d calls; what was found afterwards: %v", calls, sources)
				if sources[live.Records] == 0 || sources[live.Commits] == 0 {
					t.Errorf("the faults have not met both: %v", sources)
				}
			})
		}
	}
}

// failing runs a history up to the first error, and closes everything. The rig is nil if the image was not opened.
func failing(fs *imagetest.FaultFS, seed uint64) (*rig, error) {
	r, err := newRig(fs, seed)
	if err != nil {
		return nil, err
	}
	for range 80 {
		if err = r.step(); err != nil {
			break
		}
	}
	r.st.Abandon()
	return r, errors.Join(err, r.im.Close())
}

// afterFault opens the image on the same computer. If inPart is set, a write may have been done in part.
func afterFault(fs *imagetest.MemFS, r *rig, inPart bool) (live.Source, error) {
	im, st, err := openStore(fs, live.Options{BootID: boot})
	if err != nil {
		return 0, err
	}
	source := st.Recovery().Source
	if r != nil {
		r.inPart = inPart
		check := (*rig).answered
		if source != live.Records {
			check = (*rig).flushed
		}
		if err := check(r, st); err != nil {
			return source, err
		}
	}
	return source, errors.Join(st.Close(), im.Close())
}

// Records that make no sense are refused, and the last flush is still there for who asks for it.
func TestDamagedRecords(t *testing.T) {
	t.Parallel()
	for _, at := range []int64{8192 + 192, 8192 + 192 + 9, 8192 + 192 + 64 + 7, 8192 + 2*192 + 17} {
		fs := create(t, layout.Trailing)
		im, st, err := openStore(fs, live.Options{BootID: boot})
		if err != nil {
			t.Fatal(err)
		}
		st.Abandon()
		if err := im.Close(); err != nil {
			t.Fatal(err)
		}
		b, err := fs.ReadFile(path + live.Suffix)
		if err != nil {
			t.Fatal(err)
		}
		b[at] ^= 0x80
		fs.WriteFile(path+live.Suffix, b)
		var repair *image.RepairError
		if _, _, err := openStore(fs, live.Options{BootID: boot}); !errors.Is(err, layout.ErrDamaged) || !errors.As(err, &repair) || repair.Path != path {
			t.Errorf("byte %d: %v", at, err)
		}
		im, st, err = openStore(fs, live.Options{BootID: boot, LoseUnflushed: true})
		if err != nil {
			t.Fatal(err)
		}
		if got := st.Recovery(); got.Source != live.Commits {
			t.Errorf("byte %d: %+v", at, got)
		}
		if err := errors.Join(st.Close(), im.Close()); err != nil {
			t.Error(err)
		}
	}
}

// An image whose live file is missing on the same computer is not opened: what was not flushed would be lost silently.
func TestMissingRecords(t *testing.T) {
	t.Parallel()
	fs := create(t, layout.Sidecar)
	im, st, err := openStore(fs, live.Options{BootID: boot})
	if err != nil {
		t.Fatal(err)
	}
	st.Abandon()
	if err := im.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := image.Open(path, image.Options{FS: fs, Write: true}); !errors.Is(err, image.ErrUnclean) {
		t.Errorf("who knows nothing of a live file opens the image: %v", err)
	}
	if err := fs.Remove(path + image.SidecarSuffix + live.Suffix); err != nil {
		t.Fatal(err)
	}
	if _, _, err := openStore(fs, live.Options{BootID: boot}); !errors.Is(err, live.ErrNoRecords) || !strings.HasPrefix(err.Error(), path+": its server was killed, and ") {
		t.Errorf("%v", err)
	}
	im, st, err = openStore(fs, live.Options{BootID: boot2})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(st.Close(), im.Close()); err != nil {
		t.Error(err)
	}
}

// A write is repeatable once its connection is gone, here or with the process, until the zone is reset.
func TestRepeatable(t *testing.T) {
	t.Parallel()
	fs := create(t, layout.Trailing)
	im, st, err := openStore(fs, live.Options{BootID: boot})
	if err != nil {
		t.Fatal(err)
	}
	n := st.Namespace(1)
	peer, err := st.Connect()
	if err != nil {
		t.Fatal(err)
	}
	write := func(blocks layout.LBA) live.Write {
		t.Helper()
		z, err := n.Zone(0)
		if err != nil {
			t.Fatal(err)
		}
		w := live.Write{Host: 5, Peer: peer, LBA: uint64(z.WP), N: uint32(blocks)}
		if err := n.WriteData(make([]byte, int(blocks)*512), z.WP); err != nil {
			t.Fatal(err)
		}
		z.State, z.WP = layout.ImplicitlyOpened, z.WP+blocks
		z.Written = z.WP
		if err := n.SetWritten(0, z, w); err != nil {
			t.Fatal(err)
		}
		return w
	}
	var all []live.Write
	for range 5 {
		all = append(all, write(2))
	}
	if n.Repeatable(0, all[4]) {
		t.Error("the connection is there, and its answers with it")
	}
	st.Abandon()
	if err := im.Close(); err != nil {
		t.Fatal(err)
	}
	if im, st, err = openStore(fs, live.Options{BootID: boot}); err != nil {
		t.Fatal(err)
	}
	n = st.Namespace(1)
	for i, w := range all {
		if got, want := n.Repeatable(0, w), i > 0; got != want {
			t.Errorf("write %d repeatable: %v", i, got)
		}
		w.Host++
		if n.Repeatable(0, w) {
			t.Error("another host repeats it")
		}
		w.Host--
		w.N++
		if n.Repeatable(0, w) {
			t.Error("another length")
		}
	}
	if next, err := st.Connect(); err != nil || next == peer {
		t.Errorf("connection %d again: %v", next, err)
	}
	if err := n.SetZone(0, n.EmptyZone(0)); err != nil {
		t.Fatal(err)
	}
	if n.Repeatable(0, all[4]) {
		t.Error("repeatable after a reset")
	}
	if err := errors.Join(st.Close(), im.Close()); err != nil {
		t.Error(err)
	}
}
