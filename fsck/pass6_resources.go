package fsck

import (
	"fmt"
	"sort"

	"zimg/image/zns"
	"zimg/layout"
)

// checkResources compares the numbers of open and active zones with MOR and
// MAR. A repair does what a controller would: it closes, implicitly opened zones first,
// and finishes those that have the least left.
func (s *state) checkResources() error {
	for k := range s.spaces {
		sp := &s.spaces[k]
		if err := s.checkOpen(sp); err != nil {
			return err
		}
		if err := s.checkActive(sp); err != nil {
			return err
		}
	}
	return nil
}

func (s *state) checkOpen(sp *space) error {
	limit, open := sp.ns.MaxOpen(), sp.counts.Open()
	if limit == 0 || open <= limit {
		return nil
	}
	f := Finding{Code: TooManyOpen, Namespace: sp.ns.ID, Got: fmt.Sprint(open), Want: fmt.Sprintf("at most %d", limit)}
	return s.found(f, func() error {
		for _, state := range []layout.ZoneState{layout.ImplicitlyOpened, layout.ExplicitlyOpened} {
			list, err := inState(sp, func(z layout.Zone) bool { return z.State == state })
			if err != nil {
				return err
			}
			for _, c := range list {
				if sp.counts.Open() <= limit {
					return nil
				}
				if err := s.move(sp, c.i, c.zone, zns.AtRest(sp.ns, c.zone)); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func (s *state) checkActive(sp *space) error {
	limit, active := sp.ns.MaxActive(), sp.counts.Active()
	if limit == 0 || active <= limit {
		return nil
	}
	f := Finding{Code: TooManyActive, Namespace: sp.ns.ID, Got: fmt.Sprint(active), Want: fmt.Sprintf("at most %d", limit)}
	return s.found(f, func() error {
		list, err := inState(sp, func(z layout.Zone) bool { return z.State.Active() })
		if err != nil {
			return err
		}
		sort.SliceStable(list, func(i, j int) bool {
			return list[i].zone.End()-list[i].zone.Written < list[j].zone.End()-list[j].zone.Written
		})
		for _, c := range list {
			if sp.counts.Active() <= limit {
				break
			}
			z := c.zone
			z.State, z.WP = layout.Full, layout.NoWP
			z.Attrs &^= layout.ZRWAV
			if err := s.move(sp, c.i, c.zone, z); err != nil {
				return err
			}
		}
		return nil
	})
}

// candidate is a zone that may have to give up its resource.
type candidate struct {
	i    uint64
	zone layout.Zone
}

func inState(sp *space, want func(layout.Zone) bool) ([]candidate, error) {
	var list []candidate
	i := uint64(0)
	for z, err := range sp.zones.All(0, sp.ns.ZoneCount) {
		if err != nil {
			return nil, err
		}
		if want(z) {
			list = append(list, candidate{i, z})
		}
		i++
	}
	return list, nil
}

// move stores zone i and keeps the counts.
func (s *state) move(sp *space, i uint64, from, to layout.Zone) error {
	if j := from.State.Index(); j >= 0 {
		sp.counts[j]--
	}
	if j := to.State.Index(); j >= 0 {
		sp.counts[j]++
	}
	return s.setZone(sp, i, to)
}
