package zns_test

import (
	"errors"
	"testing"

	"pgregory.net/rapid"

	"zimg/image/zns"
	"zimg/layout"
)

// When open resources run out an implicitly opened zone is closed, the oldest
// first; explicitly opened ones never (ZNS 1.1, section 2.1.1.4.1).
func TestOpenLimit(t *testing.T) {
	m, store := machine(testNamespace(6, 2, 0))
	for i := range layout.LBA(3) {
		if err := m.Write(i*16, 1); err != nil {
			t.Fatal(err)
		}
	}
	want := []layout.ZoneState{closed, impl, impl}
	for i, s := range want {
		if store.Table[i].State != s {
			t.Errorf("zone %d is %v, want %v", i, store.Table[i].State, s)
		}
	}
	for _, i := range []uint64{3, 4} {
		if err := m.Open(i); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Open(5); !errors.Is(err, zns.TooManyOpenZones) {
		t.Errorf("a third explicitly opened zone: %v", err)
	}
	if err := m.Write(5*16, 1); !errors.Is(err, zns.TooManyOpenZones) {
		t.Errorf("a write to a third: %v", err)
	}
	if err := m.Close(3); err != nil {
		t.Fatal(err)
	}
	if err := m.Open(5); err != nil {
		t.Error(err)
	}
}

// Active resources are not given back by closing (section 2.1.1.4.2).
func TestActiveLimit(t *testing.T) {
	m, store := machine(testNamespace(6, 2, 3))
	for i := range layout.LBA(3) {
		if err := m.Write(i*16, 1); err != nil {
			t.Fatal(err)
		}
	}
	before := append([]layout.Zone(nil), store.Table...)
	for name, err := range map[string]error{"write": m.Write(48, 1), "open": m.Open(4), "extension": m.SetExtension(5, nil), "write pointer": m.SetWP(3, 50)} {
		if !errors.Is(err, zns.TooManyActiveZones) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := range before {
		if store.Table[i] != before[i] {
			t.Errorf("zone %d has changed", i)
		}
	}
	if err := m.Finish(0); err != nil {
		t.Fatal(err)
	}
	if err := m.Write(48, 1); err != nil {
		t.Error(err)
	}
}

// Select All takes the zones whose state the action is for, and no others.
func TestSelectAll(t *testing.T) {
	all := []layout.ZoneState{empty, impl, expl, closed, full, ro, off}
	for _, c := range []struct {
		action zns.Action
		want   []layout.ZoneState
	}{
		{zns.ActionClose, []layout.ZoneState{empty, closed, closed, closed, full, ro, off}},
		{zns.ActionFinish, []layout.ZoneState{empty, full, full, full, full, ro, off}},
		{zns.ActionOpen, []layout.ZoneState{empty, impl, expl, expl, full, ro, off}},
		{zns.ActionReset, []layout.ZoneState{empty, empty, empty, empty, empty, ro, off}},
		{zns.ActionOffline, []layout.ZoneState{empty, impl, expl, closed, full, off, off}},
	} {
		m, store := machine(testNamespace(7, 0, 0), all...)
		if err := m.All(c.action); err != nil {
			t.Errorf("action %d: %v", c.action, err)
		}
		for i, s := range c.want {
			if store.Table[i].State != s {
				t.Errorf("action %d: %v became %v, want %v", c.action, all[i], store.Table[i].State, s)
			}
		}
	}
	m, store := machine(testNamespace(3, 2, 0), closed, closed, closed)
	if err := m.All(zns.ActionOpen); !errors.Is(err, zns.TooManyOpenZones) || recount(store)[closed.Index()] != 3 {
		t.Errorf("open all of three with two resources: %v", err)
	}
}

// Whatever is done in whatever order, the invariants of section 2.1.1 hold.
func TestInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		maxActive := rapid.Uint32Range(0, 4).Draw(t, "max active")
		maxOpen := rapid.Uint32Range(0, 4).Draw(t, "max open")
		if maxActive > 0 && (maxOpen == 0 || maxOpen > maxActive) {
			maxOpen = maxActive
		}
		ns := testNamespace(6, maxOpen, maxActive)
		m, store := machine(ns)
		zone := rapid.Uint64Range(0, 5)
		steps := rapid.IntRange(1, 60).Draw(t, "steps")
		for range steps {
			before := append([]layout.Zone(nil), store.Table...)
			i := zone.Draw(t, "zone")
			start := layout.LBA(i) * 16
			var err error
			switch rapid.IntRange(0, 9).Draw(t, "command") {
			case 0, 1, 2:
				_, err = m.Append(start, layout.LBA(rapid.IntRange(1, 13).Draw(t, "blocks")))
			case 3:
				err = m.Write(start+layout.LBA(rapid.IntRange(0, 12).Draw(t, "block")), 1)
			case 4:
				err = m.Open(i)
			case 5:
				err = m.Close(i)
			case 6:
				err = m.Finish(i)
			case 7:
				err = m.Reset(i)
			case 8:
				err = m.SetExtension(i, []byte("x"))
			case 9:
				if err = m.PowerCycle(); err == nil && m.Counts().Open() > 0 {
					t.Fatal("a zone is open after a power cycle")
				}
			}
			if err != nil {
				var status *zns.StatusError
				if !errors.As(err, &status) {
					t.Fatalf("no status: %v", err)
				}
				for k := range before {
					// Making room may have closed a zone before the command was refused.
					if z := store.Table[k]; z != before[k] && !(before[k].State == impl && z.State == closed) {
						t.Fatalf("%v, and zone %d has changed", err, k)
					}
				}
			}
			checkInvariants(t, ns, m, store)
		}
	})
}

// checkInvariants holds the zones against their limits, and the counts against the zones.
func checkInvariants(t *rapid.T, ns *layout.Namespace, m *zns.Machine, store *memory) {
	t.Helper()
	c := m.Counts()
	if c != recount(store) {
		t.Fatalf("counts %v, want %v", c, recount(store))
	}
	if limit := ns.MaxOpen(); limit > 0 && c.Open() > limit {
		t.Fatalf("%d zones open of %d", c.Open(), limit)
	}
	if limit := ns.MaxActive(); limit > 0 && c.Active() > limit {
		t.Fatalf("%d zones active of %d", c.Active(), limit)
	}
	for k, z := range store.Table {
		if z.State.HasWP() && (z.WP != z.Written || z.WP < z.Start || z.WP >= z.End()) || z.State == empty && z.Written != z.Start || !z.State.HasWP() && z.WP != layout.NoWP {
			t.Fatalf("zone %d: %+v", k, z)
		}
	}
}
