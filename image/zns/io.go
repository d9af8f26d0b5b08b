package zns

import "zimg/layout"

// Write writes n blocks at lba: the checks are made in QEMU's order: state,
// write pointer, boundary.
func (m *Machine) Write(lba, n layout.LBA) error {
	i, z, err := m.zoneAt(lba, n)
	if err != nil {
		return err
	}
	if z.Type == layout.Conventional {
		if lba+n > z.End() {
			return m.refuse(ZoneBoundaryError, i, z, "%d blocks at LBA %d, the zone ends at %d", n, lba, z.End())
		}
		return nil
	}
	if err := m.writable(i, z); err != nil {
		return err
	}
	if lba != z.WP {
		return m.refuse(ZoneInvalidWrite, i, z, "a write at LBA %d, the write pointer is at %d", lba, z.WP)
	}
	return m.advance(i, z, n)
}

// Append writes n blocks at the write pointer of the zone that begins at
// zslba, and returns the LBA that it assigned.
func (m *Machine) Append(zslba, n layout.LBA) (layout.LBA, error) {
	i, z, err := m.zoneAt(zslba, n)
	if err != nil {
		return 0, err
	}
	if z.Type == layout.Conventional || zslba != z.Start {
		return 0, m.refuse(InvalidField, i, z, "an append names the start of a sequential zone, not LBA %d", zslba)
	}
	if err := m.writable(i, z); err != nil {
		return 0, err
	}
	return z.WP, m.advance(i, z, n)
}

// Read checks a read of n blocks at lba.
func (m *Machine) Read(lba, n layout.LBA) error {
	i, z, err := m.zoneAt(lba, n)
	if err != nil {
		return err
	}
	last := uint64((lba + n - 1) / m.ns.ZoneSize)
	if last != i && !m.ns.CrossRead {
		return m.refuse(ZoneBoundaryError, i, z, "%d blocks at LBA %d cross into zone %d", n, lba, i+1)
	}
	for ; i <= last; i++ {
		if z, err = m.st.Zone(i); err != nil {
			return err
		}
		if z.State == layout.Offline {
			return m.refuse(ZoneIsOffline, i, z, "it cannot be read")
		}
	}
	return nil
}

// zoneAt finds the zone that n blocks at lba begin in.
func (m *Machine) zoneAt(lba, n layout.LBA) (uint64, layout.Zone, error) {
	if n == 0 || lba >= m.ns.Blocks || n > m.ns.Blocks-lba {
		i := uint64(min(lba, m.ns.Blocks-1) / m.ns.ZoneSize)
		return i, layout.Zone{}, m.refuse(LBAOutOfRange, i, layout.Zone{ZoneDescriptor: layout.ZoneDescriptor{State: layout.NotWP}}, "%d blocks at LBA %d, the namespace has %d", n, lba, m.ns.Blocks)
	}
	i := uint64(lba / m.ns.ZoneSize)
	z, err := m.st.Zone(i)
	return i, z, err
}

// writable refuses states that take no write (ZNS 1.1, section 2.1.1.2).
func (m *Machine) writable(i uint64, z layout.Zone) error {
	switch z.State {
	case layout.Full:
		return m.refuse(ZoneIsFull, i, z, "reset it to write again")
	case layout.ReadOnly:
		return m.refuse(ZoneIsReadOnly, i, z, "it cannot be written")
	case layout.Offline:
		return m.refuse(ZoneIsOffline, i, z, "it cannot be written")
	case layout.Empty, layout.ImplicitlyOpened, layout.ExplicitlyOpened, layout.Closed:
		return nil
	case layout.NotWP:
	}
	return m.refuse(InvalidTransition, i, z, "it cannot be written in this state")
}

// advance moves the write pointer of zone i by n.
func (m *Machine) advance(i uint64, z layout.Zone, n layout.LBA) error {
	if n > z.End()-z.WP {
		return m.refuse(ZoneBoundaryError, i, z, "%d blocks at LBA %d, the capacity ends at %d", n, z.WP, z.End())
	}
	if err := m.reserve(i, z, true); err != nil {
		return err
	}
	from := z.State
	if !z.State.Open() {
		z.State = layout.ImplicitlyOpened
	}
	z.WP += n
	z.Written = z.WP
	if z.WP == z.End() {
		z.State, z.WP = layout.Full, layout.NoWP
		z.Attrs &^= layout.ZRWAV
	}
	return m.set(i, from, z)
}
