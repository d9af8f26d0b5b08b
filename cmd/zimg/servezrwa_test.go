//go:build linux

package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"zimg/image/drive/tcp/host"
	"zimg/image/imagetest"
	"zimg/image/zns"
	"zimg/layout"
)

// zoneTable is the zones that a drive should have.
type zoneTable []layout.Zone

func (t zoneTable) Zone(i uint64) (layout.Zone, error) { return t[i], nil }

func (t zoneTable) SetZone(i uint64, z layout.Zone) error {
	t[i] = z
	return nil
}

func (t zoneTable) SetExtension(uint64, []byte) error { return nil }

func (t zoneTable) All(first, count uint64) iter.Seq2[layout.Zone, error] {
	return func(yield func(layout.Zone, error) bool) {
		for _, z := range t[first : first+count] {
			if !yield(z, nil) {
				return
			}
		}
	}
}

// zrwaNamespace is the namespace of zrwaRig.
var zrwaNamespace = layout.Namespace{
	ID: 1, CSI: layout.ZNS, BlockBits: 12, Blocks: 4 * 64, ZoneCount: 4, ZoneSize: 64, ZoneCap: 64,
	MAR: layout.NoLimit, MOR: layout.NoLimit, ZRWAS: 8, ZRWAFG: 2, NumZRWA: 2,
}

// zrwaRig is a host of a served image with random write areas, and what the image should hold.
type zrwaRig struct {
	t      *testing.T
	rng    *rand.Rand
	q      *host.Queue
	zones  zoneTable
	m      *zns.Machine
	blocks [4 * 64]byte
	fill   byte
	sent   map[[2]uint64]bool // writes that may have been executed: LBA and number of blocks
}

// command is a random command, with what it does to the zones; the count is of blocks that are written.
func (r *zrwaRig) command() (cmd host.Command, lba uint64, count int, plan func(*zns.Machine) error) {
	i := uint64(r.rng.IntN(4))
	z := r.zones[i]
	start, wp := uint64(z.Start), uint64(z.WP)
	if z.WP == layout.NoWP {
		wp = start
	}
	manage := func(at uint64, action uint32, plan func(*zns.Machine) error) (host.Command, uint64, int, func(*zns.Machine) error) {
		return zoneCommand(0x79, at, 0, action), at, 0, plan
	}
	switch r.rng.IntN(16) {
	case 0:
		return manage(start, 4, func(m *zns.Machine) error { return m.Reset(i) })
	case 1, 2, 3:
		return manage(start, 3|1<<9, func(m *zns.Machine) error { return m.OpenZRWA(i) })
	case 4:
		return manage(start, 1, func(m *zns.Machine) error { return m.Close(i) })
	case 5:
		if r.rng.IntN(4) == 0 {
			return manage(start, 2, func(m *zns.Machine) error { return m.Finish(i) })
		}
		fallthrough
	case 6, 7:
		at := wp + uint64(r.rng.IntN(10))
		return manage(at, 0x11, func(m *zns.Machine) error { return m.FlushZRWA(layout.LBA(at)) })
	}
	at, n := wp+uint64(r.rng.IntN(14)), 1+r.rng.IntN(4)
	if at+uint64(n) > 4*64 {
		at = start
	}
	return zoneCommand(1, at, uint32(n-1), 0), at, n, func(m *zns.Machine) error { return m.Write(layout.LBA(at), layout.LBA(n)) }
}

// step runs a random command. It returns false if the target has died; the command may have been executed then.
func (r *zrwaRig) step() (alive bool, lba uint64, count int, before zoneTable) {
	r.t.Helper()
	cmd, lba, count, plan := r.command()
	before = slices.Clone(r.zones)
	want := plan(r.m)
	var data []byte
	if count > 0 {
		r.fill = max(1, r.fill+1)
		data = bytes.Repeat([]byte{r.fill}, count*4096)
	}
	cpl, err := r.q.Do(cmd, data, nil)
	if err != nil {
		r.sent[[2]uint64{lba, uint64(count)}] = count > 0
		return false, lba, count, before
	}
	extent := [2]uint64{lba, uint64(count)}
	if want != nil && count > 0 && statusField(cpl) == 0 && r.sent[extent] {
		r.wrote(lba, count) // a write that was sent before, whose answer may have been lost: its data is written again
		return true, lba, count, before
	}
	if (statusField(cpl) == 0) != (want == nil) {
		r.t.Fatalf("command %#x at LBA %d, %d blocks: status %#x, want %v", cmd[0], lba, count, statusField(cpl), want)
	}
	if want == nil {
		r.sent[extent] = count > 0
		r.wrote(lba, count)
		r.reset(before)
	}
	return true, lba, count, before
}

func (r *zrwaRig) wrote(lba uint64, count int) {
	for k := range count {
		r.blocks[lba+uint64(k)] = r.fill
	}
}

// reset forgets the blocks of zones that have been reset since before.
func (r *zrwaRig) reset(before zoneTable) {
	for i, z := range r.zones {
		if z.State == layout.Empty && before[i].State != layout.Empty {
			clear(r.blocks[i*64 : (i+1)*64])
		}
	}
}

// reported are the zones as the drive reports them.
func (r *zrwaRig) reported() (zones []layout.Zone) {
	r.t.Helper()
	b := make([]byte, 64+4*64)
	if cpl, err := r.q.Do(zoneCommand(0x7A, 0, uint32(len(b)/4-1), 0), nil, b); err != nil || statusField(cpl) != 0 {
		r.t.Fatalf("report: %+v, %v", cpl, err)
	}
	for i := range 4 {
		d := b[64+64*i:]
		var z layout.Zone
		z.State, z.Attrs, z.WP = layout.ZoneState(d[1]>>4), layout.ZoneAttrs(d[2]), layout.LBA(binary.LittleEndian.Uint64(d[24:]))
		zones = append(zones, z)
	}
	return zones
}

// matches says how the drive differs from zones, "" if it does not.
func matches(got []layout.Zone, zones zoneTable) string {
	for i, z := range zones {
		if g := got[i]; g.State != z.State || g.Attrs != z.Attrs || g.WP != z.WP {
			return fmt.Sprintf("zone %d is %v with write pointer %d and attributes %#x, want %v, %d and %#x", i, g.State, g.WP, g.Attrs, z.State, z.WP, z.Attrs)
		}
	}
	return ""
}

// check compares the drive with the model after the target has died: the last command was executed, or was not.
func (r *zrwaRig) check(lba uint64, count int, before zoneTable) {
	r.t.Helper()
	got := r.reported()
	after, without := matches(got, r.zones), matches(got, before)
	if after != "" && without != "" {
		r.t.Fatalf("%s; or, without the last command, %s", after, without)
	}
	if after == "" && without == "" && !slices.Equal(r.zones, before) {
		// A write into the area shows in no report. The host repeats it, as one does that has no answer.
		data := bytes.Repeat([]byte{r.fill}, count*4096)
		if cpl, err := r.q.Do(zoneCommand(1, lba, uint32(count-1), 0), data, nil); err != nil || statusField(cpl) != 0 {
			r.t.Fatalf("repeated write at LBA %d: %+v, %v", lba, cpl, err)
		}
	}
	if after != "" {
		copy(r.zones, before)
	} else {
		r.reset(before)
	}
	r.m = zns.New(&zrwaNamespace, r.zones, counts(r.zones))
	b := make([]byte, 4096)
	for k := range r.blocks {
		if cpl, err := r.q.Do(zoneCommand(2, uint64(k), 0, 0), nil, b); err != nil || statusField(cpl) != 0 {
			r.t.Fatalf("read: %+v, %v", cpl, err)
		}
		last := uint64(k) >= lba && uint64(k) < lba+uint64(count)
		if b[0] != r.blocks[k] && !(last && b[0] == r.fill) {
			r.t.Fatalf("block %d is %d, want %d", k, b[0], r.blocks[k])
		}
		r.blocks[k] = b[0]
	}
}

func counts(zones zoneTable) (c layout.Counts) {
	for _, z := range zones {
		c[z.State.Index()]++
	}
	return c
}

// Zones with random write areas, over the network: writes in the window in any order, commits by commands and by writes
// beyond it, the limit on areas; and the target is killed in between. Every zone is exact, its area included.
func TestServeRandomWriteAreas(t *testing.T) {
	t.Parallel()
	kills := 12
	if testing.Short() {
		kills = 3
	}
	rng := rand.New(rand.NewPCG(imagetest.Seed(t), 1))
	path := filepath.Join(t.TempDir(), "d.zimg")
	zimg(t, "create", "-q", "--zones", "4", "--zone-size", "256K", "--block-size", "4096", "--zrwas", "32K", "--zrwafg", "8K", "--numzrwa", "2", path)
	s := startServing(t, "-q", "--nqn", serveNQN, path)
	r := &zrwaRig{t: t, rng: rng, sent: map[[2]uint64]bool{}}
	for i := range uint64(4) {
		r.zones = append(r.zones, zrwaNamespace.EmptyZone(i))
	}
	r.m = zns.New(&zrwaNamespace, r.zones, counts(r.zones))
	commands := 0
	for range kills {
		c, err := connectHost(s, 1)
		if err != nil {
			t.Fatal(err)
		}
		r.q = c.IO[0]
		r.check(0, 0, slices.Clone(r.zones))
		timer := time.AfterFunc(time.Duration(30+rng.IntN(300))*time.Millisecond, func() { _ = s.cmd.Process.Kill() })
		for {
			alive, lba, count, before := r.step()
			if alive {
				commands++
				continue
			}
			timer.Stop()
			s.restart(syscall.SIGKILL)
			c.Close()
			if c, err = connectHost(s, 1); err != nil {
				t.Fatal(err)
			}
			r.q = c.IO[0]
			r.check(lba, count, before)
			break
		}
		c.Close()
	}
	t.Logf("%d kills, %d commands", kills, commands)
	if code := s.end(syscall.SIGTERM); code != 0 {
		t.Fatalf("exit %d: %s", code, s)
	}
	for i, z := range r.zones {
		rest := zns.AtRest(&zrwaNamespace, z)
		out := zimg(t, "report", "-o", "csv", "--zone", fmt.Sprint(i), path)
		if want := fmt.Sprintf(",%d,%d,%d,", rest.Start, 64, 64); !bytes.Contains([]byte(out), []byte(want)) {
			t.Errorf("zone %d: %s, want %s", i, out, want)
		}
		if rest.State.HasWP() && !bytes.Contains([]byte(out), fmt.Appendf(nil, ",%d,%d,", rest.WP, rest.Written-rest.Start)) {
			t.Errorf("zone %d: %s, want %+v", i, out, rest)
		}
	}
	zimg(t, "check", "--data", path)
}
