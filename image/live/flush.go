package live

import (
	"errors"
	"sync/atomic"
	"unsafe"

	"zimg/image"
	"zimg/layout"
)

// snapped is a zone as a commit is to have it.
type snapped struct {
	n   *Namespace
	i   uint64
	z   layout.Zone
	ext []byte // nil: as it is
}

// round is a commit that others wait for.
type round struct {
	done chan struct{}
	err  error
}

// Flush makes everything that was done before it survive a power failure. Those who come while a commit is under way
// share the next one. It takes no zone's lock, and writes go on meanwhile; what they write is not part of it. The
// caller may hold the lock of a zone.
func (s *Store) Flush() error {
	s.group.Lock()
	r, leads := s.next, s.next == nil
	if leads {
		r = &round{done: make(chan struct{})}
		s.next = r
	}
	s.group.Unlock()
	if !leads {
		<-r.done
		return r.err
	}
	s.committing.Lock()
	s.group.Lock()
	s.next = nil // who comes from now on may have done something after the snapshot
	s.group.Unlock()
	back, err := s.commit()
	r.err = err
	close(r.done)
	s.committing.Unlock()
	s.discardBack(back)
	return err
}

// commit makes a snapshot durable. It returns the zones that have lost what was written. The caller has committing.
func (s *Store) commit() (back []snapped, err error) {
	if err := s.snap(); err != nil {
		return nil, err
	}
	wrote := s.wrote.Swap(false) // after snap: the data of a zone in the snapshot was written before it was set
	if !wrote && len(s.snapshot) == 0 {
		return nil, nil
	}
	defer func() {
		if err != nil {
			s.retry()
		}
	}()
	if wrote {
		if err := s.im.SyncData(); err != nil {
			return nil, s.fail(err)
		}
	}
	return s.apply()
}

// apply commits the snapshot.
func (s *Store) apply() (back []snapped, err error) {
	if len(s.snapshot) == 0 {
		return nil, nil
	}
	for _, c := range s.snapshot {
		old, err := c.n.img.Zone(c.i)
		if err != nil {
			return nil, err
		}
		if c.z.Written < old.Written {
			back = append(back, c)
		}
		if c.ext != nil {
			if err := c.n.img.SetExtension(c.i, c.ext); err != nil {
				return nil, err
			}
		}
		if err := c.n.img.SetZone(c.i, c.z); err != nil {
			return nil, err
		}
	}
	if err := s.im.BeginSession(s.session); err != nil {
		var lost *image.SyncError
		if errors.As(err, &lost) {
			err = s.fail(err)
		}
		return nil, err
	}
	return back, s.committed()
}

// snap takes all zones that differ from the slots, at one moment, so that no more of them hold resources than may.
func (s *Store) snap() (err error) {
	defer s.unlock(s.lock(), &err)
	s.snapshot = s.snapshot[:0]
	if s.failed != nil {
		return s.failed
	}
	for _, n := range s.ns {
		err := n.dirty.each(func(i uint64) error {
			z, sel := n.zone(i)
			c := snapped{n: n, i: i, z: z}
			if sel != 0 && z.Attrs&layout.ZDEV != 0 {
				var err error
				if c.ext, err = n.readExt(i, sel); err != nil {
					return err
				}
			}
			s.snapshot = append(s.snapshot, c)
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, c := range s.snapshot {
		c.n.dirty.clear(c.i)
		if err := c.n.promise(c.i, c.z.Written); err != nil {
			return err
		}
	}
	return nil
}

// promise notes, before the commit, what the slots will call written of zone i. A zone that is reset while the commit
// is under way is stale from the reset on: its data stays until its Empty state is committed in turn, and no
// write into it begins before that.
func (n *Namespace) promise(i uint64, written layout.LBA) error {
	r := n.record(i)
	if r.load(wordCommitted) >= uint64(written) {
		return nil
	}
	r.store(wordCommitted, uint64(written))
	return n.wrote(i)
}

// retry takes back what snap promised, after a commit that failed.
func (s *Store) retry() {
	s.wrote.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.snapshot {
		c.n.dirty.set(c.i)
	}
}

// committed notes in the records what the slots call written.
func (s *Store) committed() (err error) {
	if len(s.snapshot) == 0 {
		return nil
	}
	defer s.unlock(s.lock(), &err)
	for _, c := range s.snapshot {
		r := c.n.record(c.i)
		r.store(wordCommitted, uint64(c.z.Written))
		if z, _ := c.n.zone(c.i); z.Written >= c.z.Written {
			c.n.stale.clear(c.i)
		} else {
			c.n.stale.set(c.i)
		}
		if err := c.n.wrote(c.i); err != nil {
			return err
		}
	}
	return nil
}

// commitStale commits zone i, which has fewer written blocks than the slots say, and with it all others of that kind
// that are written from their start again: as Empty, which needs no data to be synced. The caller has the zone's
// lock.
func (s *Store) commitStale(n *Namespace, i uint64) error {
	s.committing.Lock()
	if err := s.snapEmpty(); err != nil {
		s.committing.Unlock()
		return err
	}
	back, err := s.apply()
	if err == nil && s.stillStale(n, i) { // not such a zone
		s.committing.Unlock()
		return s.Flush()
	}
	s.committing.Unlock()
	if err != nil {
		return err
	}
	s.discardBack(back)
	return nil
}

func (s *Store) stillStale(n *Namespace, i uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return n.stale.has(i)
}

// snapEmpty takes the zones that were reset since the last commit, as Empty; some may be more by now.
func (s *Store) snapEmpty() (err error) {
	defer s.unlock(s.lock(), &err)
	s.snapshot = s.snapshot[:0]
	if s.failed != nil {
		return s.failed
	}
	for _, n := range s.ns {
		err := n.stale.each(func(i uint64) error {
			z, _ := n.zone(i)
			if z.Written != z.Start || z.Attrs&layout.ZDEV != 0 { // it may not have been Empty in between
				return nil
			}
			z.State, z.WP, z.Attrs, z.AttrsInfo = layout.Empty, z.Start, 0, 0
			s.snapshot = append(s.snapshot, snapped{n: n, i: i, z: z})
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// discardBack discards the data of zones whose reset has been committed. Who holds a zone's lock will do it on his own
// before he writes.
func (s *Store) discardBack(back []snapped) {
	for _, c := range back {
		if !c.n.tryLock(c.i) {
			continue
		}
		_, stale, torn, err := c.n.look(c.i)
		if err == nil && !stale && torn {
			_ = c.n.discard(c.i) // it stays to be done, and the next writer is given the error
		}
		c.n.Unlock(c.i)
	}
}

// discardAll discards everything beyond Written. Nobody writes.
func (s *Store) discardAll() error {
	for _, n := range s.ns {
		for i := range n.ZoneCount {
			if !n.touched(i) {
				continue
			}
			z, reach, err := n.extent(i)
			if err != nil {
				return err
			}
			if reach > z.Written && z.Type != layout.Conventional {
				if err := n.discard(i); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// touched reports whether the record of zone i is not blank.
func (n *Namespace) touched(i uint64) bool {
	r := n.record(i)
	return r.set() || r.load(wordReach) != 0
}

// fail is for a sync that failed: from now on nothing is believed any more, see the package comment.
func (s *Store) fail(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed == nil {
		s.failed = err
		s.word(stateLost).store(1)
		return errors.Join(err, s.m.Wrote(stateLost, 8))
	}
	return err
}

// word is a word of the state block.
type word uint64

func (s *Store) word(off int) *word {
	return (*word)(unsafe.Pointer(unsafe.SliceData(s.m.B[off : off+8])))
}

func (w *word) load() uint64 { return native(atomic.LoadUint64((*uint64)(w))) }

func (w *word) store(v uint64) { atomic.StoreUint64((*uint64)(w), native(v)) }
