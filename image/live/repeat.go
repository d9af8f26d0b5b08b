package live

// Write names a write that was done: whose it was and where. A host that does not get the answer, because the
// connection or this process died, sends it again, and a zone would refuse it since the write pointer has moved on.
type Write struct {
	Host uint64 // of the host, the same when it connects again; never 0
	Peer uint32 // of the connection, from Connect
	LBA  uint64 // the first block
	N    uint32 // number of blocks
}

// Connect gives a number to a connection; writes noted with it can be repeated once Disconnect was called, or this
// process has died.
func (s *Store) Connect() (peer uint32, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.word(statePeers)
	peer = uint32(w.load()) + 1
	if peer == 0 {
		peer = 1
	}
	w.store(uint64(peer))
	s.live[peer] = true
	return peer, s.m.Wrote(statePeers, 8)
}

// Disconnect says that nothing can be answered over a connection any more.
func (s *Store) Disconnect(peer uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.live, peer)
}

// Repeatable reports whether w is one of the last four writes noted of zone i that its host may not have got an answer
// to: it was made over a connection that is gone, and the zone was not reset since. The same data may be written there
// again without a change of the zone.
func (n *Namespace) Repeatable(i uint64, w Write) bool {
	if n.CheckZoneNumber(i) != nil || w.Host == 0 {
		return false
	}
	n.s.mu.Lock()
	defer n.s.mu.Unlock()
	z, _ := n.zone(i)
	r := n.record(i)
	if w.LBA < uint64(z.Start) || w.LBA+uint64(w.N) > uint64(z.Written) {
		return false
	}
	for k := range noteCount {
		at := wordNote + k*noteWords
		last := r.load(at + 2)
		if last == 0 || r.load(at) != w.LBA || r.load(at+1) != w.Host {
			continue
		}
		if uint32(last) == w.N && !n.s.live[uint32(last>>32)] {
			return true
		}
	}
	return false
}

// note puts w in the place of the oldest note. A kill in the middle leaves no note there, and the write has not been
// answered or counted yet.
func (r *record) note(w Write) {
	k := r.load(wordNotes)
	at := wordNote + int(k%noteCount)*noteWords
	r.store(at+2, 0)
	r.store(at, w.LBA)
	r.store(at+1, w.Host)
	r.store(at+2, uint64(w.Peer)<<32|uint64(w.N))
	r.store(wordNotes, k+1)
}

// forget drops all notes: the zone was reset.
func (r *record) forget() {
	for k := range noteCount {
		if at := wordNote + k*noteWords + 2; r.load(at) != 0 {
			r.store(at, 0)
		}
	}
}
