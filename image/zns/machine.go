// Package zns is the zone state machine of the NVMe Zoned Namespace Command
// Set, revision 1.1, with the zone random write areas of 1.1a: every transition, and the
// limits on active zones, open zones and random write areas. It is pure: zones come from
// a Store one at a time, and a command looks at no zone but those that it names or
// closes, so that a namespace may have a million zones.
//
//	machine.go  a change of zones, resources   io.go      write, append, read
//	manage.go   Zone Management Send           zrwa.go    zone random write areas
//	atrest.go   the power cycle                inject.go  what no drive offers
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

// Machine executes commands on the zones of a namespace. One goroutine at a
// time may use it.
type Machine struct {
	ns     *layout.Namespace
	st     Store
	counts layout.Counts
	// implicit lists zones that this machine opened implicitly, oldest first;
	// entries may be stale. The store may have others.
	implicit []uint64
	touched  map[uint64]bool // zones this machine opened, for PowerCycle
	// areas are the zones with a random write area; nil until somebody asks for one.
	areas map[uint64]bool
}

// New makes a machine of the zones in st; counts says how many are in which state.
func New(ns *layout.Namespace, st Store, counts layout.Counts) *Machine {
	return &Machine{ns: ns, st: st, counts: counts, touched: map[uint64]bool{}}
}

// Counts are the numbers of zones by state.
func (m *Machine) Counts() layout.Counts { return m.counts }

// A Change is what a command does to zones, checked and not yet made: between
// the two, data can be written. Plan functions return one, Make makes it.
type Change struct {
	Zone     uint64
	From, To layout.Zone // the zone before and after; equal if nothing changes
	LBA      layout.LBA  // of a write or an append: the first block written

	// closes says that zone victim is closed first, to free an open resource.
	closes bool
	victim uint64
}

// Make makes a change. The machine must not have made another one since c was planned.
func (m *Machine) Make(c Change) error {
	if c.closes {
		z, err := m.st.Zone(c.victim)
		if err != nil {
			return err
		}
		if err := m.set(c.victim, z, closed(z)); err != nil {
			return err
		}
	}
	if c.To.State.Open() {
		m.touched[c.Zone] = true
	}
	if c.To == c.From {
		return nil
	}
	return m.set(c.Zone, c.From, c.To)
}

// made makes what was planned, unless planning it failed.
func (m *Machine) made(c Change, err error) error {
	if err != nil {
		return err
	}
	return m.Make(c)
}

// refuse makes the error of a command on zone i.
func (m *Machine) refuse(s Status, i uint64, z layout.Zone, format string, args ...any) error {
	return &StatusError{Status: s, NSID: m.ns.ID, Zone: i, State: z.State, Detail: fmt.Sprintf(format, args...)}
}

// set stores zone i, which was from.
func (m *Machine) set(i uint64, from, z layout.Zone) error {
	if err := m.st.SetZone(i, z); err != nil {
		return err
	}
	if j := from.State.Index(); j >= 0 && m.counts[j] > 0 {
		m.counts[j]--
	}
	if j := z.State.Index(); j >= 0 {
		m.counts[j]++
	}
	if z.State == layout.ImplicitlyOpened && from.State != layout.ImplicitlyOpened {
		m.implicit = append(m.implicit, i)
	}
	if m.areas != nil {
		if z.Attrs&layout.ZRWAV != 0 {
			m.areas[i] = true
		} else {
			delete(m.areas, i)
		}
	}
	return nil
}

// reserve makes sure that the zone of c may become open (or, with open false,
// active). If no open resource is left an implicitly opened zone is to be closed for it
// (ZNS 1.1, section 2.1.1.4.1: the controller may).
func (m *Machine) reserve(c *Change, open bool) error {
	z := c.From
	if limit := m.ns.MaxActive(); limit > 0 && !z.State.Active() && m.counts.Active() >= limit {
		return m.refuse(TooManyActiveZones, c.Zone, z, "%d of %d zones are active; finish or reset one", m.counts.Active(), limit)
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
		return m.refuse(TooManyOpenZones, c.Zone, z, "%d of %d zones are explicitly open; close one", m.counts.Open(), limit)
	}
	c.closes, c.victim = true, victim
	return nil
}

// oldestImplicit finds the zone to close when open resources run out: the first
// that this machine opened, else the first that the store has.
func (m *Machine) oldestImplicit() (uint64, bool, error) {
	for ; len(m.implicit) > 0; m.implicit = m.implicit[1:] {
		i := m.implicit[0]
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
