// Package record stands between a drive and the store of its image, and sees everything that changes the image, in the
// order in which it takes effect. It writes recordings for package crash, and cuts the drive's power: the image is left
// as a power failure at that moment leaves it.
//
//	record.go     the store, and the order of what happens   namespace.go  a namespace
//	power.go      the power cut                              steps.go      what a command was
//
// # Order
//
// A command holds the lock of its zone from before its data is written until the zone is set. So the data of a zone is
// kept until then, and noted together with the change of the zone. Commands on namespaces without zones are done
// and noted one at a time.
//
// As long as there is neither a recording nor a power cut to come, the package only passes calls on.
package record

import (
	"errors"
	"sync"
	"sync/atomic"

	"zimg/image"
	"zimg/image/crash"
	"zimg/image/drive"
	"zimg/layout"
)

// ErrPowerCut is the error of everything that is done after the power was cut.
var ErrPowerCut = errors.New("the power was cut")

// Store is a drive.Store that notes what is done. It is safe for use by many goroutines.
type Store struct {
	inner drive.Store
	ns    []*namespace
	byID  map[layout.NSID]*namespace

	noting atomic.Bool // anything below is in use

	// busy is held for reading by what is done outside mu, and for writing by a power cut.
	busy sync.RWMutex
	dead atomic.Bool // the power was cut

	mu     sync.Mutex // the order of what happens
	rec    *crash.Recorder
	cut    *crash.Cut
	at     Trigger
	next   int // number of the next entry of the log
	counts map[crash.Kind]int
	recent [1 << 12]recent // ring of the last writes, by their entries
	failed error           // of the recording: nothing more is changed

	off     chan struct{} // closed when the image is as the power failure has left it
	result  Result
	release chan struct{} // closed when nobody can be answered any more
	once    sync.Once
}

// recent is a write that may become durable on its own.
type recent struct {
	step crash.Step
	lba  layout.LBA
}

// New makes a store for the drive of im; inner keeps the zones and the data.
func New(im *image.Image, inner drive.Store) *Store {
	s := &Store{
		inner: inner, byID: map[layout.NSID]*namespace{}, next: 1, counts: map[crash.Kind]int{},
		off: make(chan struct{}), release: make(chan struct{}),
	}
	for i, n := range im.Namespaces() {
		ns := &namespace{NamespaceStore: inner.Namespace(n.ID), Namespace: n.Namespace, s: s, index: i, held: map[uint64]*held{}, exts: map[uint64][]byte{}}
		s.ns = append(s.ns, ns)
		s.byID[n.ID] = ns
	}
	return s
}

// Record begins a recording. No command may be under way. The caller closes r when the drive is closed.
func (s *Store) Record(r *crash.Recorder) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rec = r
	s.noting.Store(true)
}

// Namespace returns a namespace of the image.
func (s *Store) Namespace(id layout.NSID) drive.NamespaceStore { return s.byID[id] }

// Connect gives a number to an association with a host.
func (s *Store) Connect() (uint32, error) { return s.inner.Connect() }

// Disconnect says that the association is gone.
func (s *Store) Disconnect(peer uint32) { s.inner.Disconnect(peer) }

// enter begins what is done and noted in order. It returns an error if nothing can be changed any more; then nothing is
// locked.
func (s *Store) enter() error {
	s.mu.Lock()
	if s.dead.Load() {
		s.mu.Unlock()
		<-s.release
		return ErrPowerCut
	}
	if s.failed != nil {
		defer s.mu.Unlock()
		return s.failed
	}
	return nil
}

// leave ends it. A command that has cut the power, or came too late, is never answered as if it had succeeded.
func (s *Store) leave(err error) error {
	dead := s.dead.Load()
	s.mu.Unlock()
	if dead {
		<-s.release
		return ErrPowerCut
	}
	return err
}

// outside does what needs no order, unless the power is off.
func (s *Store) outside(do func() error) error {
	if !s.noting.Load() {
		return do()
	}
	s.busy.RLock()
	if s.dead.Load() {
		s.busy.RUnlock()
		<-s.release
		return ErrPowerCut
	}
	defer s.busy.RUnlock()
	return do()
}

// Flush makes durable everything that was done before it. It is noted when it begins: what is done meanwhile need not
// be durable.
func (s *Store) Flush() error {
	if !s.noting.Load() {
		return s.inner.Flush()
	}
	if err := s.enter(); err != nil {
		return err
	}
	entry := s.next
	if err := s.note(crash.Step{Op: crash.Flush}, nil, layout.Zone{}, crash.Undo{}); err != nil {
		return s.leave(err)
	}
	if s.due(crash.AtFlush) { // nothing else may happen before it is done
		err := s.inner.Flush()
		if err == nil {
			s.cutNow()
		}
		return s.leave(err)
	}
	s.mu.Unlock()
	err := s.inner.Flush()
	if err == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rec != nil {
		err = errors.Join(err, s.rec.Undo(entry))
	}
	return err
}

// Persist makes durable the last write that began at lba.
func (s *Store) Persist(id layout.NSID, lba layout.LBA) error {
	if err := s.inner.Persist(id, lba); err != nil || !s.noting.Load() {
		return err
	}
	if err := s.enter(); err != nil {
		return err
	}
	n := s.byID[id]
	for back := 1; back < min(len(s.recent), s.next); back++ {
		r := s.recent[(s.next-back)%len(s.recent)]
		if r.step.Entry != s.next-back || r.step.NS != n.index || r.lba != lba {
			continue
		}
		if s.cut != nil {
			s.cut.Persist(r.step)
		}
		if s.rec != nil {
			return s.leave(s.rec.Persist(r.step.Entry))
		}
		break
	}
	return s.leave(nil)
}

// note notes a step, with its data, the zone before it, and what can undo it. mu is held.
func (s *Store) note(step crash.Step, data []byte, old layout.Zone, undo crash.Undo) error {
	s.next += step.Entries()
	step.Entry = s.next - 1
	if step.Op == crash.Write || step.Op == crash.Zeroes || step.Op == crash.Discard {
		s.recent[step.Entry%len(s.recent)] = recent{step, layout.LBA(step.Off >> s.ns[step.NS].BlockBits)}
	}
	if s.rec != nil {
		if err := s.rec.Add(step, data); err != nil {
			s.failed = err
			return err
		}
	}
	if s.cut != nil {
		s.cut.Add(step, old, undo)
	}
	switch step.Op {
	case crash.Flush:
		s.counts[crash.AtFlush]++
	case crash.Write, crash.Discard, crash.Zeroes, crash.ZoneReset:
		s.counts[crash.AtWrite]++
		if s.due(crash.AtWrite) {
			s.cutNow()
		}
	case crash.ZoneFinish, crash.ZonesFinish, crash.ZoneSet:
	}
	return nil
}

// full flushes on the drive's own account when more is unflushed than it keeps. mu is held.
func (s *Store) full() error {
	if s.cut == nil || !s.cut.Full() || s.dead.Load() {
		return nil
	}
	if err := s.inner.Flush(); err != nil {
		return err
	}
	s.cut.Add(crash.Step{Op: crash.Flush}, layout.Zone{}, crash.Undo{})
	return nil
}
