package crash

import (
	"slices"

	"zimg/layout"
)

// A Cut knows what a power failure could undo on a drive that is running: what was done since the last flush, with what
// was there before. One goroutine at a time may use it.
//
// A zone that is written in order needs no copy of anything: what was not flushed is at its end. Blocks that are
// written anywhere are kept as they were and as they are, in memory.
type Cut struct {
	ns      []*layout.Namespace
	zones   zoneSet // those with something pending, as they were before
	pending []Step
	undo    map[int]Undo    // of steps, by their entries
	end     map[zoneKey]int // where in pending the last write to a zone is
	bytes   int64           // in undo
}

// Undo is what the blocks of a write that can be anywhere held before it, and hold after it. What does not apply is nil;
// After is nil where they read as zeroes.
type Undo struct{ Before, After, MetaBefore, MetaAfter []byte }

func (u Undo) size() int64 {
	return int64(len(u.Before) + len(u.After) + len(u.MetaBefore) + len(u.MetaAfter))
}

// CutStore is the drive whose power is cut, with nothing under way.
type CutStore interface {
	Zone(ns int, zone uint64) (layout.Zone, error)
	SetZone(ns int, zone uint64, z layout.Zone) error
	Active(ns int) uint64 // zones
	// Write writes blocks, and metadata unless it is nil, of what was written before.
	Write(ns int, lba layout.LBA, data, meta []byte) error
}

// NewCut begins with everything durable.
func NewCut(ns []*layout.Namespace) *Cut {
	return &Cut{ns: ns, zones: zoneSet{}, undo: map[int]Undo{}, end: map[zoneKey]int{}}
}

// Full reports whether the drive should flush on its own, as one does whose cache is full: memory is bounded.
func (c *Cut) Full() bool { return c.bytes > maxUndo || len(c.pending) > maxPending }

const (
	maxUndo    = 64 << 20
	maxPending = 1 << 16
)

// Add adds a step. old is the zone before it, where there is one.
func (c *Cut) Add(s Step, old layout.Zone, undo Undo) {
	k := zoneKey{s.NS, s.Zone}
	switch s.Op {
	case Flush:
		c.zones, c.pending, c.undo, c.end, c.bytes = zoneSet{}, nil, map[int]Undo{}, map[zoneKey]int{}, 0
		return
	case ZoneReset, ZoneSet:
		c.durable(func(q Step) bool { return zoneKey{q.NS, q.Zone} == k })
		return
	case ZoneFinish:
		z, ok := c.zones[k]
		switch {
		case !ok:
		case anywhere(z):
			c.durable(func(q Step) bool { return zoneKey{q.NS, q.Zone} == k })
		default:
			z.State, z.WP = layout.Full, layout.NoWP
			c.zones[k] = z
		}
		return
	case Write, Discard, Zeroes, ZonesFinish:
	}
	if !c.ns[s.NS].Zoned() {
		c.append(s, undo)
		return
	}
	if _, ok := c.zones[k]; !ok {
		c.zones[k] = old
	}
	if anywhere(c.zones[k]) {
		c.append(s, undo)
		return
	}
	if i, ok := c.end[k]; ok {
		if last := &c.pending[i]; last.Off+last.Length == s.Off {
			last.Length += s.Length
			return
		}
	}
	c.end[k] = len(c.pending)
	c.pending = append(c.pending, s)
}

func (c *Cut) append(s Step, undo Undo) {
	c.pending = append(c.pending, s)
	c.undo[s.Entry] = undo
	c.bytes += undo.size()
}

// AddMeta adds to the write of an entry the metadata that was written with it.
func (c *Cut) AddMeta(entry int, before, after []byte) {
	u, ok := c.undo[entry]
	if !ok {
		return
	}
	u.MetaBefore, u.MetaAfter = before, after
	c.undo[entry] = u
	c.bytes += int64(len(before) + len(after))
}

// Persist makes the write s durable (Force Unit Access), with what it was written after, or over.
func (c *Cut) Persist(s Step) {
	n, k := c.ns[s.NS], zoneKey{s.NS, s.Zone}
	if !n.Zoned() || anywhere(c.zones[k]) {
		c.durable(persisted(n, c.pending, s))
		return
	}
	old := c.zones[k]
	first := slices.IndexFunc(c.pending, func(q Step) bool { return zoneKey{q.NS, q.Zone} == k })
	if first < 0 || s.Entry < c.pending[first].Entry {
		return // a reset, or a flush, was faster
	}
	end := s.Off + s.Length
	var rest []Step // writes after s
	c.durable(func(q Step) bool {
		if (zoneKey{q.NS, q.Zone}) != k {
			return false
		}
		if after := q.Off + q.Length - end; after > 0 {
			q.Off, q.Length = max(q.Off, end), min(q.Length, after)
			rest = append(rest, q)
		}
		return true
	})
	for _, q := range rest {
		c.Add(q, Advanced(n, old, layout.LBA(end>>n.BlockBits)), Undo{})
	}
}

// durable drops the pending steps that which says.
func (c *Cut) durable(which func(Step) bool) {
	kept := c.pending[:0]
	clear(c.end)
	zones := zoneSet{}
	for _, s := range c.pending {
		if which(s) {
			c.bytes -= c.undo[s.Entry].size()
			delete(c.undo, s.Entry)
			continue
		}
		if c.ns[s.NS].Zoned() {
			k := zoneKey{s.NS, s.Zone}
			c.end[k], zones[k] = len(kept), c.zones[k]
		}
		kept = append(kept, s)
	}
	c.pending, c.zones = kept, zones
}

// Settle does to st what a power failure does that comes when so many entries of the log have completed. The zones that
// st has set then are at rest.
func (c *Cut) Settle(st CutStore, fate Unflushed, seed uint64, entries int) error {
	if fate == Keep {
		return nil
	}
	m := newModel(running{st}, fate, seed)
	m.ns, m.zones, m.pending = c.ns, c.zones, c.pending
	back := cutTarget{c, st}
	for _, s := range slices.Backward(c.pending) {
		if u := c.undo[s.Entry]; u.Before != nil || u.MetaBefore != nil {
			if err := st.Write(s.NS, layout.LBA(s.Off>>c.ns[s.NS].BlockBits), u.Before, u.MetaBefore); err != nil {
				return err
			}
		}
	}
	set, err := m.decide(back, entries)
	if err != nil {
		return err
	}
	for k, z := range set {
		if err := st.SetZone(k.ns, k.zone, z); err != nil {
			return err
		}
	}
	return nil
}

// running has the zones of a drive as they are.
type running struct{ CutStore }

func (r running) zone(k zoneKey) (layout.Zone, error) { return r.Zone(k.ns, k.zone) }
func (r running) active(ns int) uint64                { return r.Active(ns) }

// cutTarget is a store that has everything in place but what was undone.
type cutTarget struct {
	*Cut
	st CutStore
}

func (t cutTarget) put(s Step, off, length int64) error {
	u, ok := t.undo[s.Entry]
	if !ok {
		return nil // in order: it is there
	}
	n := t.ns[s.NS]
	data := make([]byte, length)
	if u.After != nil {
		data = u.After[off : off+length]
	}
	var meta []byte
	if u.MetaAfter != nil {
		ms := int64(n.MS)
		meta = u.MetaAfter[off>>n.BlockBits*ms : (off+length)>>n.BlockBits*ms]
	}
	return t.st.Write(s.NS, layout.LBA((s.Off+off)>>n.BlockBits), data, meta)
}

func (t cutTarget) punch(ns int, off, length int64) error {
	n := t.ns[ns]
	const most = 1 << 20
	for length > 0 {
		part := min(length, most)
		var meta []byte
		if n.MS > 0 {
			meta = make([]byte, part>>n.BlockBits*int64(n.MS))
		}
		if err := t.st.Write(ns, layout.LBA(off>>n.BlockBits), make([]byte, part), meta); err != nil {
			return err
		}
		off, length = off+part, length-part
	}
	return nil
}
