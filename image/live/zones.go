package live

import (
	"fmt"
	"iter"
	"math/bits"
	"runtime/debug"
	"sync"

	"zimg/image"
	"zimg/image/zns"
	"zimg/layout"
)

// Namespace has the zones and the data of one namespace. It is a zns.Store.
type Namespace struct {
	*layout.Namespace
	s      *Store
	img    *image.Namespace
	base   uint64 // number of its first zone in the live file
	extOff int64
	ext    map[uint64]uint8 // copies written by SetExtension that SetZone has yet to make count
	counts layout.Counts
	dirty  bitmap // zones that differ from the slots
	stale  bitmap // zones that have fewer written blocks than the slots say
	torn   bitmap // zones with data beyond Written that is to be discarded before anything is written
	locks  [64]struct {
		sync.Mutex
		_ [56]byte // a cache line for each
	}
}

var _ zns.Store = (*Namespace)(nil)

func newNamespace(s *Store, n *image.Namespace, base uint64) *Namespace {
	return &Namespace{
		Namespace: n.Namespace, s: s, img: n, base: base, ext: map[uint64]uint8{},
		dirty: newBitmap(n.ZoneCount), stale: newBitmap(n.ZoneCount), torn: newBitmap(n.ZoneCount),
	}
}

// Flush is the Flush of the Store.
func (n *Namespace) Flush() error { return n.s.Flush() }

// Lock takes the lock of zone i. Whoever writes data into the zone, or changes it for a command, holds it until
// the zone is set: first the data, then SetZone. A goroutine holds one such lock at a time. SetZone itself does
// not take it, so that a command may close another zone.
func (n *Namespace) Lock(i uint64) { n.locks[i%uint64(len(n.locks))].Lock() }

// Unlock gives the lock back.
func (n *Namespace) Unlock(i uint64) { n.locks[i%uint64(len(n.locks))].Unlock() }

func (n *Namespace) tryLock(i uint64) bool { return n.locks[i%uint64(len(n.locks))].TryLock() }

func (n *Namespace) record(i uint64) *record { return recordAt(n.s.m.B, n.base+i) }

// wrote is to be called after a change of record i.
func (n *Namespace) wrote(i uint64) error {
	return n.s.m.Wrote(int(recordsOff+(n.base+i)*recordLen), recordLen)
}

// Zone returns zone i as it is now.
func (n *Namespace) Zone(i uint64) (z layout.Zone, err error) {
	if err := n.CheckZoneNumber(i); err != nil {
		return z, err
	}
	defer n.s.unlock(n.s.lock(), &err)
	z, _ = n.zone(i)
	return z, nil
}

// zone needs the lock of the records.
func (n *Namespace) zone(i uint64) (z layout.Zone, ext uint8) {
	z = n.EmptyZone(i)
	if r := n.record(i); r.set() {
		ext = r.get(&z)
	}
	return z, ext
}

// lock takes the lock of the records. It is called as
//
//	defer s.unlock(s.lock(), &err)
//
// and a page of the mapping that the disk has no room for, or cannot read, becomes an error.
func (s *Store) lock() (old bool) {
	s.mu.Lock()
	return debug.SetPanicOnFault(true)
}

func (s *Store) unlock(old bool, err *error) {
	debug.SetPanicOnFault(old)
	s.mu.Unlock()
	p := recover()
	if p == nil {
		return
	}
	fault, ok := p.(interface {
		error
		Addr() uintptr
	})
	if !ok {
		panic(p)
	}
	*err = fmt.Errorf("%s: %w", s.path, fault)
}

// SetZone makes z zone i: it survives the death of the process when SetZone returns. What z says is written must have
// been. Start, capacity and type of a zone do not change. Attributes apart, z may be anything: package zns judges.
func (n *Namespace) SetZone(i uint64, z layout.Zone) error { return n.setZone(i, z, nil) }

// SetWritten is SetZone after a write that the host may repeat if it does not get the answer.
func (n *Namespace) SetWritten(i uint64, z layout.Zone, w Write) error { return n.setZone(i, z, &w) }

func (n *Namespace) setZone(i uint64, z layout.Zone, w *Write) error {
	if err := n.CheckZoneNumber(i); err != nil {
		return err
	}
	done, err := n.trySet(i, z, w)
	if err != nil || done {
		return err
	}
	// More is written without a write: what is there must not come to light.
	if err := n.prepare(z.Start, 0); err != nil {
		return err
	}
	_, err = n.trySet(i, z, w)
	return err
}

// trySet does nothing, and returns false, if data that is not part of zone i would become part of it.
func (n *Namespace) trySet(i uint64, z layout.Zone, w *Write) (done bool, err error) {
	defer n.s.unlock(n.s.lock(), &err)
	if n.s.failed != nil {
		return false, n.s.failed
	}
	old, ext := n.zone(i)
	if z.Written > old.Written && (n.stale.has(i) || n.torn.has(i)) {
		return false, nil
	}
	return true, n.put(i, old, z, ext, w)
}

// put needs the lock of the records.
func (n *Namespace) put(i uint64, old, z layout.Zone, ext uint8, w *Write) error {
	if z.Start != old.Start || z.Cap != old.Cap || z.Type != old.Type || z.State.Index() < 0 {
		return layout.Errorf(layout.ErrRange, "namespace %d zone %d: %+v cannot become %+v", n.ID, i, old, z)
	}
	r := n.record(i)
	if !r.set() {
		if old == z && w == nil {
			return nil
		}
		if reach := r.load(wordReach); reach == 0 { // else data was written before the zone was set
			r.start(old)
		} else {
			r.store(wordCap, uint64(old.Cap))
			r.store(wordCommitted, uint64(old.Written))
		}
	}
	if w != nil {
		r.note(*w)
	}
	if len(n.ext) > 0 {
		if sel, ok := n.ext[i]; ok {
			ext = sel
			delete(n.ext, i)
		}
	} else if old == z {
		return n.wrote(i)
	}
	if z.Written < old.Written {
		r.forget()
		if reach := r.load(wordReach); reach < uint64(old.Written) {
			r.store(wordReach, uint64(old.Written))
		}
		n.torn.set(i)
	}
	r.put(&n.s.scratch, n.base+i, z, ext)
	n.counts[old.State.Index()]--
	n.counts[z.State.Index()]++
	n.dirty.set(i)
	if r.load(wordCommitted) > uint64(z.Written) {
		n.stale.set(i)
	}
	return n.wrote(i)
}

// All yields count zones from first on, each as it is when it is yielded.
func (n *Namespace) All(first, count uint64) iter.Seq2[layout.Zone, error] {
	return func(yield func(layout.Zone, error) bool) {
		if count > 0 && (first >= n.ZoneCount || count > n.ZoneCount-first) {
			yield(layout.Zone{}, n.CheckZoneNumber(max(first, first+count-1)))
			return
		}
		for i := range count {
			z, err := n.Zone(first + i)
			if !yield(z, err) || err != nil {
				return
			}
		}
	}
}

// Counts are the numbers of zones by state.
func (n *Namespace) Counts() layout.Counts {
	n.s.mu.Lock()
	defer n.s.mu.Unlock()
	return n.counts
}

// SetExtension stores the extension of zone i, padded with zeroes. It takes effect with the next SetZone of the zone,
// which is to set its attribute.
func (n *Namespace) SetExtension(i uint64, ext []byte) (err error) {
	if err := n.CheckZoneNumber(i); err != nil {
		return err
	}
	if n.ZDES == 0 || len(ext) > n.ExtSize() {
		return fmt.Errorf("extension of %d bytes is too long: namespace %d has %d bytes per zone: %w",
			len(ext), n.ID, n.ExtSize(), layout.ErrRange)
	}
	full := make([]byte, n.ExtSize())
	copy(full, ext)
	defer n.s.unlock(n.s.lock(), &err)
	_, counts := n.zone(i)
	sel := uint8(1)
	if counts == 1 {
		sel = 2
	}
	if err := n.writeExt(i, sel, full); err != nil {
		return err
	}
	n.ext[i] = sel
	return nil
}

func (n *Namespace) writeExt(i uint64, sel uint8, ext []byte) error {
	_, err := n.s.file.WriteAt(ext, n.extAt(i, sel))
	return err
}

func (n *Namespace) extAt(i uint64, sel uint8) int64 {
	return n.extOff + (2*int64(i)+int64(sel)-1)*int64(n.ExtSize())
}

// Extension returns the extension of zone i, ExtSize bytes; zeroes if none was set, nil if the namespace has none.
func (n *Namespace) Extension(i uint64) (ext []byte, err error) {
	if err := n.CheckZoneNumber(i); err != nil || n.ZDES == 0 {
		return nil, err
	}
	defer n.s.unlock(n.s.lock(), &err)
	_, sel := n.zone(i)
	return n.readExt(i, sel)
}

func (n *Namespace) readExt(i uint64, sel uint8) ([]byte, error) {
	ext := make([]byte, n.ExtSize())
	if sel == 0 {
		return ext, nil
	}
	_, err := n.s.file.ReadAt(ext, n.extAt(i, sel))
	return ext, err
}

// bitmap is a set of zones.
type bitmap []uint64

func newBitmap(n uint64) bitmap { return make(bitmap, (n+63)/64) }

func (b bitmap) set(i uint64) { b[i/64] |= 1 << (i % 64) }

func (b bitmap) clear(i uint64) { b[i/64] &^= 1 << (i % 64) }

func (b bitmap) has(i uint64) bool { return b[i/64]&(1<<(i%64)) != 0 }

// each calls fn for the members in order; it may take them out.
func (b bitmap) each(fn func(i uint64) error) error {
	for w, word := range b {
		for ; word != 0; word &= word - 1 {
			if err := fn(uint64(w)*64 + uint64(bits.TrailingZeros64(word))); err != nil {
				return err
			}
		}
	}
	return nil
}
