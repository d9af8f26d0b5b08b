package zns

import "zimg/layout"

// Action is a Zone Send Action (ZNS 1.1, section 3.4.3).
type Action uint8

// Zone Send Actions.
const (
	ActionClose   Action = 0x01
	ActionFinish  Action = 0x02
	ActionOpen    Action = 0x03
	ActionReset   Action = 0x04
	ActionOffline Action = 0x05
)

// Open opens zone i explicitly.
func (m *Machine) Open(i uint64) error {
	z, err := m.st.Zone(i)
	if err != nil {
		return err
	}
	switch z.State {
	case layout.ExplicitlyOpened:
		m.touched[i] = true
		return nil
	case layout.Empty, layout.ImplicitlyOpened, layout.Closed:
	default:
		return m.refuse(InvalidTransition, i, z, "it cannot be opened")
	}
	if err := m.reserve(i, z, true); err != nil {
		return err
	}
	from := z.State
	z.State = layout.ExplicitlyOpened
	return m.set(i, from, z)
}

// Close closes zone i.
func (m *Machine) Close(i uint64) error {
	z, err := m.st.Zone(i)
	if err != nil || z.State == layout.Closed {
		return err
	}
	if !z.State.Open() {
		return m.refuse(InvalidTransition, i, z, "only an opened zone can be closed")
	}
	from := z.State
	z.State = layout.Closed
	z.Attrs &^= layout.ZRWAV
	return m.set(i, from, z)
}

// Finish makes zone i Full; how far it was written stays known.
func (m *Machine) Finish(i uint64) error {
	z, err := m.st.Zone(i)
	if err != nil || z.State == layout.Full {
		return err
	}
	if z.State != layout.Empty && !z.State.Active() {
		return m.refuse(InvalidTransition, i, z, "it cannot be finished")
	}
	return m.set(i, z.State, finished(z))
}

func finished(z layout.Zone) layout.Zone {
	z.State, z.WP = layout.Full, layout.NoWP
	z.Attrs &^= layout.ZRWAV
	return z
}

// Reset makes zone i Empty. The caller discards its data.
func (m *Machine) Reset(i uint64) error {
	z, err := m.st.Zone(i)
	if err != nil || z.State == layout.Empty {
		return err
	}
	if z.State != layout.Full && !z.State.Active() {
		return m.refuse(InvalidTransition, i, z, "it cannot be reset")
	}
	return m.set(i, z.State, reset(z))
}

func reset(z layout.Zone) layout.Zone {
	z.State, z.WP, z.Written = layout.Empty, z.Start, z.Start
	z.Attrs, z.AttrsInfo = 0, 0
	return z
}

// Offline makes a Read Only zone Offline.
func (m *Machine) Offline(i uint64) error {
	z, err := m.st.Zone(i)
	if err != nil || z.State == layout.Offline {
		return err
	}
	if z.State != layout.ReadOnly {
		return m.refuse(InvalidTransition, i, z, "only a Read Only zone goes Offline by command")
	}
	return m.set(i, z.State, offline(z))
}

func offline(z layout.Zone) layout.Zone {
	z.State, z.WP = layout.Offline, layout.NoWP
	z.Attrs, z.AttrsInfo = 0, 0
	return z
}

// SetExtension sets the zone descriptor extension of an Empty zone, which
// becomes Closed (ZNS 1.1, section 3.4.3.1.6). A short extension is padded with zeroes.
func (m *Machine) SetExtension(i uint64, ext []byte) error {
	z, err := m.st.Zone(i)
	if err != nil {
		return err
	}
	switch {
	case m.ns.ZDES == 0:
		return m.refuse(InvalidField, i, z, "the namespace has no zone descriptor extensions")
	case len(ext) > m.ns.ExtSize():
		return m.refuse(InvalidField, i, z, "an extension of %d bytes, there is room for %d", len(ext), m.ns.ExtSize())
	case z.State != layout.Empty:
		return m.refuse(InvalidTransition, i, z, "an extension can be set on an Empty zone only")
	}
	if err := m.reserve(i, z, false); err != nil {
		return err
	}
	if err := m.st.SetExtension(i, ext); err != nil {
		return err
	}
	z.State = layout.Closed
	z.Attrs |= layout.ZDEV
	return m.set(i, layout.Empty, z)
}

// All is a with Select All: it applies to the zones whose state the
// specification lists for it (ZNS 1.1, section 3.4.3), and passes over the others. Open
// all needs resources for every Closed zone at once.
func (m *Machine) All(a Action) error {
	if a == ActionOpen {
		if err := m.roomForAll(); err != nil {
			return err
		}
	}
	i := uint64(0)
	for z, err := range m.st.All(0, m.ns.ZoneCount) {
		if err != nil {
			return err
		}
		if err := m.selected(a, i, z); err != nil {
			return err
		}
		i++
	}
	return nil
}

// roomForAll refuses Open with Select All if the Closed zones would not all fit.
func (m *Machine) roomForAll() error {
	limit := m.ns.MaxOpen()
	closed := m.counts[layout.Closed.Index()]
	if limit == 0 || m.counts[layout.ExplicitlyOpened.Index()]+m.counts[layout.ImplicitlyOpened.Index()]+closed <= limit {
		return nil
	}
	return m.refuse(TooManyOpenZones, 0, layout.Zone{ZoneDescriptor: layout.ZoneDescriptor{State: layout.Closed}},
		"%d Closed zones, %d of %d open resources are taken", closed, m.counts.Open(), limit)
}

func (m *Machine) selected(a Action, i uint64, z layout.Zone) error {
	switch {
	case a == ActionClose && z.State.Open():
		return m.Close(i)
	case a == ActionFinish && z.State.Active():
		return m.Finish(i)
	case a == ActionOpen && z.State == layout.Closed:
		return m.Open(i)
	case a == ActionReset && (z.State.Active() || z.State == layout.Full):
		return m.Reset(i)
	case a == ActionOffline && z.State == layout.ReadOnly:
		return m.Offline(i)
	}
	return nil
}
