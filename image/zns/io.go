package zns

import (
	"fmt"

	"zimg/layout"
)

// Write writes n blocks at lba.
func (m *Machine) Write(lba, n layout.LBA) error { return m.made(m.PlanWrite(lba, n)) }

// PlanWrite checks a write of n blocks at lba, in QEMU's order: state, write
// pointer, boundary.
func (m *Machine) PlanWrite(lba, n layout.LBA) (Change, error) {
	i, z, err := m.zoneAt(lba, n)
	if err != nil {
		return Change{}, err
	}
	c := Change{Zone: i, From: z, To: z, LBA: lba}
	if z.Type == layout.Conventional {
		if lba+n > z.End() {
			return c, m.refuse(ZoneBoundaryError, i, z, "%s does not fit; the zone ends at %d", request(n, lba), z.End())
		}
		return c, nil
	}
	if err := m.checkWritable(i, z); err != nil {
		return c, err
	}
	if z.Attrs&layout.ZRWAV != 0 && z.State.Active() {
		return m.writeArea(c, n)
	}
	if lba != z.WP {
		return c, m.refuse(ZoneInvalidWrite, i, z, "write at LBA %d, but the write pointer is %d", lba, z.WP)
	}
	return m.advance(c, n)
}

// Append writes n blocks at the write pointer of the zone that begins at
// zslba, and returns the LBA that it assigned.
func (m *Machine) Append(zslba, n layout.LBA) (layout.LBA, error) {
	c, err := m.PlanAppend(zslba, n)
	return c.LBA, m.made(c, err)
}

// PlanAppend checks an append of n blocks to the zone that begins at zslba; the
// LBA of the change is the one assigned. The data of a zone with a random write area
// is placed by the host, not by an append.
func (m *Machine) PlanAppend(zslba, n layout.LBA) (Change, error) {
	i, z, err := m.zoneAt(zslba, n)
	if err != nil {
		return Change{}, err
	}
	c := Change{Zone: i, From: z, To: z, LBA: z.WP}
	if z.Attrs&layout.ZRWAV != 0 && z.State.Active() {
		return c, m.refuse(InvalidZoneOp, i, z, "cannot append to a zone with a random write area")
	}
	if z.Type == layout.Conventional || zslba != z.Start {
		return c, m.refuse(InvalidField, i, z, "append needs the start LBA of a sequential zone, not %d", zslba)
	}
	if err := m.checkWritable(i, z); err != nil {
		return c, err
	}
	return m.advance(c, n)
}

// Read checks a read of n blocks at lba.
func (m *Machine) Read(lba, n layout.LBA) error {
	i, z, err := m.zoneAt(lba, n)
	if err != nil {
		return err
	}
	last := uint64((lba + n - 1) / m.ns.ZoneSize)
	if last != i && !m.ns.CrossRead {
		return m.refuse(ZoneBoundaryError, i, z, "%s extends into zone %d", request(n, lba), i+1)
	}
	for ; i <= last; i++ {
		if z, err = m.st.Zone(i); err != nil {
			return err
		}
		if z.State == layout.Offline {
			return m.refuse(ZoneIsOffline, i, z, "the zone cannot be read")
		}
	}
	return nil
}

// request describes n blocks at lba, for the details of an error.
func request(n, lba layout.LBA) string {
	if n == 1 {
		return fmt.Sprintf("a request of 1 block at LBA %d", lba)
	}
	return fmt.Sprintf("a request of %d blocks at LBA %d", n, lba)
}

// zoneAt finds the zone that n blocks at lba begin in.
func (m *Machine) zoneAt(lba, n layout.LBA) (uint64, layout.Zone, error) {
	if n == 0 || lba >= m.ns.Blocks || n > m.ns.Blocks-lba {
		i := uint64(min(lba, m.ns.Blocks-1) / m.ns.ZoneSize)
		return i, layout.Zone{}, m.refuse(LBAOutOfRange, i, layout.Zone{}, "%s is outside the namespace, which has %d blocks", request(n, lba), m.ns.Blocks)
	}
	i := uint64(lba / m.ns.ZoneSize)
	z, err := m.st.Zone(i)
	return i, z, err
}

// checkWritable refuses states that take no write (ZNS 1.1, section 2.1.1.2).
func (m *Machine) checkWritable(i uint64, z layout.Zone) error {
	switch z.State {
	case layout.Full:
		return m.refuse(ZoneIsFull, i, z, "reset the zone to write to it again")
	case layout.ReadOnly:
		return m.refuse(ZoneIsReadOnly, i, z, "the zone cannot be written")
	case layout.Offline:
		return m.refuse(ZoneIsOffline, i, z, "the zone cannot be written")
	case layout.Empty, layout.ImplicitlyOpened, layout.ExplicitlyOpened, layout.Closed:
		return nil
	case layout.NotWP:
	}
	return m.refuse(InvalidTransition, i, z, "the zone cannot be written in this state")
}

// advance moves the write pointer of the zone of c on by n.
func (m *Machine) advance(c Change, n layout.LBA) (Change, error) {
	z := c.From
	if z.WP > z.End() || n > z.End()-z.WP {
		return c, m.refuse(ZoneBoundaryError, c.Zone, z, "%s does not fit; the capacity ends at %d", request(n, z.WP), z.End())
	}
	if err := m.reserve(&c, true); err != nil {
		return c, err
	}
	c.To = committed(opened(z), z.WP+n)
	return c, nil
}

// opened is z after a write, which opens it implicitly unless it is open.
func opened(z layout.Zone) layout.Zone {
	if !z.State.Open() {
		z.State = layout.ImplicitlyOpened
	}
	return z
}
