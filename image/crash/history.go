package crash

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"zimg/image"
	"zimg/image/writelog"
	"zimg/layout"
)

// Op is what a step did.
type Op uint8

// What can happen to a namespace. ZoneFinish takes one zone, ZonesFinish all that are active. Zeroes is a write of zeroes
// to a zone. ZoneSet is any other change of a zone: an extension, Read Only or Offline, a random write area.
const (
	Write Op = iota
	Discard
	Flush
	ZoneReset
	ZoneFinish
	ZonesFinish
	Zeroes
	ZoneSet
)

func (o Op) String() string {
	return [...]string{"write", "discard", "flush", "reset", "finish", "finish-all", "zero", "set"}[o]
}

// point reports whether o is an entry of the log that is counted as a write.
func (o Op) point() bool { return o == Write || o == Discard || o == ZoneReset || o == Zeroes }

// Step is one thing that happened to a namespace; a flush is of all of them.
type Step struct {
	Op     Op
	NS     int    // index of the namespace in the image
	Zone   uint64 // where there are zones
	Off    int64  // of the namespace's bytes
	Length int64
	FUA    bool
	Entry  int // of the log; meaningless for a finish

	Set ZoneChange // of ZoneSet

	data int64 // where in the log the data is
}

// Namespace is the namespace that s happened to.
func (r *Recording) Namespace(s Step) *layout.Namespace { return r.ns[s.NS].Namespace }

// packed is a step as it is kept, since a log can have many: of those that are an entry of the log
// the rest is read off that again.
type packed struct {
	op  Op
	ns  uint16
	arg uint32 // the entry; of a finish the zone
}

// add appends s to the steps.
func (r *Recording) add(s Step) {
	arg := uint32(s.Entry)
	if s.Op == ZoneFinish {
		arg = uint32(s.Zone)
	}
	r.steps = append(r.steps, packed{s.Op, uint16(s.NS), arg})
}

// step unpacks step i.
func (r *Recording) step(i int) Step {
	k := r.steps[i]
	switch k.op {
	case ZoneFinish:
		return Step{Op: k.op, NS: int(k.ns), Zone: uint64(k.arg)}
	case ZonesFinish:
		return Step{Op: k.op, NS: int(k.ns)}
	case Flush:
		return Step{Op: k.op, Entry: int(k.arg)}
	case ZoneSet:
		return r.zoneSet(int(k.arg))
	case Write, Discard, ZoneReset, Zeroes:
	}
	s := r.request(int(k.arg), int(k.ns))
	s.Op = k.op
	return s
}

// request is the write or discard that entry i asks of namespace ns.
func (r *Recording) request(i, ns int) Step {
	e, n := r.Log.Entries[i], r.ns[ns]
	s := Step{Op: Write, NS: ns, Off: e.Off - int64(n.DataOff), Length: e.Length, FUA: e.Flags&writelog.FUA != 0, Entry: i, data: e.DataOff}
	if n.Zoned() {
		s.Zone = uint64(s.Off / zoneLen(n))
	}
	if !e.HasData() {
		s.Op = Discard
	}
	return s
}

type zoneKey struct {
	ns   int
	zone uint64
}

// history turns the log into steps.
type history struct {
	*Recording
	log     []writelog.Entry
	pos     []int        // of each entry in the trace, -1 if it is not in it
	reset   map[int]bool // of entries that are or may be one: whether they are a reset
	pending []finished   // in order
	carried map[int]bool // entries that have their step already
	wp      map[zoneKey]int64
}

func (r *Recording) build(t *trace) error {
	if r.exact() {
		return r.buildExact()
	}
	h := &history{Recording: r, log: r.Log.Entries, reset: map[int]bool{}, carried: map[int]bool{}, wp: map[zoneKey]int64{}}
	if t != nil {
		h.place(t)
		h.pending = t.finishes
	}
	for i, e := range h.log {
		if t != nil {
			h.finishBefore(h.pos[i])
		}
		if e.Flags&writelog.Mark == 0 {
			if e.Flags&writelog.Flush != 0 {
				r.add(Step{Op: Flush, Entry: i})
			}
			if e.Length > 0 && !h.carried[i] {
				if err := h.entry(i); err != nil {
					return fmt.Errorf("entry %d at byte %d: %w", i, r.Log.Pos(i), err)
				}
			}
		}
		r.after = append(r.after, uint32(len(r.steps)))
	}
	return nil
}

// place finds where in the trace each entry of the log is.
func (h *history) place(t *trace) {
	h.pos = make([]int, len(h.log))
	for i, e := range h.log {
		h.pos[i] = -1
		if e.Length == 0 || e.Flags&(writelog.Mark|writelog.Discard) != 0 {
			continue
		}
		if ns, off, err := h.locate(e); err == nil {
			if found, ok := t.take(request{ns, off, e.Length}); ok {
				h.pos[i] = found.pos
				if n := h.ns[ns]; n.Zoned() && e.Length == zoneLen(n) {
					h.reset[i] = found.reset
				}
			}
		}
	}
	// A flush that had nothing to do is not in the log. The one that is, is the first
	// that came after what the log has before it; QEMU's own, at the end, is none that came.
	next := make([]int, len(h.log)) // the position of the next write
	for i, last := len(h.log)-1, never; i >= 0; i-- {
		next[i] = last
		if h.pos[i] >= 0 {
			last = h.pos[i]
		}
	}
	before, flushes := -1, t.flushes
	for i, e := range h.log {
		if e.Flags&writelog.Flush != 0 && h.pos[i] < 0 {
			k, _ := slices.BinarySearch(flushes, before+1)
			flushes = flushes[k:]
			h.pos[i] = before
			switch {
			case len(flushes) > 0 && flushes[0] < next[i]:
				h.pos[i] = flushes[0]
				flushes = flushes[1:]
			case next[i] == never:
				h.pos[i] = never
			}
		}
		if h.pos[i] != never {
			before = max(before, h.pos[i])
		}
	}
}

// finishBefore adds the finishes that came before position pos of the trace.
func (h *history) finishBefore(pos int) {
	for len(h.pending) > 0 && h.pending[0].pos < pos {
		f := h.pending[0]
		h.pending = h.pending[1:]
		s := Step{Op: ZoneFinish, NS: f.ns, Zone: f.zone}
		if f.all {
			s = Step{Op: ZonesFinish, NS: f.ns}
		}
		h.add(s)
	}
}

// locate finds the namespace that e is in.
func (h *history) locate(e writelog.Entry) (ns int, off int64, err error) {
	for i, n := range h.ns {
		if off := e.Off - int64(n.DataOff); off >= 0 && off < int64(n.Size()) {
			if e.Length > int64(n.Size())-off {
				break
			}
			return i, off, nil
		}
	}
	return 0, 0, layout.Errorf(layout.ErrRange, "%d bytes at %d are not in a namespace", e.Length, e.Off)
}

// find is the request of entry i, which has to be one of whole blocks of a namespace.
func (h *history) find(i int) (Step, *image.Namespace, error) {
	ns, off, err := h.locate(h.log[i])
	if err != nil {
		return Step{}, nil, err
	}
	n := h.ns[ns]
	s := h.request(i, ns)
	if off%n.BlockSize() != 0 || s.Length%n.BlockSize() != 0 {
		return s, n, layout.Errorf(layout.ErrRange, "%d bytes at %d of namespace %d are not whole blocks of %d bytes", s.Length, off, n.ID, n.BlockSize())
	}
	return s, n, nil
}

func zoneLen(n *image.Namespace) int64 { return int64(n.ByteOff(n.ZoneSize)) }

// entry adds the step of entry i, after those that it carries with it.
func (h *history) entry(i int) error {
	s, n, err := h.find(i)
	if err != nil {
		return err
	}
	if s.Op == Discard || !n.Zoned() {
		h.add(s)
		return nil
	}
	key := zoneKey{s.NS, s.Zone}
	start := int64(s.Zone) * zoneLen(n)
	wp, ok := h.wp[key]
	if !ok {
		z, err := n.Zone(s.Zone)
		if err != nil {
			return err
		}
		wp = int64(n.ByteOff(z.Written))
	}
	if h.isReset(i, s, n, wp > start) {
		s.Op = ZoneReset
		h.add(s)
		h.wp[key] = start
		return nil
	}
	if end := s.Off + s.Length; end > start+int64(n.ByteOff(n.ZoneCap)) {
		return layout.Errorf(layout.ErrRange, "%d bytes at %d go beyond the capacity of zone %d of namespace %d", s.Length, s.Off, s.Zone, n.ID)
	}
	if s.Off > wp {
		h.carry(s, wp)
	}
	h.add(s)
	h.wp[key] = max(wp, s.Off+s.Length)
	return nil
}

// inFlight is how far ahead a write is looked for that was under way: more than there can be.
const inFlight = 1 << 16

// carry adds the writes that fill zone s.Zone from wp to s, where they are later in the
// log: a drive writes a zone from its start, so when s was done they were.
func (h *history) carry(s Step, wp int64) {
	ahead := map[int64]Step{}
	for j := s.Entry + 1; j < min(len(h.log), s.Entry+inFlight); j++ {
		if e := h.log[j]; e.Length == 0 || !e.HasData() || h.carried[j] {
			continue
		}
		a, n, err := h.find(j)
		if err != nil || a.NS != s.NS || a.Zone != s.Zone {
			continue
		}
		if h.isReset(j, a, n, true) {
			return
		}
		ahead[a.Off] = a
		for a, ok := ahead[wp]; ok && wp < s.Off; a, ok = ahead[wp] {
			h.add(a)
			h.carried[a.Entry] = true
			wp += a.Length
		}
		if wp >= s.Off {
			return
		}
	}
}

// isReset reports whether entry i is what the reset of a zone leaves in the log. Where the
// trace does not say, it is zeroes over all of a zone, of one that has data or that
// cannot be written as a whole.
func (h *history) isReset(i int, s Step, n *image.Namespace, written bool) bool {
	if s.Length != zoneLen(n) || s.Off%zoneLen(n) != 0 {
		return false
	}
	is, known := h.reset[i]
	if !known {
		is = (written || n.ZoneCap < n.ZoneSize) && h.zero(s)
		h.reset[i] = is
	}
	return is
}

// zero reports whether the data of s is all zero.
func (h *history) zero(s Step) bool {
	buf, zeroes := make([]byte, chunk), make([]byte, chunk)
	for off := int64(0); off < s.Length; off += chunk {
		b := buf[:min(chunk, s.Length-off)]
		if _, err := h.file.ReadAt(b, s.data+off); err != nil && !errors.Is(err, io.EOF) {
			return false
		}
		if !bytes.Equal(b, zeroes[:len(b)]) {
			return false
		}
	}
	return true
}

// Event is one thing in a list of what happened: Write and Flush are the numbers of the points that it
// is, 0 if it is none.
type Event struct {
	Write, Flush int
	Step
}

// Events lists what happened, in the order of the log: so that of points.
func (r *Recording) Events() iter.Seq[Event] {
	return func(yield func(Event) bool) {
		byEntry := make([]uint32, len(r.Log.Entries))
		for i, k := range r.steps {
			if k.op.point() {
				byEntry[k.arg] = uint32(i)
			}
		}
		next, writes, flushes := uint32(0), 0, 0
		for i, e := range r.Log.Entries {
			for ; next < r.after[i]; next++ {
				if s := r.step(int(next)); s.Op != Flush && !s.Op.point() && !yield(Event{Step: s}) {
					return
				}
			}
			if AtFlush.is(e) {
				if flushes++; !yield(Event{Flush: flushes, Step: Step{Op: Flush, Entry: i}}) {
					return
				}
			}
			if AtWrite.is(e) {
				if writes++; !yield(Event{Write: writes, Step: r.step(int(byEntry[i]))}) {
					return
				}
			}
		}
	}
}
