package drive

import (
	"crypto/sha256"
	"sync"
)

// A write whose answer was lost. The connection dies between a write and its answer, the
// host connects again and repeats the write, and the write pointer has moved on. A strict
// drive refuses that with Zone Invalid Write, and the host's file system goes read-only. So
// the store remembers the last writes of each zone and who made them; once the association
// was lost its host may repeat exactly those. The data is written again.
//
// An orderly shutdown leaves nothing to repeat: the host had all answers.

// peer is the number of an association, from the first write on that is noted.
type peer struct {
	once sync.Once
	id   uint32
	err  error
}

// hostNumber identifies the host for which o is; 0 for one that does not repeat writes, a
// PCI function: its commands end with it.
func (o *ControllerOptions) hostNumber() uint64 {
	if !o.Fabrics {
		return 0
	}
	sum := sha256.Sum256(append(o.HostID[:], o.HostNQN...))
	return le.Uint64(sum[:]) | 1
}

// number is the association's number.
func (c *Controller) number() (uint32, error) {
	c.peer.once.Do(func() { c.peer.id, c.peer.err = c.d.st.Connect() })
	return c.peer.id, c.peer.err
}

// note is what is remembered of the write r, which is not an append; false if nothing is.
func (r *request) note() (w NotedWrite, ok bool, err error) {
	if r.c.host == 0 || r.cmd.Opcode() == opZoneAppend {
		return w, false, nil
	}
	w = NotedWrite{Host: r.c.host, LBA: uint64(r.lba), N: uint32(r.nlb)}
	w.Peer, err = r.c.number()
	return w, err == nil, err
}

// repeated reports whether r, which zone refuses with st, repeats a write whose answer was lost.
func (r *request) repeated(zone uint64, st Status) bool {
	if r.c.host == 0 || st.Code() != ZoneInvalidWrite && st.Code() != ZoneIsFull {
		return false
	}
	return r.n.st.Repeatable(zone, NotedWrite{Host: r.c.host, LBA: uint64(r.lba), N: uint32(r.nlb)})
}
