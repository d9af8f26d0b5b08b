package image

import (
	"errors"
	"fmt"

	"zimg/image/disk"
	"zimg/image/zns"
	"zimg/layout"
)

// ZoneAction is something that ChangeZones does to zones.
type ZoneAction uint8

// The actions. Those up to FinishZones are a drive's; the others no drive offers.
const (
	ResetZones       ZoneAction = iota + 1 // Empty; data is discarded, and the space of zones given back that are Empty already
	OpenZones                              // Explicitly Opened, also at rest
	CloseZones                             // Closed
	FinishZones                            // Full
	OfflineZones                           // Offline, from any state
	ReadOnlyZones                          // Read Only, from any state but Offline
	SetZoneExtension                       // sets the extension of Empty zones
	SetZoneWP                              // moves the write pointer anywhere in the zone
)

// ZoneRange is the zones First to Last of a namespace.
type ZoneRange struct{ First, Last uint64 }

// Pointer says where SetZoneWP puts the write pointer of a zone: at a share of the zone's capacity, plus a number of
// blocks.
type Pointer struct {
	Share    float64 // 0 to 1; rounded down to whole blocks
	Blocks   int64
	Relative bool // counted from the end of what is written now, not from the start of the zone
}

// In is the place in z, zone i of namespace id. It returns a *zns.StatusError if that is before the start of the zone;
// whether it is beyond the end, zns.Machine.SetWP checks.
func (p Pointer) In(id layout.NSID, i uint64, z layout.Zone) (layout.LBA, error) {
	off := int64(float64(z.Cap)*p.Share) + min(p.Blocks, 1<<60) // no overflow: more is refused alike
	if p.Relative {
		off += int64(z.Written - min(z.Start, z.Written))
	}
	if off < 0 {
		return 0, &zns.StatusError{
			Status: zns.InvalidField, NSID: id, Zone: i, State: z.State,
			Detail: fmt.Sprintf("the write pointer would be %d blocks before the start of the zone", -off),
		}
	}
	return z.Start + layout.LBA(off), nil
}

// ZoneChange is a change of zones of one namespace.
type ZoneChange struct {
	Action ZoneAction
	Zones  []ZoneRange // at least one
	// All passes over zones to which the action does not apply, as a drive's Select
	// All does. It goes with all zones, and the first four actions.
	All       bool
	Extension []byte  // of SetZoneExtension; a shorter one is padded with zeroes
	Pointer   Pointer // of SetZoneWP
}

// selectAll are the actions that have Select All.
var selectAll = map[ZoneAction]zns.Action{
	ResetZones: zns.ActionReset, OpenZones: zns.ActionOpen, CloseZones: zns.ActionClose, FinishZones: zns.ActionFinish,
}

// ChangeZones makes a change and commits it, all of it or nothing: it returns how many
// zones are not as they were. The zones are judged first (layout.ErrDamaged); what the zone
// rules refuse is a *zns.StatusError. The order of steps is argued in write.go.
func (n *Namespace) ChangeZones(c ZoneChange) (changed uint64, err error) {
	for _, r := range c.Zones {
		if err := n.CheckZoneNumber(r.Last); err != nil {
			return 0, err
		}
		if r.First > r.Last {
			return 0, layout.Errorf(layout.ErrRange, "zones %d to %d", r.First, r.Last)
		}
		if err := n.CheckZones(r.First, r.Last); err != nil {
			return 0, err
		}
	}
	st := &changeStore{Namespace: n}
	if err := st.make(zns.New(n.Namespace, st, n.Counts()), c); err != nil {
		n.im.rollback() // nothing was committed
		return 0, err
	}
	if err := n.im.commitDiscard(st.discard); err != nil || c.Action != ResetZones {
		return st.changed, err
	}
	if err := n.releaseEmpty(c.Zones); err != nil && !errors.Is(err, disk.ErrUnsupported) {
		return st.changed, err
	}
	return st.changed, nil
}

// releaseEmpty gives the space of Empty zones back that they still have: it was reserved, or something that wrote to the
// file reset them without giving it back. There is no data in it, so nothing has to be committed.
func (n *Namespace) releaseEmpty(ranges []ZoneRange) error {
	for _, r := range ranges {
		first := r.First // of the Empty zones right before zone i
		i := r.First
		for z, err := range n.All(r.First, r.Last-r.First+1) {
			if err != nil {
				return err
			}
			if z.State != layout.Empty {
				if err := n.discard(layout.LBA(first)*n.ZoneSize, layout.LBA(i)*n.ZoneSize, disk.File.Release); err != nil {
					return err
				}
				first = i + 1
			}
			i++
		}
		if err := n.discard(layout.LBA(first)*n.ZoneSize, layout.LBA(i)*n.ZoneSize, disk.File.Release); err != nil {
			return err
		}
	}
	return nil
}

// changeStore is a namespace that remembers which zones have changed.
type changeStore struct {
	*Namespace
	changed uint64
	discard []discardedZone
}

// discardedZone is a zone whose data is discarded, from block from on.
type discardedZone struct {
	n    *Namespace
	zone uint64
	from layout.LBA
}

func (s *changeStore) make(m *zns.Machine, c ZoneChange) error {
	if all, ok := selectAll[c.Action]; ok && c.All {
		return m.All(all)
	}
	for _, r := range c.Zones {
		for i := r.First; i <= r.Last; i++ {
			if err := s.one(m, c, i); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *changeStore) one(m *zns.Machine, c ZoneChange, i uint64) error {
	switch c.Action {
	case ResetZones:
		return m.Reset(i)
	case OpenZones:
		return m.Open(i)
	case CloseZones:
		return m.Close(i)
	case FinishZones:
		return m.Finish(i)
	case OfflineZones:
		return m.SetOffline(i)
	case ReadOnlyZones:
		return m.SetReadOnly(i)
	case SetZoneExtension:
		return m.SetExtension(i, c.Extension)
	case SetZoneWP:
		z, err := s.Zone(i)
		if err != nil {
			return err
		}
		wp, err := c.Pointer.In(s.ID, i, z)
		if err != nil {
			return err
		}
		if err := m.SetWP(i, wp); err != nil {
			return err
		}
		// Data beyond it need not have been written by the rules.
		s.discard = append(s.discard, discardedZone{s.Namespace, i, wp})
		return nil
	}
	return layout.Errorf(layout.ErrRange, "invalid zone action %d", c.Action)
}

// SetZone is that of Namespace. The data of a zone that was reset goes.
func (s *changeStore) SetZone(i uint64, z layout.Zone) error {
	old, err := s.Zone(i)
	if err != nil || old == z {
		return err
	}
	if err := s.Namespace.SetZone(i, z); err != nil {
		return err
	}
	s.changed++
	if z.State == layout.Empty && old.State != layout.Empty {
		s.discard = append(s.discard, discardedZone{s.Namespace, i, z.Start})
	}
	return nil
}

// commitDiscard commits the zones as they are in memory, and then discards data of
// some of them. If discarding fails the mark stays that the image is being changed, and a
// check does the rest.
func (im *Image) commitDiscard(zones []discardedZone) error {
	if len(zones) == 0 {
		return im.Commit()
	}
	if err := im.BeginChange(); err != nil {
		im.rollback()
		return err
	}
	for _, z := range zones {
		if err := z.n.DiscardZone(z.zone, z.from); err != nil {
			return err
		}
	}
	if err := im.SyncData(); err != nil {
		return err
	}
	return im.Commit()
}
