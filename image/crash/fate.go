package crash

import (
	"cmp"
	"fmt"
	"maps"
	"math/bits"
	"slices"

	"zimg/image/zns"
	"zimg/layout"
)

// Unflushed says what becomes of writes that no flush followed before the
// power failed.
type Unflushed string

// The fates of unflushed writes. A zoned drive keeps, of each zone, what was written up to
// some block: so Torn cuts the unflushed writes of each zone at one of its blocks. Of a
// namespace without zones it keeps some of the blocks of each write.
const (
	Keep Unflushed = "keep"
	Drop Unflushed = "drop"
	Torn Unflushed = "torn"
)

// Fates lists the values of Unflushed.
func Fates() []string { return []string{string(Keep), string(Drop), string(Torn)} }

// Check refuses a value that is not one of Fates.
func (u Unflushed) Check() error {
	if slices.Contains(Fates(), string(u)) {
		return nil
	}
	return fmt.Errorf("invalid value %q for unflushed writes: must be keep, drop or torn", u)
}

// tail is what is pending in a zone: its blocks from first to end.
type tail struct{ first, end layout.LBA }

// decide applies to to what survives of the pending steps, and returns the zones.
func (m *model) decide(to store, point int) (zoneSet, error) {
	set := maps.Clone(m.zones)
	tails, err := m.tails()
	if err != nil {
		return nil, err
	}
	if m.fate == Torn {
		cuts := map[zoneKey]layout.LBA{}
		for k, t := range tails {
			cuts[k] = t.first + layout.LBA(pick(uint64(t.end-t.first)+1, m.seed, uint64(point), uint64(m.ns[k.ns].ID), k.zone))
		}
		for _, s := range m.pending {
			if err := m.tear(to, set, s, cuts, point); err != nil {
				return nil, err
			}
		}
	}
	for k, z := range set {
		set[k] = zns.AtRest(m.ns[k.ns], z)
	}
	return set, m.holdFull(set, tails)
}

// tails finds, for each zone with pending writes, where those begin and end.
func (m *model) tails() (map[zoneKey]tail, error) {
	tails := map[zoneKey]tail{}
	for _, s := range m.pending {
		n := m.ns[s.NS]
		if s.Op != Write && s.Op != Zeroes || !n.Zoned() {
			continue
		}
		k := zoneKey{s.NS, s.Zone}
		t, ok := tails[k]
		if !ok {
			z, err := m.zone(m.zones, k)
			if err != nil {
				return nil, err
			}
			t = tail{z.Written, z.Written}
		}
		t.end = max(t.end, layout.LBA((s.Off+s.Length)>>n.BlockBits))
		tails[k] = t
	}
	return tails, nil
}

// tear applies a part of s: up to where its zone is cut, or some of its blocks. A
// discard happens or does not.
func (m *model) tear(to store, set zoneSet, s Step, cuts map[zoneKey]layout.LBA, point int) error {
	n := m.ns[s.NS]
	keeps := func(block int64) bool {
		return pick(2, m.seed, uint64(point), uint64(n.ID), uint64(s.Entry), uint64(block)) == 1
	}
	if s.Op == Discard {
		if keeps(0) {
			return m.apply(to, set, s, s.Length)
		}
		return nil
	}
	if n.Zoned() {
		k := zoneKey{s.NS, s.Zone}
		z, err := m.zone(set, k)
		if err != nil {
			return err
		}
		if !anywhere(z) {
			if length := min(s.Length, int64(n.ByteOff(cuts[k]))-s.Off); length > 0 {
				return m.apply(to, set, s, length)
			}
			return nil
		}
	}
	blocks := s.Length / n.BlockSize()
	for first := int64(0); first < blocks; first++ {
		end := first
		for end < blocks && keeps(end) {
			end++
		}
		if end == first {
			continue
		}
		if err := m.advance(set, s, end*n.BlockSize()); err != nil {
			return err
		}
		if err := to.put(s, first*n.BlockSize(), (end-first)*n.BlockSize()); err != nil {
			return err
		}
		first = end // which is not kept
	}
	return nil
}

// holdFull keeps to the limit of active zones. A zone that was Full and has lost its end would be
// active again; where there would be too many, it stays Full: those with the least left first.
func (m *model) holdFull(set zoneSet, tails map[zoneKey]tail) error {
	for i, n := range m.ns {
		limit := n.MaxActive()
		if limit == 0 {
			continue
		}
		active := m.base.active(i)
		var cut []zoneKey
		for k, z := range set {
			if k.ns != i {
				continue
			}
			was, err := m.base.zone(k)
			if err != nil {
				return err
			}
			switch {
			case z.State.Active() && !was.State.Active():
				active++
			case was.State.Active() && !z.State.Active():
				active--
			}
			if t, ok := tails[k]; ok && z.State.Active() && t.end >= z.End() {
				cut = append(cut, k)
			}
		}
		slices.SortFunc(cut, func(a, b zoneKey) int {
			left := func(k zoneKey) layout.LBA { return set[k].End() - set[k].Written }
			return cmp.Or(cmp.Compare(left(a), left(b)), cmp.Compare(a.zone, b.zone))
		})
		for ; active > limit && len(cut) > 0; active-- {
			z := set[cut[0]]
			z.State, z.WP = layout.Full, layout.NoWP
			set[cut[0]] = z
			cut = cut[1:]
		}
	}
	return nil
}

// pick is a number below n that follows from the seed and what it is for: the steps of
// splitmix64, and the high half of a product. A seed means the same in every version, so
// this does not change.
func pick(n, seed uint64, what ...uint64) uint64 {
	h := seed
	for _, w := range what {
		h = (h ^ w) + 0x9e3779b97f4a7c15
		h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
		h = (h ^ h>>27) * 0x94d049bb133111eb
		h ^= h >> 31
	}
	hi, _ := bits.Mul64(h, n)
	return hi
}
