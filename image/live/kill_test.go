package live_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"zimg/image"
	"zimg/image/imagetest"
	"zimg/image/live"
	"zimg/image/zns"
	"zimg/layout"
)

// The test program is its own child: it serves an image under load until it is killed.
const childEnv = "ZIMG_LIVE_TEST_CHILD"

func TestMain(m *testing.M) {
	if name := os.Getenv(childEnv); name != "" {
		seed, err := strconv.ParseUint(os.Getenv(childEnv+"_SEED"), 10, 64)
		if err == nil {
			err = serve(name, seed)
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

const (
	workers       = 4
	zonesOfWorker = 3
)

// worker runs random commands on zones that nobody else uses. Which ones depends on its seed and its shadow alone, so
// that another process can follow.
type worker struct {
	rng   *rand.Rand
	first uint64
	sh    *shadow
	sm    *zns.Machine
	real  *live.Namespace // nil for one that only follows
	m     *zns.Machine
	epoch byte
}

func newWorker(w int, seed uint64, n *layout.Namespace, states []zoneState) *worker {
	var counts layout.Counts
	for _, s := range states {
		counts[s.zone.State.Index()]++
	}
	sh := &shadow{n: n, zones: append([]zoneState(nil), states...)}
	rng := rand.New(rand.NewPCG(seed, uint64(w)))
	return &worker{rng: rng, first: uint64(w * zonesOfWorker), sh: sh, sm: zns.New(n, sh, counts)}
}

// step runs the next command and says which zone it was for.
func (k *worker) step() (zone uint64, err error) {
	i := k.first + uint64(k.rng.IntN(zonesOfWorker))
	k.epoch = byte(1 + k.rng.IntN(255))
	if k.real != nil {
		k.real.Lock(i)
		defer k.real.Unlock(i)
	}
	var command func(m *zns.Machine) error
	switch k.rng.IntN(12) {
	case 0:
		command = func(m *zns.Machine) error { return m.Reset(i) }
	case 1:
		command = func(m *zns.Machine) error { return m.Finish(i) }
	case 2:
		command = func(m *zns.Machine) error { return m.Open(i) }
	case 3:
		ext := make([]byte, k.sh.n.ExtSize())
		ext[0], ext[len(ext)-1] = k.epoch, k.epoch
		command = func(m *zns.Machine) error { return m.SetExtension(i, ext) }
	case 4:
		if k.real == nil {
			return i, nil
		}
		return i, k.real.Flush()
	default:
		return i, k.write(i)
	}
	if err := command(k.sm); err != nil && !refused(err) {
		return i, err
	}
	if k.real != nil {
		if err := command(k.m); err != nil && !refused(err) {
			return i, err
		}
	}
	return i, nil
}

func (k *worker) write(i uint64) error {
	n := layout.LBA(1 + k.rng.IntN(16))
	lba := k.sh.zones[i].zone.WP
	c, err := k.sm.PlanWrite(lba, n)
	if err != nil {
		return nil //nolint:nilerr // the zone is full, say
	}
	p := make([]byte, int(n)*blockBytes(k.sh.n))
	for j := range p {
		p[j] = k.epoch
	}
	if k.real != nil {
		change, err := k.m.PlanWrite(lba, n)
		if err != nil {
			return err
		}
		if err := k.real.WriteData(p, lba); err != nil {
			return err
		}
		if err := k.m.Make(change); err != nil {
			return err
		}
	}
	if err := k.sm.Make(c); err != nil {
		return err
	}
	k.sh.put(i, lba, p)
	return nil
}

// serve is the child: for each command that was answered it writes the number of the worker.
func serve(name string, seed uint64) error {
	im, err := image.OpenUnclean(name, image.Options{Write: true})
	if err != nil {
		return err
	}
	st, err := live.Open(im, live.Options{})
	if err != nil {
		return err
	}
	n := st.Namespace(1)
	states, err := statesOf(n)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	errs := make([]error, workers)
	for w := range workers {
		k := newWorker(w, seed, n.Namespace, states)
		k.real, k.m = n, zns.New(n.Namespace, n, n.Counts())
		wg.Go(func() {
			for errs[w] == nil {
				if _, errs[w] = k.step(); errs[w] == nil {
					_, errs[w] = os.Stdout.Write([]byte{byte(w)})
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func statesOf(n *live.Namespace) (states []zoneState, err error) {
	for i := range n.ZoneCount {
		s, err := stateOf(n, i)
		if err != nil {
			return nil, err
		}
		states = append(states, s)
	}
	return states, nil
}

// kill starts a child and kills it after some answers; it returns how many each worker gave.
func kill(t *testing.T, name string, seed uint64, after time.Duration) (answered [workers]int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+name, fmt.Sprintf("%s_SEED=%d", childEnv, seed))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 1)
	if _, err := io.ReadFull(out, first); err != nil {
		t.Fatal(errors.Join(err, cmd.Wait()))
	}
	timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	rest, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() == 1 {
		t.Fatalf("the child was to be killed: %v", err)
	}
	for _, w := range append(first, rest...) {
		answered[w]++
	}
	return answered
}

// The process is killed under load. Everything that it answered is there, exactly, and of what it did not answer no
// more than the command that each worker had under way.
func TestKill(t *testing.T) {
	t.Parallel()
	kills := 200
	if testing.Short() {
		kills = 10
	}
	name := filepath.Join(t.TempDir(), "disk.zimg")
	s := imagetest.Spec{Layout: layout.Trailing, UUID: [16]byte{4}, Namespaces: []imagetest.SpecNamespace{{
		Namespace: layout.Namespace{
			ID: 1, CSI: layout.ZNS, BlockBits: 9, Blocks: workers * zonesOfWorker * 128, ZoneCount: workers * zonesOfWorker,
			ZoneSize: 128, ZoneCap: 120, MAR: layout.NoLimit, MOR: layout.NoLimit, ZDES: 1,
		},
	}}}
	if err := s.Create(nil, name); err != nil {
		t.Fatal(err)
	}
	base := imagetest.Seed(t)
	rng := rand.New(rand.NewPCG(base, 2))
	states := make([]zoneState, workers*zonesOfWorker)
	for i := range states {
		states[i] = zoneState{zone: s.Zone(0, uint64(i))}
	}
	commands := 0
	for round := range kills {
		seed := rng.Uint64()
		answered := kill(t, name, seed, time.Duration(rng.IntN(20_000))*time.Microsecond)
		im, err := image.OpenUnclean(name, image.Options{Write: true})
		if err != nil {
			t.Fatal(err)
		}
		st, err := live.Open(im, live.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := st.Recovery().Source; got != live.Records {
			t.Fatalf("recovered from %d", got)
		}
		n := st.Namespace(1)
		got, err := statesOf(n)
		if err != nil {
			t.Fatal(err)
		}
		for w, count := range answered {
			if err := follow(newWorker(w, seed, n.Namespace, states), count, got); err != nil {
				t.Fatalf("kill %d (-seed=%d), worker %d after %d answers: %v", round, base, w, count, err)
			}
			commands += count
		}
		if rng.IntN(2) == 0 {
			st.Abandon()
		} else if err := st.Close(); err != nil {
			t.Fatal(err)
		} else {
			for i := range got {
				got[i] = got[i].atRest(n.Namespace)
			}
		}
		if err := im.Close(); err != nil {
			t.Fatal(err)
		}
		states = got
	}
	t.Logf("%d kills, %d commands answered", kills, commands)
}

// follow runs the commands that were answered and compares; the next one may have happened.
func follow(k *worker, count int, got []zoneState) error {
	for range count {
		if _, err := k.step(); err != nil {
			return err
		}
	}
	was := append([]zoneState(nil), k.sh.zones...)
	next, err := k.step()
	if err != nil {
		return err
	}
	for i := k.first; i < k.first+zonesOfWorker; i++ {
		if got[i] != was[i] && (i != next || got[i] != k.sh.zones[i]) {
			return fmt.Errorf("zone %d: %s, want %s", i, got[i], was[i])
		}
	}
	return nil
}
