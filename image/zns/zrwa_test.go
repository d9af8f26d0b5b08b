package zns_test

import (
	"errors"
	"testing"

	"pgregory.net/rapid"

	"zimg/image/zns"
	"zimg/layout"
)

// areaNamespace has zones of 16 blocks, 12 of them writable, and random write
// areas of 4 blocks that are flushed in twos.
func areaNamespace(areas uint32) *layout.Namespace {
	ns := testNamespace(4, 3, 3)
	ns.ZRWAS, ns.ZRWAFG, ns.NumZRWA = 4, 2, areas
	return ns
}

// A step of a test: a command, its error, and what zone 1 is afterwards.
type areaStep struct {
	name    string
	run     func(m *zns.Machine) error
	refused error
	state   layout.ZoneState
	wp      layout.LBA // from the start of the zone
	written layout.LBA // from the start of the zone
	area    bool
}

func openArea(m *zns.Machine) error { return m.OpenZRWA(1) }

func write(at, n layout.LBA) func(m *zns.Machine) error {
	return func(m *zns.Machine) error { return m.Write(16+at, n) }
}

func flush(at layout.LBA) func(m *zns.Machine) error {
	return func(m *zns.Machine) error { return m.FlushZRWA(16 + at) }
}

func appendOne(m *zns.Machine) error { _, err := m.Append(16, 1); return err }

// Each row is a life of zone 1 (ZNS 1.1a). A refused command changes nothing.
var areaTable = []struct {
	name  string
	steps []areaStep
}{
	{"writes in the area commit nothing", []areaStep{
		{"open", openArea, nil, expl, 0, 0, true},
		{"block 3", write(3, 1), nil, expl, 0, 4, true},
		{"block 0", write(0, 1), nil, expl, 0, 4, true},
		{"block 0 again", write(0, 1), nil, expl, 0, 4, true},
		{"blocks 0 to 3", write(0, 4), nil, expl, 0, 4, true},
	}},
	{"a write past the area commits in whole granularities", []areaStep{
		{"open", openArea, nil, expl, 0, 0, true},
		{"to the end of the area", write(2, 2), nil, expl, 0, 4, true},
		{"one block past it commits two", write(4, 1), nil, expl, 2, 5, true},
		{"before the write pointer", write(1, 1), zns.ZoneInvalidWrite, expl, 2, 5, true},
		{"across the write pointer", write(1, 2), zns.ZoneInvalidWrite, expl, 2, 5, true},
		{"past implicit flush", write(9, 2), zns.ZoneInvalidWrite, expl, 2, 5, true},
		{"to the end of implicit flush commits four", write(9, 1), nil, expl, 6, 10, true},
	}},
	{"a write as large as both regions", []areaStep{
		{"open", openArea, nil, expl, 0, 0, true},
		{"nine blocks", write(0, 9), zns.ZoneInvalidWrite, expl, 0, 0, true},
		{"eight blocks commit four", write(0, 8), nil, expl, 4, 8, true},
		{"to the capacity commits nothing that the area holds", write(8, 4), nil, expl, 8, 12, true},
		{"past the capacity", write(11, 2), zns.ZoneBoundaryError, expl, 8, 12, true},
		{"flush of the rest makes it Full", flush(11), nil, full, 0, 12, false},
		{"a write then", write(11, 1), zns.ZoneIsFull, full, 0, 12, false},
	}},
	{"explicit flush", []areaStep{
		{"open", openArea, nil, expl, 0, 0, true},
		{"of one block, half a granularity", flush(0), zns.InvalidZoneOp, expl, 0, 0, true},
		{"of two blocks that nobody wrote", flush(1), nil, expl, 2, 2, true},
		{"before the write pointer", flush(1), zns.InvalidZoneOp, expl, 2, 2, true},
		{"past the area", flush(7), zns.InvalidZoneOp, expl, 2, 2, true},
		{"of the whole area", flush(5), nil, expl, 6, 6, true},
		{"a write follows the area", write(9, 1), nil, expl, 6, 10, true},
	}},
	{"a flush without an area", []areaStep{
		{"of an Empty zone", flush(1), zns.InvalidZoneOp, empty, 0, 0, false},
		{"open without", func(m *zns.Machine) error { return m.Open(1) }, nil, expl, 0, 0, false},
		{"of an open zone", flush(1), zns.InvalidZoneOp, expl, 0, 0, false},
		{"off the write pointer", write(2, 1), zns.ZoneInvalidWrite, expl, 0, 0, false},
	}},
	{"an area is for Empty zones only", []areaStep{
		{"a write", write(0, 1), nil, impl, 1, 1, false},
		{"implicitly opened", openArea, zns.InvalidZoneOp, impl, 1, 1, false},
		{"close", func(m *zns.Machine) error { return m.Close(1) }, nil, closed, 1, 1, false},
		{"closed", openArea, zns.InvalidZoneOp, closed, 1, 1, false},
		{"finish", func(m *zns.Machine) error { return m.Finish(1) }, nil, full, 0, 1, false},
		{"full", openArea, zns.InvalidTransition, full, 0, 1, false},
		{"reset", func(m *zns.Machine) error { return m.Reset(1) }, nil, empty, 0, 0, false},
		{"empty", openArea, nil, expl, 0, 0, true},
		{"twice", openArea, zns.InvalidZoneOp, expl, 0, 0, true},
		{"opened again without asking", func(m *zns.Machine) error { return m.Open(1) }, nil, expl, 0, 0, true},
	}},
	{"no append", []areaStep{
		{"open", openArea, nil, expl, 0, 0, true},
		{"append", appendOne, zns.InvalidZoneOp, expl, 0, 0, true},
		{"reset", func(m *zns.Machine) error { return m.Reset(1) }, nil, empty, 0, 0, false},
		{"append without", appendOne, nil, impl, 1, 1, false},
	}},
	{"a Closed zone keeps its area", []areaStep{
		{"open", openArea, nil, expl, 0, 0, true},
		{"block 2", write(2, 1), nil, expl, 0, 3, true},
		{"close", func(m *zns.Machine) error { return m.Close(1) }, nil, closed, 0, 3, true},
		{"append", appendOne, zns.InvalidZoneOp, closed, 0, 3, true},
		{"write", write(1, 1), nil, impl, 0, 3, true},
		{"close again", func(m *zns.Machine) error { return m.Close(1) }, nil, closed, 0, 3, true},
		{"flush opens it", flush(3), nil, impl, 4, 4, true},
		{"open", func(m *zns.Machine) error { return m.Open(1) }, nil, expl, 4, 4, true},
	}},
	{"finish keeps what was written", []areaStep{
		{"open", openArea, nil, expl, 0, 0, true},
		{"block 2", write(2, 1), nil, expl, 0, 3, true},
		{"finish", func(m *zns.Machine) error { return m.Finish(1) }, nil, full, 0, 3, false},
	}},
	{"reset forgets it", []areaStep{
		{"open", openArea, nil, expl, 0, 0, true},
		{"block 2", write(2, 1), nil, expl, 0, 3, true},
		{"reset", func(m *zns.Machine) error { return m.Reset(1) }, nil, empty, 0, 0, false},
	}},
	{"a power cycle commits what was written", []areaStep{
		{"open", openArea, nil, expl, 0, 0, true},
		{"block 2", write(2, 1), nil, expl, 0, 3, true},
		{"power cycle", (*zns.Machine).PowerCycle, nil, closed, 4, 4, false},
		{"no area any more", openArea, zns.InvalidZoneOp, closed, 4, 4, false},
		{"on at the write pointer", write(4, 1), nil, impl, 5, 5, false},
	}},
	{"a power cycle with nothing written", []areaStep{
		{"open", openArea, nil, expl, 0, 0, true},
		{"power cycle", (*zns.Machine).PowerCycle, nil, empty, 0, 0, false},
	}},
	{"a power cycle of an area that reaches the capacity", []areaStep{
		{"open", openArea, nil, expl, 0, 0, true},
		{"eight blocks", write(0, 8), nil, expl, 4, 8, true},
		{"four more", write(8, 4), nil, expl, 8, 12, true},
		{"power cycle", (*zns.Machine).PowerCycle, nil, full, 0, 12, false},
	}},
	{"a failing zone loses its area", []areaStep{
		{"open", openArea, nil, expl, 0, 0, true},
		{"block 2", write(2, 1), nil, expl, 0, 3, true},
		{"read only", func(m *zns.Machine) error { return m.SetReadOnly(1) }, nil, ro, 0, 3, false},
		{"flush", flush(3), zns.InvalidZoneOp, ro, 0, 3, false},
	}},
	{"set-wp takes the area away", []areaStep{
		{"open", openArea, nil, expl, 0, 0, true},
		{"block 2", write(2, 1), nil, expl, 0, 3, true},
		{"set-wp", func(m *zns.Machine) error { return m.SetWP(1, 17) }, nil, closed, 1, 1, false},
	}},
}

func TestZRWA(t *testing.T) {
	t.Parallel()
	for _, row := range areaTable {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			m, store := machine(areaNamespace(2))
			for _, s := range row.steps {
				before := store.Table[1]
				err := s.run(m)
				if !errors.Is(err, s.refused) || s.refused == nil && err != nil {
					t.Fatalf("%s: error %v, want %v", s.name, err, s.refused)
				}
				z := store.Table[1]
				if err != nil && z != before {
					t.Fatalf("%s: refused, and yet changed to %+v", s.name, z)
				}
				wp := z.Start + s.wp
				if !s.state.HasWP() {
					wp = layout.NoWP
				}
				if z.State != s.state || z.WP != wp || z.Written != z.Start+s.written || (z.Attrs&layout.ZRWAV != 0) != s.area {
					t.Fatalf("%s: %+v, want %v with write pointer %d, written to %d, area %v",
						s.name, z, s.state, s.wp, s.written, s.area)
				}
				if m.Counts() != recount(store) {
					t.Fatalf("%s: counts %v, want %v", s.name, m.Counts(), recount(store))
				}
			}
		})
	}
}

// The capacity need not be a multiple of the flush granularity: the last flush is short.
func TestZRWAShortEnd(t *testing.T) {
	t.Parallel()
	ns := areaNamespace(0)
	ns.ZoneCap = 11
	m, store := machine(ns)
	for _, step := range []func(m *zns.Machine) error{openArea, write(0, 8), flush(7), flush(10)} {
		if err := step(m); err != nil {
			t.Fatal(err)
		}
	}
	if z := store.Table[1]; z.State != full || z.Written != 27 {
		t.Errorf("%+v, want it Full and written to 27", z)
	}
}

// Random write areas are a resource of their own (NUMZRWA).
func TestZRWAResources(t *testing.T) {
	t.Parallel()
	m, _ := machine(areaNamespace(2))
	for _, i := range []uint64{0, 1} {
		if err := m.OpenZRWA(i); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.OpenZRWA(2); !errors.Is(err, zns.ZRWAUnavailable) {
		t.Errorf("a third area of two: %v", err)
	}
	if err := m.Open(2); err != nil {
		t.Errorf("open without an area: %v", err)
	}
	if err := m.Reset(2); err != nil {
		t.Fatal(err)
	}
	for name, release := range map[string]func(uint64) error{"finish": m.Finish, "reset": m.Reset} {
		if err := release(1); err != nil {
			t.Fatal(err)
		}
		if err := m.Reset(1); err != nil {
			t.Fatal(err)
		}
		if err := m.OpenZRWA(1); err != nil {
			t.Errorf("after %s of one: %v", name, err)
		}
	}
	if err := m.Close(1); err != nil {
		t.Fatal(err)
	}
	if err := m.OpenZRWA(2); !errors.Is(err, zns.ZRWAUnavailable) {
		t.Errorf("a Closed zone keeps its area: %v", err)
	}
	// NUMZRWA 0: as many as may be active; areas that the store has are counted.
	ns := areaNamespace(0)
	_, store := machine(ns)
	for i := range uint64(3) {
		store.Table[i].State, store.Table[i].Attrs = closed, layout.ZRWAV
	}
	m = zns.New(ns, store, recount(store))
	if err := m.OpenZRWA(3); !errors.Is(err, zns.ZRWAUnavailable) && !errors.Is(err, zns.TooManyActiveZones) {
		t.Errorf("a fourth area with three active zones at most: %v", err)
	}
	if err := m.Reset(0); err != nil {
		t.Fatal(err)
	}
	if err := m.OpenZRWA(3); err != nil {
		t.Error(err)
	}
}

// A namespace without random write areas refuses what is about them.
func TestZRWAUnsupported(t *testing.T) {
	t.Parallel()
	m, store := machine(testNamespace(2, 0, 0))
	for _, err := range []error{m.OpenZRWA(1), m.FlushZRWA(16)} {
		if !errors.Is(err, zns.InvalidZoneOp) {
			t.Error(err)
		}
	}
	if store.Table[1].State != empty {
		t.Errorf("%+v", store.Table[1])
	}
}

// Whatever is done with random write areas, the write pointer stays on a flush
// granularity, never goes back, and the written part ends at most ZRWAS after it.
func TestZRWAInvariants(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		ns := areaNamespace(rapid.Uint32Range(0, 3).Draw(t, "areas"))
		ns.ZRWAFG = rapid.SampledFrom([]uint32{1, 2, 4}).Draw(t, "granularity")
		ns.ZoneCap = layout.LBA(rapid.IntRange(9, 16).Draw(t, "capacity"))
		m, store := machine(ns)
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			i := rapid.Uint64Range(0, 3).Draw(t, "zone")
			lba := layout.LBA(i)*16 + layout.LBA(rapid.IntRange(0, 15).Draw(t, "block"))
			before := store.Table[i]
			switch rapid.IntRange(0, 8).Draw(t, "command") {
			case 0, 1:
				_ = m.OpenZRWA(i)
			case 2, 3, 4:
				_ = m.Write(lba, layout.LBA(rapid.IntRange(1, 9).Draw(t, "blocks")))
			case 5:
				_ = m.FlushZRWA(lba)
			case 6:
				_ = m.Close(i)
			case 7:
				_ = m.Reset(i)
			case 8:
				_ = m.PowerCycle()
			}
			areas := uint64(0)
			for k, z := range store.Table {
				area := z.Attrs&layout.ZRWAV != 0
				if area {
					areas++
				}
				switch {
				case area && !z.State.Active():
					t.Fatalf("zone %d has an area: %+v", k, z)
				case area && (z.WP-z.Start)%layout.LBA(ns.ZRWAFG) != 0:
					t.Fatalf("zone %d: %+v", k, z)
				case area && (z.Written < z.WP || z.Written > z.WP+layout.LBA(ns.ZRWAS) || z.Written > z.End()):
					t.Fatalf("zone %d: %+v", k, z)
				case !area && z.State.HasWP() && z.WP != z.Written:
					t.Fatalf("zone %d: %+v", k, z)
				}
			}
			if limit := ns.MaxZRWA(); areas > limit {
				t.Fatalf("%d areas of %d", areas, limit)
			}
			z := store.Table[i]
			if z.State.HasWP() && before.State.HasWP() && z.WP < before.WP && z.State != empty {
				t.Fatalf("zone %d went back from %+v to %+v", i, before, z)
			}
		}
	})
}
