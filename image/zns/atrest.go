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
	case z.State == layout.Full:
	case z.WP >= z.End():
		z = finished(z)
		z.Written = z.End()
	case z.WP == z.Start && z.Attrs&layout.ZDEV == 0:
		z = reset(z)
	default:
		z.State = layout.Closed
		z.Written = z.WP
	}
	return z
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
