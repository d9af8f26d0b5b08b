package zns_test

import (
	"errors"
	"fmt"
	"testing"

	"zimg/image/zns"
	"zimg/layout"
)

// The states of the matrix, in the order of its columns.
var states = []layout.ZoneState{
	layout.Empty, layout.ImplicitlyOpened, layout.ExplicitlyOpened, layout.Closed, layout.Full, layout.ReadOnly, layout.Offline,
}

// An outcome is a state and how many blocks are written then, or a refusal.
type outcome struct {
	state   layout.ZoneState
	written layout.LBA
	refused error
}

func to(s layout.ZoneState, written layout.LBA) outcome { return outcome{s, written, nil} }
func no(s zns.Status) outcome                           { return outcome{refused: s} }

const (
	empty  = layout.Empty
	impl   = layout.ImplicitlyOpened
	expl   = layout.ExplicitlyOpened
	closed = layout.Closed
	full   = layout.Full
	ro     = layout.ReadOnly
	off    = layout.Offline
)

// matrix has one row per command and one column per state. Zones are at block 16 and
// have 12 blocks; 5 are written unless the zone is Empty. Sections are of the
// ZNS specification 1.1 unless they say otherwise.
var matrix = []struct {
	name    string
	section string
	run     func(m *zns.Machine, z layout.Zone) error
	want    [7]outcome
}{
	{
		"write 2 at the write pointer", "2.1.1.2.1, 2.1.1.3",
		func(m *zns.Machine, z layout.Zone) error { return m.Write(min(z.WP, 21), 2) },
		[7]outcome{to(impl, 2), to(impl, 7), to(expl, 7), to(impl, 7), no(zns.ZoneIsFull), no(zns.ZoneIsReadOnly), no(zns.ZoneIsOffline)},
	},
	{
		"write to the capacity", "2.1.1.3: ZSIO:ZSF, ZSEO:ZSF",
		func(m *zns.Machine, z layout.Zone) error { return m.Write(min(z.WP, 21), 28-min(z.WP, 21)) },
		[7]outcome{to(full, 12), to(full, 12), to(full, 12), to(full, 12), no(zns.ZoneIsFull), no(zns.ZoneIsReadOnly), no(zns.ZoneIsOffline)},
	},
	{
		"write over the capacity", "2.1.1.2.1: Zone Boundary Error",
		func(m *zns.Machine, z layout.Zone) error { return m.Write(min(z.WP, 21), 13) },
		[7]outcome{no(zns.ZoneBoundaryError), no(zns.ZoneBoundaryError), no(zns.ZoneBoundaryError), no(zns.ZoneBoundaryError), no(zns.ZoneIsFull), no(zns.ZoneIsReadOnly), no(zns.ZoneIsOffline)},
	},
	{
		"write off the write pointer", "2.1.1.2.1: Zone Invalid Write",
		func(m *zns.Machine, _ layout.Zone) error { return m.Write(23, 1) },
		[7]outcome{no(zns.ZoneInvalidWrite), no(zns.ZoneInvalidWrite), no(zns.ZoneInvalidWrite), no(zns.ZoneInvalidWrite), no(zns.ZoneIsFull), no(zns.ZoneIsReadOnly), no(zns.ZoneIsOffline)},
	},
	{
		"append 2", "3.4.1",
		func(m *zns.Machine, _ layout.Zone) error { _, err := m.Append(16, 2); return err },
		[7]outcome{to(impl, 2), to(impl, 7), to(expl, 7), to(impl, 7), no(zns.ZoneIsFull), no(zns.ZoneIsReadOnly), no(zns.ZoneIsOffline)},
	},
	{
		"append not at the start", "3.4.1: Invalid Field",
		func(m *zns.Machine, _ layout.Zone) error { _, err := m.Append(17, 1); return err },
		[7]outcome{no(zns.InvalidField), no(zns.InvalidField), no(zns.InvalidField), no(zns.InvalidField), no(zns.InvalidField), no(zns.InvalidField), no(zns.InvalidField)},
	},
	{
		"append over the capacity", "3.4.1: Zone Boundary Error",
		func(m *zns.Machine, _ layout.Zone) error { _, err := m.Append(16, 13); return err },
		[7]outcome{no(zns.ZoneBoundaryError), no(zns.ZoneBoundaryError), no(zns.ZoneBoundaryError), no(zns.ZoneBoundaryError), no(zns.ZoneIsFull), no(zns.ZoneIsReadOnly), no(zns.ZoneIsOffline)},
	},
	{
		"read", "2.1.1.2.2",
		func(m *zns.Machine, _ layout.Zone) error { return m.Read(16, 16) },
		[7]outcome{to(empty, 0), to(impl, 5), to(expl, 5), to(closed, 5), to(full, 5), to(ro, 5), no(zns.ZoneIsOffline)},
	},
	{
		"read into the next zone", "2.1.1.2.2: Zone Boundary Error",
		func(m *zns.Machine, _ layout.Zone) error { return m.Read(16, 17) },
		[7]outcome{no(zns.ZoneBoundaryError), no(zns.ZoneBoundaryError), no(zns.ZoneBoundaryError), no(zns.ZoneBoundaryError), no(zns.ZoneBoundaryError), no(zns.ZoneBoundaryError), no(zns.ZoneBoundaryError)},
	},
	{
		"open", "3.4.3.1.3",
		func(m *zns.Machine, _ layout.Zone) error { return m.Open(1) },
		[7]outcome{to(expl, 0), to(expl, 5), to(expl, 5), to(expl, 5), no(zns.InvalidTransition), no(zns.InvalidTransition), no(zns.InvalidTransition)},
	},
	{
		"close", "3.4.3.1.1",
		func(m *zns.Machine, _ layout.Zone) error { return m.Close(1) },
		[7]outcome{no(zns.InvalidTransition), to(closed, 5), to(closed, 5), to(closed, 5), no(zns.InvalidTransition), no(zns.InvalidTransition), no(zns.InvalidTransition)},
	},
	{
		"finish", "3.4.3.1.2",
		func(m *zns.Machine, _ layout.Zone) error { return m.Finish(1) },
		[7]outcome{to(full, 0), to(full, 5), to(full, 5), to(full, 5), to(full, 5), no(zns.InvalidTransition), no(zns.InvalidTransition)},
	},
	{
		"reset", "3.4.3.1.4",
		func(m *zns.Machine, _ layout.Zone) error { return m.Reset(1) },
		[7]outcome{to(empty, 0), to(empty, 0), to(empty, 0), to(empty, 0), to(empty, 0), no(zns.InvalidTransition), no(zns.InvalidTransition)},
	},
	{
		"offline", "3.4.3.1.5",
		func(m *zns.Machine, _ layout.Zone) error { return m.Offline(1) },
		[7]outcome{no(zns.InvalidTransition), no(zns.InvalidTransition), no(zns.InvalidTransition), no(zns.InvalidTransition), no(zns.InvalidTransition), to(off, 5), to(off, 5)},
	},
	{
		"set extension", "3.4.3.1.6",
		func(m *zns.Machine, _ layout.Zone) error { return m.SetExtension(1, []byte("x")) },
		[7]outcome{to(closed, 0), no(zns.InvalidTransition), no(zns.InvalidTransition), no(zns.InvalidTransition), no(zns.InvalidTransition), no(zns.InvalidTransition), no(zns.InvalidTransition)},
	},
	{
		"too long an extension", "3.4.3.1.6: Invalid Field",
		func(m *zns.Machine, _ layout.Zone) error { return m.SetExtension(1, make([]byte, 65)) },
		[7]outcome{no(zns.InvalidField), no(zns.InvalidField), no(zns.InvalidField), no(zns.InvalidField), no(zns.InvalidField), no(zns.InvalidField), no(zns.InvalidField)},
	},
	{
		"power cycle", "2.1.1.3, initial state",
		func(m *zns.Machine, _ layout.Zone) error {
			_ = m.Open(1) // what a machine has not opened it does not close
			return m.PowerCycle()
		},
		[7]outcome{to(empty, 0), to(closed, 5), to(closed, 5), to(closed, 5), to(full, 5), to(ro, 5), to(off, 5)},
	},
	{
		"fail to Read Only", "2.1.1.3: any state but Offline",
		func(m *zns.Machine, _ layout.Zone) error { return m.SetReadOnly(1) },
		[7]outcome{to(ro, 0), to(ro, 5), to(ro, 5), to(ro, 5), to(ro, 5), to(ro, 5), no(zns.InvalidTransition)},
	},
	{
		"fail to Offline", "2.1.1.3: any state",
		func(m *zns.Machine, _ layout.Zone) error { return m.SetOffline(1) },
		[7]outcome{to(off, 0), to(off, 5), to(off, 5), to(off, 5), to(off, 5), to(off, 5), to(off, 5)},
	},
	{
		"write pointer to the middle", "no command does",
		func(m *zns.Machine, _ layout.Zone) error { return m.SetWP(1, 19) },
		[7]outcome{to(closed, 3), to(closed, 3), to(closed, 3), to(closed, 3), to(closed, 3), to(closed, 3), to(closed, 3)},
	},
	{
		"write pointer to the start", "no command does",
		func(m *zns.Machine, _ layout.Zone) error { return m.SetWP(1, 16) },
		[7]outcome{to(empty, 0), to(empty, 0), to(empty, 0), to(empty, 0), to(empty, 0), to(empty, 0), to(empty, 0)},
	},
	{
		"write pointer to the capacity", "no command does",
		func(m *zns.Machine, _ layout.Zone) error { return m.SetWP(1, 28) },
		[7]outcome{to(full, 12), to(full, 12), to(full, 12), to(full, 12), to(full, 12), to(full, 12), to(full, 12)},
	},
	{
		"write pointer beyond the capacity", "no command does",
		func(m *zns.Machine, _ layout.Zone) error { return m.SetWP(1, 29) },
		[7]outcome{no(zns.InvalidField), no(zns.InvalidField), no(zns.InvalidField), no(zns.InvalidField), no(zns.InvalidField), no(zns.InvalidField), no(zns.InvalidField)},
	},
}

func TestMatrix(t *testing.T) {
	ns := testNamespace(3, 0, 0)
	for _, row := range matrix {
		for i, state := range states {
			t.Run(fmt.Sprintf("%s, %v", row.name, state), func(t *testing.T) {
				m, store := machine(ns, empty, state, empty)
				before := store.Table[1]
				err := row.run(m, before)
				got, want := store.Table[1], row.want[i]
				if !errors.Is(err, want.refused) || want.refused == nil && err != nil {
					t.Fatalf("%s: error %v, want %v", row.section, err, want.refused)
				}
				if want.refused != nil {
					if got != before {
						t.Errorf("%s: refused, and yet changed to %+v", row.section, got)
					}
					return
				}
				if got.State != want.state || got.Written != got.Start+want.written {
					t.Errorf("%s: %v, written %d; want %v, %d", row.section, got.State, got.Written-got.Start, want.state, want.written)
				}
				if wp := got.Written; got.State.HasWP() && got.WP != wp || !got.State.HasWP() && got.WP != layout.NoWP {
					t.Errorf("%s: WP %d in state %v, written %d", row.section, got.WP, got.State, got.Written)
				}
				if m.Counts() != recount(store) {
					t.Errorf("%s: counts %v, want %v", row.section, m.Counts(), recount(store))
				}
			})
		}
	}
}

// A write or an append that is not of the namespace at all.
func TestOutOfRange(t *testing.T) {
	m, _ := machine(testNamespace(3, 0, 0))
	for _, err := range []error{m.Write(48, 1), m.Write(47, 2), m.Write(0, 0), m.Read(48, 1), m.Read(40, 9)} {
		if !errors.Is(err, zns.LBAOutOfRange) {
			t.Error(err)
		}
	}
}
