package drive

import (
	"crypto/sha256"
	"sync"

	"zimg/layout"
)

// A write whose answer was lost. The connection dies between a write and its answer, the
// host connects again and repeats the write, and the write pointer has moved on. A strict
// drive refuses that with Zone Invalid Write, and the host's file system goes read-only. So
// the last writes of each zone are remembered with the session that made them; once that
// session was lost its host may repeat exactly those. The data is written again.
//
// What is remembered of a zone is forgotten with the next Zone Management Send to it. An
// orderly shutdown leaves nothing to repeat: the host had all answers.

// A NotedWrite is a write to a zone, as it is remembered.
type NotedWrite struct {
	Host    uint64 // of its name and identifier
	Session uint64 // of the controller
	LBA     layout.LBA
	Blocks  layout.LBA
}

// Bounds of what is remembered.
const (
	notedWrites  = 8    // per zone
	notedZones   = 4096 // of a namespace
	lostSessions = 64   // of a drive
)

// noted has the last writes of zones.
type noted struct {
	mu    sync.Mutex
	zones map[uint64]*[notedWrites]NotedWrite // the latest first
	order []uint64                            // zones, the oldest first, to be dropped
}

// host identifies the host of c; 0 for one that does not repeat writes.
func (o *ControllerOptions) host() uint64 {
	if !o.Fabrics {
		return 0
	}
	sum := sha256.Sum256(append(o.HostID[:], o.HostNQN...))
	return le.Uint64(sum[:]) | 1
}

// note remembers the write r to zone. The zone is locked.
func (n *namespace) note(r *request, zone uint64, lba layout.LBA) {
	if r.c.host == 0 || r.cmd.Opcode() == opZoneAppend {
		return
	}
	w := NotedWrite{Host: r.c.host, Session: r.c.session, LBA: lba, Blocks: r.nlb}
	n.noted.mu.Lock()
	defer n.noted.mu.Unlock()
	ring := n.noted.zones[zone]
	if ring == nil {
		if len(n.noted.zones) >= notedZones {
			delete(n.noted.zones, n.noted.order[0])
			n.noted.order = n.noted.order[1:]
		}
		if n.noted.zones == nil {
			n.noted.zones = map[uint64]*[notedWrites]NotedWrite{}
		}
		ring = new([notedWrites]NotedWrite)
		n.noted.zones[zone] = ring
		n.noted.order = append(n.noted.order, zone)
	}
	copy(ring[1:], ring[:])
	ring[0] = w
}

// repeated reports whether r, which zone refuses with st, repeats a write whose answer was lost.
func (n *namespace) repeated(r *request, zone uint64, st Status) bool {
	if r.c.host == 0 || st.Code() != ZoneInvalidWrite && st.Code() != ZoneIsFull {
		return false
	}
	n.noted.mu.Lock()
	defer n.noted.mu.Unlock()
	ring := n.noted.zones[zone]
	if ring == nil {
		return false
	}
	for _, w := range ring {
		if w.LBA == r.lba && w.Blocks == r.nlb && w.Host == r.c.host && w.Session != r.c.session && n.d.wasLost(w.Session) {
			return true
		}
	}
	return false
}

// forget forgets the writes to a zone that is being managed.
func (n *namespace) forget(zone uint64) {
	n.noted.mu.Lock()
	defer n.noted.mu.Unlock()
	if ring := n.noted.zones[zone]; ring != nil {
		*ring = [notedWrites]NotedWrite{}
	}
}

// forgetAll forgets the writes to all zones.
func (n *namespace) forgetAll() {
	n.noted.mu.Lock()
	defer n.noted.mu.Unlock()
	n.noted.zones, n.noted.order = nil, nil
}

// lose notes that a session ended without a shutdown.
func (d *Drive) lose(session uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lost = append(d.lost, session)
	if len(d.lost) > lostSessions {
		d.lost = d.lost[1:]
	}
}

func (d *Drive) wasLost(session uint64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.lost {
		if s == session {
			return true
		}
	}
	return false
}
