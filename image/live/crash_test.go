package live_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"zimg/image/imagetest"
	"zimg/image/live"
	"zimg/layout"
)

// history runs steps random commands, until the power goes at operation cut (0: never). It returns the rig as it
// was then.
func history(t *testing.T, kind layout.Kind, seed uint64, steps, cut int) (*imagetest.MemFS, *rig, int) {
	t.Helper()
	fs := create(t, kind)
	r, err := newRig(fs, seed)
	if err != nil {
		t.Fatal(err)
	}
	start := fs.Ops()
	if cut > 0 {
		fs.CrashAt(start + cut)
	}
	for range steps {
		err := r.step()
		if errors.Is(err, imagetest.ErrCrashed) && cut > 0 {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if cut > 0 && fs.Ops() >= start+cut { // during work that nobody waits for
			break
		}
	}
	if cut == 0 {
		if err := r.same(r.st); err != nil {
			t.Fatal(err)
		}
	}
	return fs, r, fs.Ops() - start
}

// afterPower opens what a power failure has left: each zone is as after the last flush or since, and has the data
// of that moment.
func afterPower(fs *imagetest.MemFS, r *rig) (err error) {
	im, st, err := openStore(fs, live.Options{BootID: boot2})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, im.Close()) }()
	if got := st.Recovery().Source; got != live.Commits {
		return fmt.Errorf("recovered from %d", got)
	}
	if err := r.flushed(st); err != nil {
		return err
	}
	return st.Close()
}

// flushed: each zone is as it was at some moment since the last flush.
func (r *rig) flushed(st *live.Store) error {
	for _, k := range r.ns {
		n := st.Namespace(k.sh.n.ID)
		for i, allowed := range k.allowed {
			got, err := stateOf(n, uint64(i))
			if err != nil {
				return err
			}
			ok := func(s zoneState) bool { return s.atRest(k.sh.n) == got }
			if k.sh.n.ZRWAS > 0 {
				ok = func(s zoneState) bool {
					return s.atRest(k.sh.n).zone == got.zone && r.overwritten(k.sh.n, got, allowed)
				}
			}
			if !slices.ContainsFunc(allowed, ok) {
				return fmt.Errorf("namespace %d zone %d: %s, allowed: %v", n.ID, i, got, allowed)
			}
		}
		if c := n.Counts(); n.MaxActive() > 0 && c.Active() > n.MaxActive() {
			return fmt.Errorf("namespace %d: %d active zones", n.ID, c.Active())
		}
	}
	for lba, allowed := range r.since {
		b := make([]byte, 512)
		if err := st.Namespace(3).ReadData(b, layout.LBA(lba)); err != nil {
			return err
		}
		if !allowed[b[0]] {
			return fmt.Errorf("block %d of the plain namespace: %d, allowed %v", lba, b[0], allowed)
		}
	}
	return nil
}

// overwritten reports whether each block, and its metadata, is that of one of the states: in a random write area
// blocks are written again, one by one. If a write could be done in part, that holds for each byte.
func (r *rig) overwritten(n *layout.Namespace, got zoneState, allowed []zoneState) bool {
	var padded []string
	for _, s := range allowed {
		padded = append(padded, s.data+string(make([]byte, max(0, len(got.data)-len(s.data)))))
	}
	same := func(from, to int) bool {
		return slices.ContainsFunc(padded, func(data string) bool { return data[from:to] == got.data[from:to] })
	}
	size, step := 1<<n.BlockBits, blockBytes(n)
	if r.inPart {
		size, step = 1, 1
	}
	for at := 0; at < len(got.data); at += step {
		if !same(at, at+size) || !same(at+size, at+step) {
			return false
		}
	}
	return true
}

// The power fails at random operations of random histories, and what was not synced is kept, dropped and torn.
func TestPowerFails(t *testing.T) {
	t.Parallel()
	histories, cuts := 60, 30
	if testing.Short() {
		histories, cuts = 6, 10
	}
	base := imagetest.Seed(t)
	states := 0
	for h := range histories {
		kind := layout.Trailing + layout.Kind(h%2)
		rng := rand.New(rand.NewPCG(base, uint64(h)))
		s := rng.Uint64()
		_, _, ops := history(t, kind, s, 60, 0)
		for range cuts {
			cut := 1 + rng.IntN(ops)
			fs, r, _ := history(t, kind, s, 60, cut)
			for name, after := range fs.CrashImages(2) {
				if err := afterPower(after, r); err != nil {
					t.Fatalf("history %d, cut at %d of %d (%v), %s: %v", h, cut, ops, fs.Log()[fs.Ops()-1], name, err)
				}
				states++
			}
		}
	}
	t.Logf("%d states after power failures", states)
}

// The process dies at every kind of operation: every zone is as answered, and the command that was under way has
// happened or not.
func TestProcessDies(t *testing.T) {
	t.Parallel()
	histories, cuts := 60, 30
	if testing.Short() {
		histories, cuts = 6, 10
	}
	base := imagetest.Seed(t)
	states := 0
	for h := range histories {
		rng := rand.New(rand.NewPCG(base, uint64(h)))
		s := rng.Uint64()
		_, _, ops := history(t, layout.Trailing, s, 60, 0)
		for range cuts {
			cut := 1 + rng.IntN(ops)
			fs, r, _ := history(t, layout.Trailing, s, 60, cut)
			if err := afterDeath(fs.AfterCrash(imagetest.KeepAll, 0), r); err != nil {
				t.Fatalf("history %d, cut at %d of %d (%v): %v", h, cut, ops, fs.Log()[fs.Ops()-1], err)
			}
			states++
		}
	}
	t.Logf("%d states after the death of the process", states)
}

// afterDeath opens what a process that died has left.
func afterDeath(fs *imagetest.MemFS, r *rig) (err error) {
	im, st, err := openStore(fs, live.Options{BootID: boot})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, im.Close()) }()
	if got := st.Recovery().Source; got != live.Records {
		return fmt.Errorf("recovered from %d", got)
	}
	if err := r.answered(st); err != nil {
		return err
	}
	return st.Close()
}

// answered: each zone is as after the last command, or as before it: that one may not have happened.
func (r *rig) answered(st *live.Store) error {
	for _, k := range r.ns {
		n := st.Namespace(k.sh.n.ID)
		for i, allowed := range k.allowed {
			got, err := stateOf(n, uint64(i))
			if err != nil {
				return err
			}
			last := allowed[max(0, len(allowed)-2):]
			ok := slices.Contains(last, got)
			if k.sh.n.ZRWAS > 0 { // the blocks of a write that was under way may be old or new
				same := func(s zoneState) bool { return s.zone == got.zone }
				ok = slices.ContainsFunc(last, same) && r.overwritten(k.sh.n, got, last)
			}
			if !ok {
				return fmt.Errorf("namespace %d zone %d: %s, answered: %v", n.ID, i, got, last)
			}
		}
	}
	return nil
}
