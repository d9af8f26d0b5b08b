package zns

import "zimg/layout"

// AtRest is z as it is after a power cycle (ZNS 1.1, section 2.1.1.3, the initial
// state of a zone). It is the one rule for that, wherever zones come from:
//
//	before the power cycle                           after it
//	-----------------------------------------------  -----------------------------------
//	opened or Closed, written to the capacity        Full
//	opened or Closed, something written, or ZDEV     Closed
//	opened or Closed, nothing written, no ZDEV       Empty, all attributes cleared
//	Empty, Full, Read Only, Offline, conventional    the same state
//
// No zone has a random write area afterwards. What was written in one is committed:
// a write that was acknowledged and flushed must survive, and only the write pointer can
// say so once the area is gone. The write pointer moves on by whole flush granularities.
func AtRest(n *layout.Namespace, z layout.Zone) layout.Zone {
	area := z.Attrs&layout.ZRWAV != 0
	z.Attrs &^= layout.ZRWAV
	if !z.State.Active() {
		return z
	}
	if area && z.Written > z.WP {
		z = committed(z, Commit(n, z.ZoneDescriptor, z.Written))
	}
	switch {
	case z.State == layout.Full || z.WP != z.Written: // the latter is damage, and not hidden
		return z
	case z.WP == z.End():
		return finished(z)
	case z.WP == z.Start && z.Attrs&layout.ZDEV == 0:
		return reset(z)
	}
	z.State = layout.Closed
	return z
}

// WrittenTo is z, a sequential zone, as it is at rest when it is written up to
// block end and nothing more is known of it: Empty, Closed or Full. An extension that it
// has stays.
func WrittenTo(n *layout.Namespace, z layout.Zone, end layout.LBA) layout.Zone {
	z.Attrs &^= layout.ZRWAV
	z.State, z.WP, z.Written = layout.Closed, end, end
	return AtRest(n, z)
}

// PowerCycle closes the zones that this machine opened, as a power-down does.
func (m *Machine) PowerCycle() error {
	for i := range m.touched {
		z, err := m.st.Zone(i)
		if err != nil {
			return err
		}
		if err := m.set(i, z, AtRest(m.ns, z)); err != nil {
			return err
		}
	}
	m.touched = map[uint64]bool{}
	m.implicit = nil
	return nil
}
