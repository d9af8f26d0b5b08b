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
	ActionSetZDE  Action = 0x10
	ActionFlush   Action = 0x11 // of a zone random write area (ZNS 1.1a)
)

// Open opens zone i explicitly. A random write area that it has stays.
func (m *Machine) Open(i uint64) error { return m.made(m.PlanOpen(i, false)) }

// PlanOpen checks Open or, with area set, OpenZRWA.
func (m *Machine) PlanOpen(i uint64, area bool) (Change, error) {
	z, err := m.st.Zone(i)
	c := Change{Zone: i, From: z, To: z}
	if err != nil {
		return c, err
	}
	switch z.State {
	case layout.Empty, layout.ImplicitlyOpened, layout.ExplicitlyOpened, layout.Closed:
	default:
		return c, m.refuse(InvalidTransition, i, z, "the zone cannot be opened")
	}
	if area {
		if err := m.giveArea(&c); err != nil {
			return c, err
		}
	}
	if err := m.reserve(&c, true); err != nil {
		return c, err
	}
	c.To.State = layout.ExplicitlyOpened
	return c, nil
}

// Close closes zone i.
func (m *Machine) Close(i uint64) error { return m.made(m.PlanClose(i)) }

// PlanClose checks Close.
func (m *Machine) PlanClose(i uint64) (Change, error) {
	z, err := m.st.Zone(i)
	c := Change{Zone: i, From: z, To: z}
	if err != nil || z.State == layout.Closed {
		return c, err
	}
	if !z.State.Open() {
		return c, m.refuse(InvalidTransition, i, z, "only open zones can be closed")
	}
	c.To = closed(z)
	return c, nil
}

// closed is z, which was open; it keeps a random write area, as in QEMU.
func closed(z layout.Zone) layout.Zone {
	z.State = layout.Closed
	return z
}

// Finish makes zone i Full; how far it was written stays known. What was written
// in a random write area counts as written.
func (m *Machine) Finish(i uint64) error { return m.made(m.PlanFinish(i)) }

// PlanFinish checks Finish.
func (m *Machine) PlanFinish(i uint64) (Change, error) {
	z, err := m.st.Zone(i)
	c := Change{Zone: i, From: z, To: z}
	if err != nil || z.State == layout.Full {
		return c, err
	}
	if z.State != layout.Empty && !z.State.Active() {
		return c, m.refuse(InvalidTransition, i, z, "the zone cannot be finished")
	}
	c.To = finished(z)
	return c, nil
}

func finished(z layout.Zone) layout.Zone {
	z.State, z.WP = layout.Full, layout.NoWP
	z.Attrs &^= layout.ZRWAV
	return z
}

// Reset makes zone i Empty. The caller discards its data.
func (m *Machine) Reset(i uint64) error { return m.made(m.PlanReset(i)) }

// PlanReset checks Reset.
func (m *Machine) PlanReset(i uint64) (Change, error) {
	z, err := m.st.Zone(i)
	c := Change{Zone: i, From: z, To: z}
	if err != nil || z.State == layout.Empty {
		return c, err
	}
	if z.State != layout.Full && !z.State.Active() {
		return c, m.refuse(InvalidTransition, i, z, "the zone cannot be reset")
	}
	c.To = reset(z)
	return c, nil
}

func reset(z layout.Zone) layout.Zone {
	z.State, z.WP, z.Written = layout.Empty, z.Start, z.Start
	z.Attrs, z.AttrsInfo = 0, 0
	return z
}

// Offline makes a Read Only zone Offline.
func (m *Machine) Offline(i uint64) error { return m.made(m.PlanOffline(i)) }

// PlanOffline checks Offline.
func (m *Machine) PlanOffline(i uint64) (Change, error) {
	z, err := m.st.Zone(i)
	c := Change{Zone: i, From: z, To: z}
	if err != nil || z.State == layout.Offline {
		return c, err
	}
	if z.State != layout.ReadOnly {
		return c, m.refuse(InvalidTransition, i, z, "a command can only set Read Only zones Offline")
	}
	c.To = offline(z)
	return c, nil
}

func offline(z layout.Zone) layout.Zone {
	z.State, z.WP = layout.Offline, layout.NoWP
	z.Attrs, z.AttrsInfo = 0, 0
	return z
}

// SetExtension sets the zone descriptor extension of an Empty zone, which
// becomes Closed (ZNS 1.1, section 3.4.3.1.6). A short extension is padded with zeroes.
func (m *Machine) SetExtension(i uint64, ext []byte) error {
	c, err := m.PlanSetExtension(i, len(ext))
	if err != nil {
		return err
	}
	if err := m.st.SetExtension(i, ext); err != nil {
		return err
	}
	return m.Make(c)
}

// PlanSetExtension checks SetExtension of an extension of n bytes. Making the
// change does not store the extension: that is the caller's to do first.
func (m *Machine) PlanSetExtension(i uint64, n int) (Change, error) {
	z, err := m.st.Zone(i)
	c := Change{Zone: i, From: z, To: z}
	switch {
	case err != nil:
		return c, err
	case m.ns.ZDES == 0:
		return c, m.refuse(InvalidField, i, z, "the namespace has no zone descriptor extensions")
	case n > m.ns.ExtSize():
		return c, m.refuse(InvalidField, i, z, "extension of %d bytes is too long: at most %d", n, m.ns.ExtSize())
	case z.State != layout.Empty:
		return c, m.refuse(InvalidTransition, i, z, "extensions can only be set on Empty zones")
	}
	if err := m.reserve(&c, false); err != nil {
		return c, err
	}
	c.To.State = layout.Closed
	c.To.Attrs |= layout.ZDEV
	return c, nil
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
	z := layout.Zone{ZoneDescriptor: layout.ZoneDescriptor{State: layout.Closed}}
	return m.refuse(TooManyOpenZones, 0, z,
		"cannot open %d Closed zones: %d of %d open resources are in use", closed, m.counts.Open(), limit)
}

// Selects reports whether an action with Select All applies to a zone in state s.
func Selects(a Action, s layout.ZoneState) bool {
	switch a { //nolint:exhaustive // the others know no Select All
	case ActionClose:
		return s.Open()
	case ActionFinish:
		return s.Active()
	case ActionOpen:
		return s == layout.Closed
	case ActionReset:
		return s.Active() || s == layout.Full
	case ActionOffline:
		return s == layout.ReadOnly
	}
	return false
}

func (m *Machine) selected(a Action, i uint64, z layout.Zone) error {
	if !Selects(a, z.State) {
		return nil
	}
	switch a { //nolint:exhaustive // the others know no Select All
	case ActionClose:
		return m.Close(i)
	case ActionFinish:
		return m.Finish(i)
	case ActionOpen:
		return m.Open(i)
	case ActionReset:
		return m.Reset(i)
	case ActionOffline:
		return m.Offline(i)
	}
	return nil
}
