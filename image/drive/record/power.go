package record

import (
	"fmt"
	"strconv"
	"strings"

	"zimg/image/crash"
	"zimg/layout"
)

// Trigger says when the power is cut, and what becomes of writes that were not flushed.
type Trigger struct {
	Kind crash.Kind // of the point at which it is cut; "" is never
	N    int        // its number, from 1
	Fate crash.Unflushed
	Seed uint64
}

// ParsePoint reads a point: write:N or flush:N.
func ParsePoint(s string) (crash.Kind, int, error) {
	kind, number, _ := strings.Cut(s, ":")
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 || kind != string(crash.AtWrite) && kind != string(crash.AtFlush) {
		return "", 0, fmt.Errorf("invalid point %q: must be write:N or flush:N", s)
	}
	return crash.Kind(kind), n, nil
}

// Result is the end of a power cut.
type Result struct {
	Writes, Flushes int // that were done
	Trigger
	Err error // the image could not be left as it should
}

// Arm makes ready for a power cut: from now on the drive keeps what it takes to undo what was not flushed. Points are
// counted from here. No command may be under way, and everything is flushed (drive.Drive.Still). A drive that is ready
// gets another trigger.
func (s *Store) Arm(at Trigger) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cut == nil {
		var ns []*layout.Namespace
		for _, n := range s.ns {
			ns = append(ns, n.Namespace)
		}
		s.cut = crash.NewCut(ns)
	}
	if s.rec == nil {
		s.next = 1
	}
	clear(s.counts)
	s.at = at
	s.noting.Store(true)
}

// Armed reports whether the drive keeps what can be undone.
func (s *Store) Armed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cut != nil
}

// Cut cuts the power now, on a drive that is armed.
func (s *Store) Cut(fate crash.Unflushed, seed uint64) Result {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.dead.Load() {
		s.at.Fate, s.at.Seed = fate, seed
		s.cutNow()
	}
	return s.result
}

// Off is closed when the power was cut: the zones and data are what a power failure has left, and hosts get no answers
// any more. The owner ends all connections, calls Release, closes controllers, and closes the image: not the drive.
func (s *Store) Off() <-chan struct{} { return s.off }

// IsOff reports whether the power was cut.
func (s *Store) IsOff() bool { return s.dead.Load() }

// Result says how the power cut has ended, after Off.
func (s *Store) Result() Result {
	<-s.off
	return s.result
}

// Release lets commands end that wait since the power was cut. Nobody may get to know how.
func (s *Store) Release() { s.once.Do(func() { close(s.release) }) }

// due reports whether the power is to be cut at this point of the kind k. mu is held.
func (s *Store) due(k crash.Kind) bool {
	return s.at.Kind == k && !s.dead.Load() && s.counts[k] == s.at.N
}

// cutNow cuts the power. mu is held, and nothing that is done outside it by this goroutine.
func (s *Store) cutNow() {
	s.dead.Store(true)
	s.busy.Lock() // what is being done ends
	defer s.busy.Unlock()
	s.result = Result{Writes: s.counts[crash.AtWrite], Flushes: s.counts[crash.AtFlush], Trigger: s.at}
	if s.result.Err = s.takeBack(); s.result.Err == nil {
		s.result.Err = s.cut.Settle(settling{s}, s.at.Fate, s.at.Seed, s.next)
	}
	close(s.off)
}

// takeBack undoes writes that were under way. What is beyond the written blocks of a zone is not part of it.
func (s *Store) takeBack() error {
	for _, n := range s.ns {
		n.holding.Lock()
		defer n.holding.Unlock()
		for _, h := range n.held {
			if err := (settling{s}).Write(n.index, h.lba, h.undo.Before, h.undo.MetaBefore); err != nil {
				return err
			}
		}
	}
	return nil
}

// settling is the drive while its power is cut.
type settling struct{ *Store }

// Zone is a zone as it is.
func (s settling) Zone(ns int, zone uint64) (layout.Zone, error) {
	return s.ns[ns].NamespaceStore.Zone(zone)
}

// SetZone replaces a zone.
func (s settling) SetZone(ns int, zone uint64, z layout.Zone) error {
	return s.ns[ns].NamespaceStore.SetZone(zone, z)
}

// Active is how many zones are active.
func (s settling) Active(ns int) uint64 {
	counts := s.ns[ns].Counts()
	return counts.Active()
}

// Write writes blocks and their metadata.
func (s settling) Write(ns int, lba layout.LBA, data, meta []byte) error {
	n := s.ns[ns]
	if len(data) > 0 {
		if err := n.NamespaceStore.WriteData(data, lba); err != nil {
			return err
		}
	}
	if len(meta) == 0 {
		return nil
	}
	return n.NamespaceStore.WriteMeta(meta, lba)
}
