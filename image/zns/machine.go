// Package zns is the zone state machine of the NVMe Zoned Namespace Command
// Set, revision 1.1: every transition, with the limits on active and open zones. It is
// pure: zones come from a Store one at a time, and nothing is ever scanned that the
// command does not name, so that a namespace may have a million zones.
//
//	machine.go  resources, the common parts     io.go      write, append, read
//	manage.go   Zone Management Send            inject.go  what no drive does
//	status.go   status codes as errors
//
// Where the specification leaves a choice the machine does as QEMU's nvme-ns does.
package zns

import (
	"fmt"
	"iter"

	"zimg/layout"
)

// Store holds the zones of one namespace.
type Store interface {
	Zone(i uint64) (layout.Zone, error)
	SetZone(i uint64, z layout.Zone) error
	SetExtension(i uint64, ext []byte) error
	All(first, count uint64) iter.Seq2[layout.Zone, error]
}

// Machine executes commands on the zones of a namespace.
type Machine struct {
	ns     *layout.Namespace
	st     Store
	counts layout.Counts
	// implicit lists zones that this machine opened implicitly, oldest first;
	// entries may be stale. The store may have others.
	implicit []uint64
	touched  map[uint64]bool // zones this machine opened, for PowerCycle
}

// New makes a machine of the zones in st, of which counts says how many are in
// which state.
func New(ns *layout.Namespace, st Store, counts layout.Counts) *Machine {
	return &Machine{ns: ns, st: st, counts: counts, touched: map[uint64]bool{}}
}

// Counts are the numbers of zones by state.
func (m *Machine) Counts() layout.Counts { return m.counts }

// refuse makes the error of a command on zone i.
func (m *Machine) refuse(s Status, i uint64, z layout.Zone, format string, args ...any) error {
	return &StatusError{Status: s, NSID: m.ns.ID, Zone: i, State: z.State, Detail: fmt.Sprintf(format, args...)}
}

// set stores zone i, which was in state from.
func (m *Machine) set(i uint64, from layout.ZoneState, z layout.Zone) error {
	if err := m.st.SetZone(i, z); err != nil {
		return err
	}
	if j := from.Index(); j >= 0 && m.counts[j] > 0 {
		m.counts[j]--
	}
	if j := z.State.Index(); j >= 0 {
		m.counts[j]++
	}
	if z.State.Open() {
		m.touched[i] = true
	}
	if z.State == layout.ImplicitlyOpened && from != layout.ImplicitlyOpened {
		m.implicit = append(m.implicit, i)
	}
	return nil
}

// reserve makes sure that zone i, in the state of z, may become open (or, with
// open false, active): an implicitly opened zone is closed for it if no open resource is
// left (ZNS 1.1, section 2.1.1.4.1: the controller may).
func (m *Machine) reserve(i uint64, z layout.Zone, open bool) error {
	if limit := m.ns.MaxActive(); limit > 0 && !z.State.Active() && m.counts.Active() >= limit {
		return m.refuse(TooManyActiveZones, i, z, "%d of %d zones are active: finish or reset one", m.counts.Active(), limit)
	}
	limit := m.ns.MaxOpen()
	if !open || limit == 0 || z.State.Open() || m.counts.Open() < limit {
		return nil
	}
	victim, found, err := m.oldestImplicit()
	if err != nil {
		return err
	}
	if !found {
		return m.refuse(TooManyOpenZones, i, z, "%d of %d zones are open, all of them explicitly: close one", m.counts.Open(), limit)
	}
	return m.Close(victim)
}

// oldestImplicit finds the zone to close when open resources run out: the first
// that this machine opened, else the first that the store has.
func (m *Machine) oldestImplicit() (uint64, bool, error) {
	for len(m.implicit) > 0 {
		i := m.implicit[0]
		m.implicit = m.implicit[1:]
		z, err := m.st.Zone(i)
		if err != nil {
			return 0, false, err
		}
		if z.State == layout.ImplicitlyOpened {
			return i, true, nil
		}
	}
	if m.counts[layout.ImplicitlyOpened.Index()] == 0 {
		return 0, false, nil
	}
	i := uint64(0)
	for z, err := range m.st.All(0, m.ns.ZoneCount) {
		if err != nil {
			return 0, false, err
		}
		if z.State == layout.ImplicitlyOpened {
			return i, true, nil
		}
		i++
	}
	return 0, false, nil
}

// PowerCycle closes the zones that this machine opened, as a power-down in
// order does (ZNS 1.1, section 2.1.1.3, the initial state of a zone): a zone with
// nothing written and no extension becomes Empty.
func (m *Machine) PowerCycle() error {
	for i := range m.touched {
		z, err := m.st.Zone(i)
		if err != nil {
			return err
		}
		if err := m.set(i, z.State, AtRest(z)); err != nil {
			return err
		}
	}
	m.touched = map[uint64]bool{}
	m.implicit = nil
	return nil
}

// AtRest is z after a power cycle: no zone is open, and none is Closed without a reason.
func AtRest(z layout.Zone) layout.Zone {
	z.Attrs &^= layout.ZRWAV
	if !z.State.Active() {
		return z
	}
	if z.WP == z.Start && z.Attrs&layout.ZDEV == 0 {
		z.State = layout.Empty
		z.Attrs, z.AttrsInfo = 0, 0
		return z
	}
	z.State = layout.Closed
	return z
}
