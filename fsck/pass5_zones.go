package fsck

import (
	"fmt"

	"zimg/image/zns"
	"zimg/layout"
)

// checkZones judges every zone by itself: type, state, attributes, place and
// capacity, then the write pointer against the state. It needs no container.
func (s *state) checkZones() error {
	for k := range s.spaces {
		sp := &s.spaces[k]
		var asFound layout.Counts
		var header layout.Counts
		if sp.img != nil {
			header = sp.img.Counts()
		}
		i := uint64(0)
		for z, err := range sp.zones.All(0, sp.ns.ZoneCount) {
			if err != nil {
				return err
			}
			if j := z.State.Index(); j >= 0 {
				asFound[j]++
			}
			if err := s.o.context().Err(); err != nil && i%4096 == 0 {
				return err
			}
			m, err := s.checkZone(sp.ns, i, z)
			if err != nil {
				return err
			}
			if j := m.State.Index(); j >= 0 {
				sp.counts[j]++
			}
			s.summarize(sp.ns, z)
			if m != z {
				if err := s.setZone(sp, i, m); err != nil {
					return err
				}
			}
			i++
		}
		if sp.img == nil {
			continue
		}
		if asFound != header {
			f := Finding{Code: CountsWrong, Namespace: sp.ns.ID, Got: countsText(header), Want: countsText(asFound)}
			if err := s.found(f, func() error { return nil }); err != nil {
				return err
			}
		}
		s.surgeon.SetCounts(sp.img, sp.counts)
	}
	return nil
}

// summarize adds a zone to the summary, as it was found: after a repair there is a summary of another check.
func (s *state) summarize(n *layout.Namespace, z layout.Zone) {
	sum := &s.report.Summary
	sum.Zones++
	if z.State.Active() {
		sum.Active++
	}
	if z.State == layout.Full {
		sum.Full++
	}
	sum.Written += int64(n.ByteOff(min(z.Written-min(z.Start, z.Written), n.ZoneSize)))
}

// setZone stores a repaired zone, where there is somewhere to store it.
func (s *state) setZone(sp *space, i uint64, z layout.Zone) error {
	if sp.img == nil {
		return nil
	}
	return sp.img.SetZone(i, z)
}

func countsText(c layout.Counts) string {
	text := ""
	for i, n := range c {
		if n > 0 {
			text += fmt.Sprintf(", %d %v", n, layout.ZoneStates[i])
		}
	}
	if text == "" {
		return "no zones"
	}
	return text[2:]
}

// checkZone judges zone i of n and returns it as a repair would leave it.
func (s *state) checkZone(n *layout.Namespace, i uint64, z layout.Zone) (layout.Zone, error) {
	m := z
	start := layout.LBA(i) * n.ZoneSize
	var err error
	found := func(c Code, got, want string, mend func()) {
		if err == nil {
			err = s.found(Finding{Code: c, Namespace: n.ID, Zone: i, InZone: true, Got: got, Want: want}, func() error { mend(); return nil })
		}
	}
	if m.Type != layout.SeqWriteRequired && m.Type != layout.Conventional {
		found(ZoneType, m.Type.String(), "", func() { m.Type = layout.SeqWriteRequired })
	}
	if m.Start != start {
		found(ZoneStart, lba(m.Start), lba(start), func() { m.Start = start })
	}
	if m.Cap == 0 || m.Cap > n.ZoneSize {
		found(ZoneCapacity, lba(m.Cap), lba(n.ZoneCap), func() { m.Cap = n.ZoneCap })
	}
	if r := m.Attrs.Reserved(); r != 0 {
		found(ZoneAttributes, fmt.Sprintf("attributes %#02x", uint8(m.Attrs)), fmt.Sprintf("%#02x", uint8(m.Attrs&^r)), func() { m.Attrs &^= r })
	}
	if m.Type == layout.Conventional {
		if m.State != layout.NotWP || m.WP != layout.NoWP || m.Written != m.End() {
			found(ZoneConvState, m.State.String(), layout.NotWP.String(), func() { m.State, m.WP, m.Written = layout.NotWP, layout.NoWP, m.End() })
		}
		return m, err
	}
	s.checkState(n, &m, found)
	return m, err
}

// lba shows a block address, and the value that means none as such.
func lba(b layout.LBA) string {
	if b == layout.NoWP {
		return "none"
	}
	return fmt.Sprint(uint64(b))
}

// checkState judges state, write pointer and Written of a sequential zone.
func (s *state) checkState(n *layout.Namespace, m *layout.Zone, found func(c Code, got, want string, mend func())) {
	inside := func(b layout.LBA) bool { return b >= m.Start && b <= m.End() }
	if !m.State.Valid() || m.State == layout.NotWP {
		code := ZoneState
		if m.State == layout.NotWP {
			code = ZoneConvState
		}
		written := m.Start
		if inside(m.Written) {
			written = m.Written
		}
		found(code, m.State.String(), "", func() { *m = zns.WrittenTo(n, *m, written) })
		if !m.State.Valid() || m.State == layout.NotWP {
			return
		}
	}
	if !m.State.HasWP() {
		if m.WP != layout.NoWP {
			found(WPUnexpected, lba(m.WP), "none in state "+m.State.String(), func() { m.WP = layout.NoWP })
		}
		if !inside(m.Written) {
			found(WrittenRange, lba(m.Written), fmt.Sprintf("%d to %d", m.Start, m.End()), func() { m.Written = min(max(m.Written, m.Start), m.End()) })
		}
	} else {
		s.checkWP(m, found, inside)
	}
	if m.Attrs&layout.ZDEV != 0 && n.ZDES == 0 {
		found(ExtensionOrphan, "", "", func() { m.Attrs &^= layout.ZDEV })
	}
	if m.State == layout.Empty && m.Attrs&layout.ZDEV != 0 {
		found(EmptyExtension, "", "", func() { m.State = layout.Closed })
	}
	if m.State.Open() && s.o.Data != DataNever && s.flags&layout.Clean != 0 {
		found(OpenedAtRest, m.State.String(), "", func() {})
	}
}

// checkWP judges the write pointer of a zone in a state that has one.
func (s *state) checkWP(m *layout.Zone, found func(c Code, got, want string, mend func()), inside func(layout.LBA) bool) {
	switch {
	case !inside(m.WP) && inside(m.Written):
		found(WPRange, lba(m.WP), lba(m.Written), func() { m.WP = m.Written })
	case !inside(m.WP):
		want := min(max(m.Written, m.Start), m.End())
		if m.Written == layout.NoWP {
			want = m.Start
		}
		found(WPRange, lba(m.WP), lba(want), func() { m.WP, m.Written = want, want })
	case !inside(m.Written):
		found(WrittenRange, lba(m.Written), lba(m.WP), func() { m.Written = m.WP })
	case m.WP != m.Written:
		want := max(m.WP, m.Written)
		found(WPMismatch, fmt.Sprintf("WP %d, written to %d", m.WP, m.Written), lba(want), func() { m.WP, m.Written = want, want })
	}
	if m.State == layout.Empty && inside(m.WP) && m.WP > m.Start {
		found(EmptyWritten, fmt.Sprintf("WP %d", m.WP), "", func() { m.State = layout.Closed })
	}
	if m.State != layout.Empty && inside(m.WP) && m.WP == m.End() && m.WP == m.Written {
		found(FullAtCapacity, m.State.String(), layout.Full.String(), func() { m.State, m.WP = layout.Full, layout.NoWP })
	}
}
