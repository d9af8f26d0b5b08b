package zns

import "zimg/layout"

// A zone random write area (ZRWA; ZNS 1.1a) is the ZRWAS blocks from the write
// pointer on of a zone that was opened with one. They can be written in any order and
// again, until they are committed, which moves the write pointer and the area with it:
//
//	 ZSLBA          WP                  WP + ZRWAS          WP + 2 * ZRWAS
//	+--------------+-------------------+-------------------+---------------
//	| committed    | the area          | implicit flush    | refused
//	+--------------+-------------------+-------------------+---------------
//
//	write in the area               nothing is committed
//	write ending in implicit flush  commits as many blocks, in whole flush granularities
//	                                (ZRWAFG), as bring its end into the area
//	flush (Zone Send Action 11h)    commits up to the block named
//	commit of the last block        the zone is Full
//
// A zone keeps its area while it is active, Closed or open; Full, Empty, Read Only and
// Offline zones have none. Written says how far such a zone has been written, past the
// write pointer.

// OpenZRWA opens zone i explicitly and gives it a random write area (Open with
// the ZRWAA bit). Only an Empty zone can get one.
func (m *Machine) OpenZRWA(i uint64) error { return m.made(m.PlanOpen(i, true)) }

// FlushZRWA commits the random write area of a zone up to block lba and with it.
// A Closed zone is opened implicitly, as QEMU does.
func (m *Machine) FlushZRWA(lba layout.LBA) error { return m.made(m.PlanFlushZRWA(lba)) }

// PlanFlushZRWA checks FlushZRWA.
func (m *Machine) PlanFlushZRWA(lba layout.LBA) (Change, error) {
	i, z, err := m.zoneAt(lba, 1)
	if err != nil {
		return Change{}, err
	}
	c := Change{Zone: i, From: z, To: z, LBA: lba}
	end := lba + 1
	switch {
	case m.ns.ZRWAS == 0:
		return c, m.refuse(InvalidZoneOp, i, z, "the namespace has no zone random write areas")
	case z.Attrs&layout.ZRWAV == 0 || !z.State.Active():
		return c, m.refuse(InvalidZoneOp, i, z, "the zone has no random write area")
	case lba < z.WP || end > z.WP+layout.LBA(m.ns.ZRWAS) || end > z.End():
		return c, m.refuse(InvalidZoneOp, i, z, "a flush up to LBA %d is outside the random write area of %d blocks at LBA %d",
			lba, min(layout.LBA(m.ns.ZRWAS), z.End()-z.WP), z.WP)
	case (end-z.WP)%layout.LBA(m.ns.ZRWAFG) != 0 && end != z.End():
		return c, m.refuse(InvalidZoneOp, i, z, "a flush of %d blocks is not a multiple of the flush granularity, %d", end-z.WP, m.ns.ZRWAFG)
	}
	if err := m.reserve(&c, true); err != nil {
		return c, err
	}
	c.To = committed(opened(z), end)
	return c, nil
}

// Commit is where the write pointer of z, which has or had a random write area,
// must be for everything before block end to be committed: whole flush granularities
// on, but not past the capacity.
func Commit(n *layout.Namespace, z layout.ZoneDescriptor, end layout.LBA) layout.LBA {
	if end <= z.WP {
		return z.WP
	}
	fg := max(1, layout.LBA(n.ZRWAFG))
	return min(z.End(), z.WP+(end-z.WP+fg-1)/fg*fg)
}

// committed is z with its write pointer moved on to wp.
func committed(z layout.Zone, wp layout.LBA) layout.Zone {
	z.WP = wp
	z.Written = max(z.Written, wp)
	if wp == z.End() {
		z = finished(z)
	}
	return z
}

// writeArea plans a write of n blocks at lba into zone i, which has a random
// write area. The order of the checks is QEMU's.
func (m *Machine) writeArea(c Change, n layout.LBA) (Change, error) {
	z, size, end := c.From, layout.LBA(m.ns.ZRWAS), c.LBA+n
	switch {
	case c.LBA < z.WP || end > z.WP+2*size:
		return c, m.refuse(ZoneInvalidWrite, c.Zone, z, "%s is outside the random write area of %d blocks at LBA %d",
			request(n, c.LBA), size, z.WP)
	case end > z.End():
		return c, m.refuse(ZoneBoundaryError, c.Zone, z, "%s does not fit; the capacity ends at %d", request(n, c.LBA), z.End())
	}
	if err := m.reserve(&c, true); err != nil {
		return c, err
	}
	c.To = opened(z)
	c.To.Written = max(z.Written, end)
	if end > z.WP+size {
		c.To = committed(c.To, Commit(m.ns, z.ZoneDescriptor, end-size))
	}
	return c, nil
}

// giveArea gives the zone of c a random write area, if it may have one.
func (m *Machine) giveArea(c *Change) error {
	if m.ns.ZRWAS == 0 {
		return m.refuse(InvalidZoneOp, c.Zone, c.From, "the namespace has no zone random write areas")
	}
	if c.From.State != layout.Empty {
		return m.refuse(InvalidZoneOp, c.Zone, c.From, "only an Empty zone can get a random write area")
	}
	if err := m.countAreas(); err != nil {
		return err
	}
	if limit := m.ns.MaxZRWA(); limit > 0 && uint64(len(m.areas)) >= limit {
		return m.refuse(ZRWAUnavailable, c.Zone, c.From, "%d of %d random write areas are in use; finish or reset a zone",
			len(m.areas), limit)
	}
	c.To.Attrs |= layout.ZRWAV
	return nil
}

// countAreas finds the zones that have a random write area. It looks through the
// store once, and not at all if no zone is active.
func (m *Machine) countAreas() error {
	if m.areas != nil {
		return nil
	}
	areas := map[uint64]bool{}
	if m.counts.Active() > 0 {
		i := uint64(0)
		for z, err := range m.st.All(0, m.ns.ZoneCount) {
			if err != nil {
				return err
			}
			if z.Attrs&layout.ZRWAV != 0 && z.State.Active() {
				areas[i] = true
			}
			i++
		}
	}
	m.areas = areas
	return nil
}
