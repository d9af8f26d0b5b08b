package record

import (
	"bytes"
	"sync"

	"zimg/image/crash"
	"zimg/image/drive"
	"zimg/layout"
)

// namespace is a namespace of a Store.
type namespace struct {
	drive.NamespaceStore
	*layout.Namespace
	s     *Store
	index int // in the image

	exts map[uint64][]byte // extensions that the next change of their zones makes count; guarded by the Store's mu

	holding sync.Mutex // held; taken after the Store's locks
	held    map[uint64]*held
}

// SetZone replaces zone i.
func (n *namespace) SetZone(i uint64, z layout.Zone) error {
	return n.setZone(i, z, func() error { return n.NamespaceStore.SetZone(i, z) })
}

// SetWritten is SetZone after a write that the host may have to repeat.
func (n *namespace) SetWritten(i uint64, z layout.Zone, w drive.NotedWrite) error {
	return n.setZone(i, z, func() error { return n.NamespaceStore.SetWritten(i, z, w) })
}

func (n *namespace) setZone(i uint64, z layout.Zone, set func() error) error {
	if !n.s.noting.Load() {
		return set()
	}
	if err := n.s.enter(); err != nil {
		return err
	}
	old, err := n.NamespaceStore.Zone(i)
	if err == nil {
		err = set()
	}
	if err == nil {
		err = n.noteZone(i, old, z)
	}
	return n.s.leave(err)
}

// SetExtension replaces the extension of zone i, with the next SetZone.
func (n *namespace) SetExtension(i uint64, ext []byte) error {
	if n.s.noting.Load() {
		if err := n.s.enter(); err != nil {
			return err
		}
		n.exts[i] = bytes.Clone(ext)
		n.s.mu.Unlock()
	}
	return n.s.outside(func() error { return n.NamespaceStore.SetExtension(i, ext) })
}

// Unlock gives back the lock of zone i. A write that has changed nothing about the zone is noted now.
func (n *namespace) Unlock(i uint64) {
	defer n.NamespaceStore.Unlock(i)
	if !n.s.noting.Load() {
		return
	}
	n.holding.Lock()
	holds := n.held[i] != nil
	n.holding.Unlock()
	if holds {
		_ = n.noteHeld(i) // an error comes back with the next command
	}
}

// noteHeld notes a write that the zone did not have to be set for, unless it was refused after all.
func (n *namespace) noteHeld(i uint64) error {
	if err := n.s.enter(); err != nil {
		return err
	}
	h := n.letGo(i, n.Blocks)
	if h == nil {
		return n.s.leave(nil)
	}
	z, err := n.Zone(i)
	if err != nil || z.Written < h.end() {
		return n.s.leave(err)
	}
	if err = n.s.note(n.step(h), h.data, z, h.undo); err == nil {
		err = n.s.full()
	}
	return n.s.leave(err)
}

// ReadData reads blocks from lba on.
func (n *namespace) ReadData(p []byte, lba layout.LBA) error {
	return n.s.outside(func() error { return n.NamespaceStore.ReadData(p, lba) })
}

// ReadMeta reads the metadata of blocks from lba on.
func (n *namespace) ReadMeta(p []byte, lba layout.LBA) error {
	return n.s.outside(func() error { return n.NamespaceStore.ReadMeta(p, lba) })
}

// anywhere reports whether blocks of zone i can be written in any order.
func (n *namespace) anywhere(i uint64) (bool, error) {
	z, err := n.Zone(i)
	return z.Type == layout.Conventional || z.Attrs&layout.ZRWAV != 0, err
}

// keeps reports whether somebody needs the data of writes, and whether writes that can be anywhere are to be undone.
func (s *Store) keeps() (data, undo bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rec != nil, s.cut != nil
}

// WriteData writes blocks from lba on.
func (n *namespace) WriteData(p []byte, lba layout.LBA) error {
	if !n.s.noting.Load() {
		return n.NamespaceStore.WriteData(p, lba)
	}
	data, undo := n.s.keeps()
	if n.Zoned() {
		random, err := n.anywhere(uint64(lba / n.ZoneSize))
		if err != nil {
			return err
		}
		undo = undo && random
	}
	if data || undo {
		p = bytes.Clone(p) // the host may change its own meanwhile
	}
	h := &held{lba: lba, blocks: layout.LBA(len(p)) >> n.BlockBits, data: p}
	before := func() error {
		if !undo {
			return nil
		}
		h.undo = crash.Undo{Before: make([]byte, len(p)), After: p}
		return n.NamespaceStore.ReadData(h.undo.Before, lba)
	}
	write := func() error { return n.NamespaceStore.WriteData(p, lba) }
	if n.Zoned() {
		return n.s.outside(func() error {
			if err := before(); err != nil {
				return err
			}
			return n.hold(h, write)
		})
	}
	return n.ordered(func() error {
		if err := before(); err != nil {
			return err
		}
		return write()
	}, func() error {
		s := crash.Step{Op: crash.Write, NS: n.index, Off: int64(n.ByteOff(lba)), Length: int64(len(p))}
		return n.s.note(s, p, layout.Zone{}, h.undo)
	})
}

// hold does a write to a zone, and keeps it until the zone is set.
func (n *namespace) hold(h *held, write func() error) error {
	i := uint64(h.lba / n.ZoneSize)
	n.holding.Lock()
	n.held[i] = h
	n.holding.Unlock()
	err := write()
	if err != nil {
		n.letGo(i, n.Blocks)
	}
	return err
}

// letGo returns the write to zone i that is kept, and keeps it no longer; nil if there is none that ends by block end.
func (n *namespace) letGo(i uint64, end layout.LBA) *held {
	n.holding.Lock()
	defer n.holding.Unlock()
	h := n.held[i]
	if h == nil || h.end() > end {
		return nil
	}
	delete(n.held, i)
	return h
}

// ordered does and notes a command on a namespace without zones.
func (n *namespace) ordered(do, note func() error) error {
	if err := n.s.enter(); err != nil {
		return err
	}
	err := do()
	if err == nil {
		err = note()
	}
	if err == nil {
		err = n.s.full()
	}
	return n.s.leave(err)
}

// WriteMeta writes the metadata of blocks from lba on, after their data.
func (n *namespace) WriteMeta(p []byte, lba layout.LBA) error {
	if !n.s.noting.Load() {
		return n.NamespaceStore.WriteMeta(p, lba)
	}
	if err := n.s.enter(); err != nil {
		return err
	}
	before := make([]byte, len(p))
	if n.s.cut == nil {
		return n.s.leave(n.NamespaceStore.WriteMeta(p, lba))
	}
	if err := n.NamespaceStore.ReadMeta(before, lba); err != nil {
		return n.s.leave(err)
	}
	if n.Zoned() {
		n.holding.Lock()
		if h := n.held[uint64(lba/n.ZoneSize)]; h != nil && h.undo.Before != nil {
			h.undo.MetaBefore, h.undo.MetaAfter = append(h.undo.MetaBefore, before...), append(h.undo.MetaAfter, p...)
		}
		n.holding.Unlock()
	} else {
		n.s.cut.AddMeta(n.s.entryAt(n.index, lba), before, bytes.Clone(p))
	}
	return n.s.leave(n.NamespaceStore.WriteMeta(p, lba))
}

// entryAt is the entry of the last write or discard that has the block lba. mu is held.
func (s *Store) entryAt(ns int, lba layout.LBA) int {
	for back := 1; back < min(len(s.recent), s.next); back++ {
		r := s.recent[(s.next-back)%len(s.recent)]
		blocks := layout.LBA(r.step.Length >> s.ns[ns].BlockBits)
		if r.step.Entry == s.next-back && r.step.NS == ns && lba >= r.lba && lba < r.lba+blocks {
			return r.step.Entry
		}
	}
	return -1
}

// Zeroes writes blocks as zeroes.
func (n *namespace) Zeroes(lba, blocks layout.LBA) error {
	do := func() error { return n.NamespaceStore.Zeroes(lba, blocks) }
	if !n.s.noting.Load() {
		return do()
	}
	if !n.Zoned() {
		return n.discard(lba, blocks, do)
	}
	i := uint64(lba / n.ZoneSize)
	random, err := n.anywhere(i)
	if err != nil {
		return err
	}
	_, undo := n.s.keeps()
	h := &held{lba: lba, blocks: blocks, zeroes: true}
	return n.s.outside(func() error {
		if undo && random {
			var err error
			if h.undo, err = n.before(lba, blocks); err != nil {
				return err
			}
		}
		return n.hold(h, do)
	})
}

// Deallocate is Zeroes for a namespace without zones.
func (n *namespace) Deallocate(lba, blocks layout.LBA) error {
	do := func() error { return n.NamespaceStore.Deallocate(lba, blocks) }
	if !n.s.noting.Load() {
		return do()
	}
	return n.discard(lba, blocks, do)
}

// maxDiscard is the longest discard that can be undone, in bytes. One that is longer is durable at once.
const maxDiscard = 16 << 20

// discard does and notes a discard in a namespace without zones.
func (n *namespace) discard(lba, blocks layout.LBA, do func() error) error {
	var undo crash.Undo
	long := int64(n.ByteOff(blocks)) > maxDiscard
	return n.ordered(func() error {
		if n.s.cut != nil && !long {
			var err error
			if undo, err = n.before(lba, blocks); err != nil {
				return err
			}
		}
		return do()
	}, func() error {
		s := crash.Step{Op: crash.Discard, NS: n.index, Off: int64(n.ByteOff(lba)), Length: int64(n.ByteOff(blocks))}
		if err := n.s.note(s, nil, layout.Zone{}, undo); err != nil || !long || n.s.cut == nil || n.s.dead.Load() {
			return err
		}
		n.s.cut.Add(crash.Step{Op: crash.Flush}, layout.Zone{}, crash.Undo{})
		return n.s.inner.Flush()
	})
}

// before reads blocks, and their metadata, that are about to be zeroes.
func (n *namespace) before(lba, blocks layout.LBA) (u crash.Undo, err error) {
	u.Before = make([]byte, n.ByteOff(blocks))
	if err := n.NamespaceStore.ReadData(u.Before, lba); err != nil || n.MS == 0 {
		return u, err
	}
	u.MetaBefore = make([]byte, int(blocks)*int(n.MS))
	u.MetaAfter = make([]byte, len(u.MetaBefore))
	return u, n.NamespaceStore.ReadMeta(u.MetaBefore, lba)
}
