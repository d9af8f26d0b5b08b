package zns

import "zimg/layout"

// SetReadOnly puts zone i Read Only from any state but Offline: the failure
// that a drive's controller decides on (ZNS 1.1, section 2.1.1.2, vendor specific).
func (m *Machine) SetReadOnly(i uint64) error {
	z, err := m.injectable(i)
	if err != nil || z.State == layout.ReadOnly {
		return err
	}
	if z.State == layout.Offline {
		return m.refuse(InvalidTransition, i, z, "an Offline zone cannot change its state")
	}
	from := z
	z.State, z.WP = layout.ReadOnly, layout.NoWP
	z.Attrs &^= layout.ZRWAV
	return m.set(i, from, z)
}

// SetOffline puts zone i Offline from any state.
func (m *Machine) SetOffline(i uint64) error {
	z, err := m.injectable(i)
	if err != nil || z.State == layout.Offline {
		return err
	}
	return m.set(i, z, offline(z))
}

// SetWP puts the write pointer of zone i at wp, from its start to its capacity's
// end: the zone becomes Empty, Closed or Full by where that is. Data is not touched:
// blocks that were not written read as zeroes; blocks above wp are the caller's to discard.
func (m *Machine) SetWP(i uint64, wp layout.LBA) error {
	z, err := m.injectable(i)
	if err != nil {
		return err
	}
	if wp < z.Start || wp > z.End() {
		return m.refuse(InvalidField, i, z, "write pointer %d is outside the zone (%d to %d)", wp, z.Start, z.End())
	}
	c := Change{Zone: i, From: z}
	z.Attrs &^= layout.ZRWAV
	switch {
	case wp == z.Start && z.Attrs&layout.ZDEV == 0:
		z = reset(z)
	case wp == z.End():
		z = finished(z)
		z.Written = wp
	default:
		if err := m.reserve(&c, false); err != nil {
			return err
		}
		z.State, z.WP, z.Written = layout.Closed, wp, wp
	}
	c.To = z
	return m.Make(c)
}

// injectable returns zone i unless it is conventional.
func (m *Machine) injectable(i uint64) (layout.Zone, error) {
	z, err := m.st.Zone(i)
	if err == nil && z.Type == layout.Conventional {
		err = m.refuse(InvalidTransition, i, z, "conventional zones do not have this state")
	}
	return z, err
}
