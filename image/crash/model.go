package crash

import (
	"slices"

	"zimg/image/zns"
	"zimg/layout"
)

// model is a drive with a volatile write cache: what is durable has its zone in zones, and the data where the model's
// owner has it; what is not waits in pending.
type model struct {
	ns      []*layout.Namespace
	base    zoneBase
	fate    Unflushed
	seed    uint64
	zones   zoneSet
	exts    map[zoneKey][]byte // extensions that were set
	pending []Step             // writes and discards, in order
}

// zoneBase has the zones that a model starts with.
type zoneBase interface {
	zone(k zoneKey) (layout.Zone, error)
	active(ns int) uint64
}

// zoneSet has the zones that differ from the base's.
type zoneSet map[zoneKey]layout.Zone

// store is where data becomes durable.
type store interface {
	// put is length bytes from off on of the write s.
	put(s Step, off, length int64) error
	// punch makes bytes of a namespace read as zeroes.
	punch(ns int, off, length int64) error
}

func newModel(base zoneBase, fate Unflushed, seed uint64) *model {
	return &model{base: base, fate: fate, seed: seed, zones: zoneSet{}, exts: map[zoneKey][]byte{}}
}

// zone is the zone as it is in set, or else in the base.
func (m *model) zone(set zoneSet, k zoneKey) (layout.Zone, error) {
	if z, ok := set[k]; ok {
		return z, nil
	}
	return m.base.zone(k)
}

// fixed are zones whose state is the image's alone: QEMU shows them to a guest as something else.
func fixed(z layout.Zone) bool { return z.State == layout.ReadOnly || z.State == layout.Offline }

// anywhere reports whether blocks of the zone can be written in any order, and again.
func anywhere(z layout.Zone) bool {
	return z.Type == layout.Conventional || z.Attrs&layout.ZRWAV != 0
}

// take takes a step; what becomes durable by it goes to to.
func (m *model) take(s Step, to store) error {
	k := zoneKey{s.NS, s.Zone}
	switch s.Op {
	case Flush:
		return m.flush(to, func(Step) bool { return true })
	case ZoneReset:
		return m.reset(k, to)
	case ZoneFinish:
		return m.finish(k, to)
	case ZoneSet:
		return m.set(k, s.Set, to)
	case Write, Discard, Zeroes, ZonesFinish:
	}
	m.pending = append(m.pending, s)
	switch {
	case m.fate == Keep:
		return m.flush(to, func(Step) bool { return true })
	case s.FUA:
		return m.persist(s, to)
	}
	return nil
}

// persist makes the write s durable, and with it what it was written after, or over.
func (m *model) persist(s Step, to store) error {
	return m.flush(to, persisted(m.ns[s.NS], m.pending, s))
}

// persisted says which of the pending steps are durable when s is, a write to n with FUA: those before it in its zone, and
// without zones those that it was written over, and what they were written over.
func persisted(n *layout.Namespace, pending []Step, s Step) func(Step) bool {
	if n.Zoned() {
		return func(q Step) bool { return q.NS == s.NS && q.Zone == s.Zone && q.Entry <= s.Entry }
	}
	over, entries := []Step{s}, map[int]bool{}
	for _, q := range slices.Backward(pending) {
		overlaps := func(o Step) bool { return q.Off < o.Off+o.Length && o.Off < q.Off+q.Length }
		if q.NS == s.NS && q.Entry <= s.Entry && slices.ContainsFunc(over, overlaps) {
			over = append(over, q)
			entries[q.Entry] = true
		}
	}
	return func(q Step) bool { return q.NS == s.NS && entries[q.Entry] }
}

// flush makes the pending steps durable that which says.
func (m *model) flush(to store, which func(Step) bool) error {
	kept := m.pending[:0]
	for _, s := range m.pending {
		if !which(s) {
			kept = append(kept, s)
			continue
		}
		if err := m.apply(to, m.zones, s, s.Length); err != nil {
			return err
		}
	}
	m.pending = kept
	return nil
}

// flushZone makes all that is pending in a zone durable.
func (m *model) flushZone(k zoneKey, to store) error {
	return m.flush(to, func(q Step) bool { return zoneKey{q.NS, q.Zone} == k })
}

// reset is durable at once, and what the zone held is gone.
func (m *model) reset(k zoneKey, to store) error {
	z, err := m.zone(m.zones, k)
	if err != nil || fixed(z) {
		return err
	}
	m.pending = slices.DeleteFunc(m.pending, func(q Step) bool { return zoneKey{q.NS, q.Zone} == k })
	n := m.ns[k.ns]
	empty := n.EmptyZone(k.zone)
	empty.Cap = z.Cap
	m.zones[k] = empty
	delete(m.exts, k)
	return to.punch(k.ns, int64(n.ByteOff(z.Start)), int64(n.ByteOff(n.ZoneSize)))
}

// finish is durable at once, too. Writes that are pending may still be lost, but not those in a random write area: a
// Full zone has none.
func (m *model) finish(k zoneKey, to store) error {
	z, err := m.zone(m.zones, k)
	if err != nil || fixed(z) {
		return err
	}
	if anywhere(z) {
		if err := m.flushZone(k, to); err != nil {
			return err
		}
		if z, err = m.zone(m.zones, k); err != nil {
			return err
		}
	}
	z.State, z.WP = layout.Full, layout.NoWP
	z.Attrs &^= layout.ZRWAV
	m.zones[k] = z
	return nil
}

// set makes the zone what c says, durable with all that was written to it.
func (m *model) set(k zoneKey, c ZoneChange, to store) error {
	if err := m.flushZone(k, to); err != nil {
		return err
	}
	old, err := m.zone(m.zones, k)
	if err != nil {
		return err
	}
	m.zones[k] = c.Zone
	if c.Ext != nil {
		m.exts[k] = c.Ext
	}
	if c.Zone.Written >= old.Written {
		return nil
	}
	n := m.ns[k.ns]
	return to.punch(k.ns, int64(n.ByteOff(c.Zone.Written)), int64(n.ByteOff(old.Written-c.Zone.Written)))
}

// apply does the first length bytes of s, a write or discard, to to and set.
func (m *model) apply(to store, set zoneSet, s Step, length int64) error {
	n := m.ns[s.NS]
	if s.Op == Discard {
		return to.punch(s.NS, s.Off, length)
	}
	if err := m.advance(set, s, length); err != nil {
		return err
	}
	if n.Zoned() && fixed(set[zoneKey{s.NS, s.Zone}]) {
		return nil
	}
	return to.put(s, 0, length)
}

// advance moves the write pointer of the zone of s on to length bytes after the start of s, if it is not beyond. One
// that was finished stays so.
func (m *model) advance(set zoneSet, s Step, length int64) error {
	n, k := m.ns[s.NS], zoneKey{s.NS, s.Zone}
	if !n.Zoned() {
		return nil
	}
	z, err := m.zone(set, k)
	if err != nil {
		return err
	}
	if !fixed(z) && z.Type != layout.Conventional {
		z = Advanced(n, z, layout.LBA((s.Off+length)>>n.BlockBits))
	}
	set[k] = z
	return nil
}

// Advanced is z with its write pointer moved to end, if it is not beyond. One that was finished stays so. With a random
// write area only what is written is known until the zone is at rest.
func Advanced(n *layout.Namespace, z layout.Zone, end layout.LBA) layout.Zone {
	z.Written = max(z.Written, min(end, z.End()))
	if z.State == layout.Full || anywhere(z) {
		return z
	}
	return zns.WrittenTo(n, z, z.Written)
}
