package record_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"zimg/image"
	"zimg/image/crash"
	"zimg/image/disk"
	"zimg/image/drive"
	"zimg/image/drive/drivetest"
	"zimg/image/drive/record"
	"zimg/image/imagetest"
	"zimg/layout"
)

// dropped says how an image differs from what is durable at m. A zone that was Full and lost its end may be held Full.
func dropped(t *testing.T, fs disk.FS, path string, m moment) string {
	t.Helper()
	want := map[key]state{}
	for k, s := range m.durable {
		if kept := m.kept[k].zone; kept.State == layout.Full && s.zone.State.Active() {
			im, err := image.Open(path, image.Options{FS: fs})
			if err != nil {
				t.Fatal(err)
			}
			if imageState(t, im, k).zone.State == layout.Full {
				s.zone.State, s.zone.WP = layout.Full, layout.NoWP
			}
			_ = im.Close()
		}
		want[k] = s
	}
	return diff(t, fs, path, want)
}

// between says what an image has that a torn power failure at m cannot have left: a zone has at least what is durable,
// and at most what was done; blocks that can be written anywhere are old or new.
func between(t *testing.T, fs disk.FS, path string, m moment) string {
	t.Helper()
	im, err := image.Open(path, image.Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = im.Close() }()
	for k, kept := range m.kept {
		got, durable := imageState(t, im, k), m.durable[k]
		if !m.allows(k, got, durable, kept) {
			return fmt.Sprintf("namespace %d, %d: %v, not between %v and %v", k.id, k.i, got, durable, kept)
		}
	}
	for _, n := range im.Namespaces() {
		if c := n.Counts(); n.Zoned() && n.MaxActive() > 0 && c.Active() > n.MaxActive() {
			return fmt.Sprintf("namespace %d has %d active zones", n.ID, c.Active())
		}
	}
	return ""
}

// allows reports whether a power failure at m can leave a zone or block as got.
func (m moment) allows(k key, got, durable, kept state) bool {
	switch {
	case k.id == 3:
		return strings.Contains(m.seen[k], got.data)
	case got.zone.Written < durable.zone.Written || got.zone.Written > kept.zone.Written || got.ext != kept.ext:
		return false
	case k.id == 1:
		return strings.HasPrefix(kept.data, got.data)
	}
	for i := range len(got.data) {
		if !strings.Contains(m.seen[key{2, k.i*16 + uint64(i)}], got.data[i:i+1]) {
			return false
		}
	}
	return true
}

// The power is cut between random commands: the image has what the model says, whatever is dropped, kept or torn, with
// metadata and without, and is clean.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	loads := *loadsFlag
	if testing.Short() {
		loads = 40
	}
	base := seed(t)
	states := 0
	for load := range loads {
		for _, fate := range []crash.Unflushed{crash.Drop, crash.Keep, crash.Torn} {
			fs := imagetest.NewMemFS()
			r := newRig(t, fs, "/d", base+uint64(load), load%2 == 1)
			r.serve(func(st *record.Store) { st.Arm(record.Trigger{}) })
			for range 5 + r.rng.IntN(40) {
				r.step()
			}
			m := r.moment()
			if res := r.st.Cut(fate, base); res.Err != nil {
				t.Fatal(res.Err)
			}
			r.off()
			wrong := ""
			switch fate {
			case crash.Drop:
				wrong = dropped(t, fs, "/d", m)
			case crash.Keep:
				wrong = diff(t, fs, "/d", m.kept)
			case crash.Torn:
				wrong = between(t, fs, "/d", m)
			}
			if wrong != "" {
				t.Fatalf("load %d, %s: %s", load, fate, wrong)
			}
			states++
		}
	}
	t.Logf("%d states after power cuts", states)
}

// off does what the owner of a drive does whose power was cut.
func (r *rig) off() {
	r.t.Helper()
	<-r.st.Off()
	r.st.Release()
	r.host.C.Abandon()
	r.host.C.Close()
	r.close()
}

// A power cut at a point of a load leaves what zimg crash makes of a recording of the same load: block for block, the
// torn ones too. Nothing that comes after it is answered.
func TestPowerCutIsCrash(t *testing.T) {
	t.Parallel()
	loads := 60
	if testing.Short() {
		loads = 6
	}
	base := seed(t)
	for load := range loads {
		rng := rand.New(rand.NewPCG(base, uint64(load)))
		at := record.Trigger{Kind: crash.AtWrite, N: 1 + rng.IntN(40), Fate: crash.Torn, Seed: rng.Uint64()}
		switch load % 6 {
		case 0:
			at.Kind, at.N = crash.AtFlush, 1+rng.IntN(4)
		case 1:
			at.Fate = crash.Drop
		case 2:
			at.Fate = crash.Keep
		}
		path := filepath.Join(t.TempDir(), "d.zimg")
		r := newRig(t, disk.OS, path, base+uint64(load), false)
		dir, rec := recorder(t, r.im)
		r.serve(func(st *record.Store) { st.Record(rec); st.Arm(at) })
		stop := make(chan struct{})
		done := make(chan struct{})
		go func() {
			defer close(done)
			for !r.st.IsOff() {
				r.step()
			}
			close(stop)
		}()
		<-r.st.Off()
		select {
		case <-stop:
			t.Fatal("a command was answered after the power was cut")
		case <-time.After(time.Millisecond):
		}
		r.st.Release()
		<-done
		res := r.st.Result()
		if res.Err != nil || res.Trigger != at || at.Kind == crash.AtWrite && res.Writes != at.N || at.Kind == crash.AtFlush && res.Flushes != at.N {
			t.Fatalf("%+v, want %+v", res, at)
		}
		r.off()
		if err := rec.Close(); err != nil {
			t.Fatal(err)
		}
		same(t, dir, at, path)
	}
}

// same compares the image at path with that of a point of a recording.
func same(t *testing.T, dir string, at record.Trigger, path string) {
	t.Helper()
	c, err := crash.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	entries, err := c.Point(at.Kind, at.N)
	if err != nil {
		t.Fatal(err)
	}
	dst := filepath.Join(t.TempDir(), "c.zimg")
	if err := c.Make(t.Context(), dst, entries, at.Fate, at.Seed, false); err != nil {
		t.Fatal(err)
	}
	im, err := image.Open(dst, image.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = im.Close() }()
	want := map[key]state{}
	for _, n := range im.Namespaces() {
		count := n.ZoneCount
		if !n.Zoned() {
			count = uint64(n.Blocks)
		}
		for i := range count {
			want[key{n.ID, i}] = imageState(t, im, key{n.ID, i})
		}
	}
	if wrong := diff(t, disk.OS, path, want); wrong != "" {
		t.Fatalf("%+v: %s", at, wrong)
	}
}

// The same with ten hosts at once, whose commands are under way when the power is cut.
func TestPowerCutManyHosts(t *testing.T) {
	t.Parallel()
	loads := 20
	if testing.Short() {
		loads = 4
	}
	base := seed(t)
	for load := range loads {
		rng := rand.New(rand.NewPCG(base, uint64(load)))
		at := record.Trigger{Kind: crash.AtWrite, N: 100 + rng.IntN(200), Fate: []crash.Unflushed{crash.Torn, crash.Drop}[load%2], Seed: rng.Uint64()}
		if load%4 == 3 {
			at.Kind, at.N = crash.AtFlush, 20
		}
		path := filepath.Join(t.TempDir(), "d.zimg")
		r := newRig(t, disk.OS, path, base+uint64(load), false)
		dir, rec := recorder(t, r.im)
		r.serve(func(st *record.Store) { st.Record(rec); st.Arm(at) })
		var hosts sync.WaitGroup
		for i := range 10 {
			h := drivetest.NewHost(quiet{t}, r.d, drive.ControllerOptions{CNTLID: uint16(2 + i)})
			rng := rand.New(rand.NewPCG(base, uint64(load*100+i)))
			hosts.Go(func() {
				for !r.st.IsOff() {
					crowd(h, rng)
				}
				h.C.Close()
			})
		}
		<-r.st.Off()
		r.st.Release()
		hosts.Wait()
		if res := r.st.Result(); res.Err != nil {
			t.Fatal(res.Err)
		}
		r.off()
		if err := rec.Close(); err != nil {
			t.Fatal(err)
		}
		same(t, dir, at, path)
	}
}

// What ten hosts do at once is recorded in the order in which it takes effect: all of the recording is the image.
func TestRecordingManyHosts(t *testing.T) {
	t.Parallel()
	loads := 20
	if testing.Short() {
		loads = 4
	}
	base := seed(t)
	for load := range loads {
		path := filepath.Join(t.TempDir(), "d.zimg")
		r := newRig(t, disk.OS, path, base+uint64(load), false)
		dir, rec := recorder(t, r.im)
		r.serve(func(st *record.Store) { st.Record(rec) })
		var hosts sync.WaitGroup
		for i := range 10 {
			h := drivetest.NewHost(quiet{t}, r.d, drive.ControllerOptions{CNTLID: uint16(2 + i)})
			rng := rand.New(rand.NewPCG(base, uint64(load*100+i)))
			hosts.Go(func() {
				for range 40 {
					crowd(h, rng)
				}
				h.C.Close()
			})
		}
		hosts.Wait()
		r.host.C.Close()
		r.close()
		if err := rec.Close(); err != nil {
			t.Fatal(err)
		}
		c, err := crash.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		writes := len(c.Points(crash.AtWrite))
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		same(t, dir, record.Trigger{Kind: crash.AtWrite, N: writes, Fate: crash.Keep}, path)
	}
}

// crowd is a command of one of many hosts.
func crowd(h *drivetest.Host, rng *rand.Rand) {
	data := bytes.Repeat([]byte{byte(1 + rng.IntN(255))}, 4*bs)
	control := uint32(0)
	if rng.IntN(8) == 0 {
		control = fua
	}
	switch zone := uint32(rng.IntN(6)) * 16; rng.IntN(8) {
	case 0:
		h.Do(1, drivetest.Cmd(opFlush, 1), nil)
	case 1:
		h.Do(1, drivetest.Cmd(opSend, 1, zone, 0, 0, actReset), nil)
	case 2:
		h.Do(1, drivetest.Cmd(opSend, 2, zone%64, 0, 0, actOpen|1<<9), nil)
	case 3:
		h.Do(1, drivetest.IO(opWrite, 2, uint64(zone%64)+uint64(rng.IntN(4)), 1+rng.IntN(2), control), data)
	case 4, 5:
		h.Do(1, drivetest.IO(opWrite, 3, uint64(rng.IntN(20)), 1+rng.IntN(4), control), data)
	default:
		h.Do(1, drivetest.IO(opAppend, 1, uint64(zone), 1+rng.IntN(3), control), data)
	}
}
