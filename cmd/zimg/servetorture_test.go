//go:build linux

package main

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"zimg/image"
	"zimg/image/drive/tcp/host"
	"zimg/image/imagetest"
	"zimg/image/zns"
	"zimg/layout"
)

// torture is a load on a drive whose target, connections, or both die again and again.
type torture struct {
	t      *testing.T
	random *rand.Rand
	path   string
	n      *layout.Namespace
	s      *served
	store  tortureStore
	// pending are the commands that were sent and not answered.
	pending [tortureZones]*tortureStep
	round   int
	answers atomic.Int64
	history [tortureZones][]string // of each zone, for messages

	// limits: the namespace has limits on open and active zones. Then commands fail for that reason, and a zone that was opened
	// implicitly may be closed at any time by a command on another zone.
	limits bool
}

// Status codes of a zone that the limits do not allow.
const (
	tooManyActive = 0x1BD
	tooManyOpen   = 0x1BE
)

// note adds to the history of zone i.
func (k *torture) note(i uint64, format string, args ...any) {
	h := append(k.history[i], fmt.Sprintf(format, args...))
	k.history[i] = h[max(len(h)-12, 0):]
}

// work keeps a command under way on every zone of one queue until the connection is lost.
func (k *torture) work(q *host.Queue, seed uint64, first uint64) error {
	random := rand.New(rand.NewPCG(seed, first))
	zones := map[uint16]uint64{} // by command
	for {
		for i := first; i < first+tortureZones/tortureQueues; i++ {
			if k.pending[i] != nil {
				continue
			}
			p := k.plan(random, i)
			k.pending[i] = p
			cid, err := q.Submit(p.cmd, p.out, nil)
			if err != nil {
				return nil //nolint:nilerr // the connection is lost, as it should be
			}
			zones[cid] = i
		}
		cpl, err := q.Next()
		if err != nil {
			return nil //nolint:nilerr // likewise
		}
		i := zones[cpl.CID]
		p := k.pending[i]
		switch code := cpl.Status & 0x7FF; {
		case k.limits && (code == tooManyActive || code == tooManyOpen):
			p.after = k.store.zones[i]
		case (cpl.Status != 0) != p.fails:
			return fmt.Errorf("zone %d: command %Xh, dword 13 %Xh: status %03Xh, the state machine says fails=%v: zone %+v",
				i, p.cmd[0], p.cmd[52:56], cpl.Status, p.fails, k.store.zones[i].zone)
		}
		k.note(i, "%02Xh, dword 13 %x: status %03Xh, now %+v", p.cmd[0], p.cmd[52:56], cpl.Status, p.after.zone)
		k.store.zones[i] = p.after
		k.pending[i] = nil
		k.answers.Add(1)
	}
}

// load runs the load, and after a random time does what kill says.
func (k *torture) load(kill func(c *host.Controller)) {
	k.t.Helper()
	c, err := connectHost(k.s, tortureQueues)
	if err != nil {
		k.t.Fatal(err)
	}
	defer c.Close()
	timer := time.AfterFunc(time.Duration(1+k.random.IntN(300_000))*time.Microsecond, func() { kill(c) })
	defer timer.Stop()
	seed := k.random.Uint64()
	errs := make([]error, tortureQueues)
	var wg sync.WaitGroup
	for i, q := range c.IO {
		wg.Go(func() { errs[i] = k.work(q, seed, uint64(i*tortureZones/tortureQueues)) })
	}
	wg.Wait()
	if err := cmp.Or(errs...); err != nil {
		k.t.Fatal(err)
	}
}

// repeat sends the writes again whose answers were lost, as Linux does: all are done then.
func (k *torture) repeat(c *host.Controller) (repeated int) {
	k.t.Helper()
	for i, p := range k.pending {
		if p == nil || p.cmd[0] != 1 || p.fails {
			continue
		}
		cpl, err := c.IO[0].Do(p.cmd, p.out, nil)
		if code := cpl.Status & 0x7FF; err == nil && k.limits && (code == tooManyActive || code == tooManyOpen) {
			k.pending[i] = nil // it had not been done before
			continue
		}
		if err == nil {
			err = cpl.Check()
		}
		if err != nil {
			k.t.Fatalf("zone %d: repeated write: %v", i, err)
		}
		k.note(uint64(i), "repeated: %+v", p.after.zone)
		k.store.zones[i], k.pending[i] = p.after, nil
		repeated++
	}
	return repeated
}

// verify compares what the target reports and reads with the model. A command that was not answered has been done, or not.
func (k *torture) verify(c *host.Controller, rest bool) {
	k.t.Helper()
	const size = layout.DescriptorSize + tortureExtSize
	report := make([]byte, layout.DescriptorSize+tortureZones*size)
	cmd := zoneCommand(0x7A, 0, uint32(len(report)/4-1), 1)
	cpl, err := c.IO[0].Do(cmd, nil, report)
	if err == nil {
		err = cpl.Check()
	}
	if err != nil {
		k.t.Fatal(err)
	}
	data := make([]byte, int(k.n.ZoneSize)*int(k.n.BlockSize()))
	var open, active uint32
	for i := range k.store.zones {
		got := report[layout.DescriptorSize+i*size:][:size]
		for lba := 0; lba < int(k.n.ZoneSize); lba += 128 {
			cmd := zoneCommand(2, uint64(i)*uint64(k.n.ZoneSize)+uint64(lba), 127, 0)
			cpl, err := c.IO[0].Do(cmd, nil, data[lba*int(k.n.BlockSize()):][:128*int(k.n.BlockSize())])
			if err == nil {
				err = cpl.Check()
			}
			if err != nil {
				k.t.Fatalf("zone %d: read: %v", i, err)
			}
		}
		states := []tortureState{k.store.zones[i]}
		if p := k.pending[i]; p != nil {
			states = append(states, p.after)
		}
		found := ""
		for s := range states {
			if rest {
				states[s].zone = zns.AtRest(k.n, states[s].zone)
			}
			if k.limits && layout.ZoneState(got[1]>>4) == layout.Closed && states[s].zone.State == layout.ImplicitlyOpened {
				states[s].zone.State = layout.Closed
			}
			difference := states[s].differs(got, data)
			if difference == "" {
				k.note(uint64(i), "as %d of %d, at rest: %v: %+v", s, len(states), rest, states[s].zone)
				k.store.zones[i], found = states[s], ""
				break
			}
			found += fmt.Sprintf("not %+v: %s\n", states[s].zone, difference)
		}
		if found != "" {
			k.t.Fatalf("round %d, zone %d:\n%s%s", k.round, i, found, strings.Join(k.history[i], "\n"))
		}
		k.pending[i] = nil
		switch k.store.zones[i].zone.State { //nolint:exhaustive // others hold no resources
		case layout.ImplicitlyOpened, layout.ExplicitlyOpened:
			open++
			active++
		case layout.Closed:
			active++
		}
	}
	if k.limits && (open > k.n.MOR+1 || active > k.n.MAR+1) {
		k.t.Errorf("round %d: %d zones are open, %d active", k.round, open, active)
	}
}

// The target, its connections, or both die at random moments under load. Each time every command that was answered is
// there exactly, with all data, and each one that was not has been done as a whole or not at all. After a dead target
// check has nothing to infer.
func TestServeTorture(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		limits string
	}{
		{"no limits", "max-open=0,max-active=0"},
		{"limits", "max-open=5,max-active=9"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			tortureServed(t, c.limits, c.name == "limits")
		})
	}
}

func tortureServed(t *testing.T, limits string, limited bool) {
	t.Helper()
	k := &torture{
		t: t, limits: limited, random: rand.New(rand.NewPCG(imagetest.Seed(t), 1)), path: filepath.Join(t.TempDir(), "d.zimg"),
	}
	zimg(t, "create", "--ns", fmt.Sprintf("zones=%d,zone-size=1M,zone-capacity=800K,block-size=4096,%s,descr-ext-size=%d",
		tortureZones, limits, tortureExtSize), k.path)
	im, err := image.Open(k.path, image.Options{})
	if err != nil {
		t.Fatal(err)
	}
	k.n = im.Namespaces()[0].Namespace
	for i := range k.store.zones {
		if k.store.zones[i].zone, err = im.Namespaces()[0].Zone(uint64(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := im.Close(); err != nil {
		t.Fatal(err)
	}
	rounds, repeated := 10*kills(t, 3), 0
	if testing.Short() {
		rounds = 6
	}
	k.s = startServing(t, "-q", "--nqn", serveNQN, k.path)
	for round := range rounds {
		k.round = round
		var rest bool
		switch round % 3 {
		case 0: // the target
			k.load(func(*host.Controller) { _ = k.s.cmd.Process.Kill() })
		case 1: // the host: its connections end in the middle of everything
			k.load(func(c *host.Controller) { c.Close() })
		case 2: // both
			k.load(func(c *host.Controller) { c.Close(); _ = k.s.cmd.Process.Kill() })
		}
		if round%3 != 1 {
			rest = k.dead(round)
			k.s.start()
		}
		c, err := connectHost(k.s, 1)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if !rest && k.random.IntN(2) == 0 {
			repeated += k.repeat(c)
		}
		k.verify(c, rest)
		c.Close()
		if t.Failed() {
			t.FailNow()
		}
	}
	t.Logf("%d kills, %d commands answered, %d writes repeated", rounds, k.answers.Load(), repeated)
	if code := k.s.end(syscall.SIGTERM); code != 0 {
		t.Fatalf("exit %d: %s", code, k.s)
	}
	zimg(t, "check", "--data", k.path)
}

// dead looks at the image of a target that was killed, and in some rounds repairs it: then its zones are at rest.
func (k *torture) dead(round int) (rest bool) {
	k.t.Helper()
	_ = k.s.cmd.Wait()
	nothingToInfer(k.t, round, k.path)
	if k.random.IntN(4) > 0 {
		return false
	}
	zimg(k.t, "check", "--repair", k.path)
	zimg(k.t, "check", "--data", k.path)
	return true
}

// nothingToInfer checks the image of a target that was killed: it says that, and that the live file has the zones. A commit that
// was interrupted leaves the older slot incomplete, which the next commit overwrites.
func nothingToInfer(t *testing.T, round int, path string) {
	t.Helper()
	out, errs, code := zimgStatus("check", path)
	said := false
	for line := range strings.Lines(errs) {
		died := strings.Contains(line, ": WARNING drive-died: ") && strings.Contains(line, "the live file has the current zones")
		said = said || died
		if !died && strings.TrimSpace(line) != "" && !strings.Contains(line, ": WARNING checksums-damaged: ") &&
			!strings.Contains(line, ": WARNING older-damaged: ") {
			t.Errorf("round %d: check: %s", round, line)
		}
	}
	if code != 3 || !said {
		t.Errorf("round %d: check: exit %d\n%s%s", round, code, out, errs)
	}
}
