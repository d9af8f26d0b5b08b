package record

import (
	"zimg/image/crash"
	"zimg/image/zns"
	"zimg/layout"
)

// held is a write to a zone whose data is written, and whose zone is not yet set.
type held struct {
	lba, blocks layout.LBA
	data        []byte // nil: zeroes, or nobody needs it
	zeroes      bool
	undo        crash.Undo
}

func (h *held) end() layout.LBA { return h.lba + h.blocks }

// step is the write as a step.
func (n *namespace) step(h *held) crash.Step {
	op := crash.Write
	if h.zeroes {
		op = crash.Zeroes
	}
	return crash.Step{
		Op: op, NS: n.index, Zone: uint64(h.lba / n.ZoneSize), Off: int64(n.ByteOff(h.lba)), Length: int64(n.ByteOff(h.blocks)),
	}
}

// noteZone notes that zone i was old and is z now. mu is held.
func (n *namespace) noteZone(i uint64, old, z layout.Zone) error {
	want := old
	fixed := old.State == layout.ReadOnly || old.State == layout.Offline // no host writes there
	if h := n.letGo(i, z.Written); h != nil && !fixed {
		want = crash.Advanced(n.Namespace, old, h.end())
		if err := n.s.note(n.step(h), h.data, old, h.undo); err != nil || n.s.dead.Load() {
			return err
		}
		if err := n.s.full(); err != nil {
			return err
		}
	}
	step := crash.Step{NS: n.index, Zone: i}
	ext, extended := n.exts[i]
	delete(n.exts, i)
	switch {
	case !extended && !fixed && follows(n.Namespace, want, z):
		return nil
	case fixed && old == z:
		return nil
	case z.State == layout.Empty && (old.State.Active() || old.State == layout.Full):
		step.Op = crash.ZoneReset
	case z.State == layout.Full && z.Written == want.Written && (old.State == layout.Empty || old.State.Active()):
		step.Op = crash.ZoneFinish
	default:
		step.Op, step.Set = crash.ZoneSet, crash.ZoneChange{Zone: z, Ext: ext}
	}
	return n.s.note(step, nil, old, crash.Undo{})
}

// follows reports whether z is what becomes of want without a step of its own: what a power failure leaves is the same,
// and writes to it mean the same.
func follows(n *layout.Namespace, want, z layout.Zone) bool {
	area := (want.Attrs^z.Attrs)&layout.ZRWAV == 0 || z.State == layout.Full
	return area && zns.AtRest(n, want) == zns.AtRest(n, z)
}
