package fsck

import (
	"errors"
	"fmt"
	"io"

	"zimg/image"
	"zimg/layout"
)

// salvage makes a slot out of what is left when neither is sound: a namespace
// table that leads to the very places that the locator knows is enough, since every
// other place follows from it. What the tables hold then is taken as it is.
func (s *state) salvage(errs [2]error) error {
	for i := range s.slots {
		off := s.loc.MetaOff + layout.Bytes(i)*s.loc.SlotLen
		slot, err := s.salvageSlot(i, off)
		if err != nil {
			return err
		}
		if slot == nil {
			continue
		}
		f := s.inMeta(SlotsSalvaged, int64(off), fmt.Sprintf("slot 0: %v; slot 1: %v; tables of slot %d", errs[0], errs[1], i))
		s.blocked = s.o.Mode == Safe
		if err := s.found(f, func() error { return nil }); err != nil {
			return err
		}
		s.slots[i] = slot
		s.assemble(i)
		s.o.Data = DataAlways // nothing says that the zones are those of the data
		// The table is written as it is understood: its padding may be damaged too.
		table := layout.EncodeTable(slot.Plan.Entries)
		for num := range len(table) / layout.BlockLen {
			s.surgeon.SetBlock(uint64(num), table[num*layout.BlockLen:][:layout.BlockLen])
		}
		return nil
	}
	if s.o.Geometry != nil {
		return s.renew(fmt.Sprintf("slot 0: %v; slot 1: %v", errs[0], errs[1]))
	}
	if err := s.found(s.inMeta(SlotsLost, int64(s.loc.MetaOff), fmt.Sprintf("slot 0: %v; slot 1: %v", errs[0], errs[1])), nil); err != nil {
		return err
	}
	return errBeyond
}

// salvageSlot reads the slot at off without believing its header or checksums.
func (s *state) salvageSlot(index int, off layout.Bytes) (*image.Slot, error) {
	for n := 1; n <= layout.MaxNamespaces; {
		head := layout.HeaderLen(n)
		plan, err := s.salvageTable(off, head)
		if err != nil {
			return nil, err
		}
		if plan != nil {
			return s.salvaged(index, off, plan)
		}
		for n <= layout.MaxNamespaces && layout.HeaderLen(n) == head {
			n++
		}
	}
	return nil, nil
}

// salvageTable looks for a namespace table after a header of length head; nil if there is none
// that leads to where the locator says that things are.
func (s *state) salvageTable(off, head layout.Bytes) (*layout.Plan, error) {
	// head + RoundUp(4 * count) + 4096 * count is the slot's length.
	count := uint64(max(0, s.loc.SlotLen-head) / (layout.BlockLen + 4))
	for head+layout.ChecksumArrayLen(count)+layout.Bytes(count)*layout.BlockLen < s.loc.SlotLen {
		count++
	}
	if head+layout.ChecksumArrayLen(count)+layout.Bytes(count)*layout.BlockLen != s.loc.SlotLen {
		return nil, nil
	}
	at := off + head + layout.ChecksumArrayLen(count)
	b := make([]byte, layout.TableLen(layout.MaxNamespaces))
	n, err := s.files.Meta.ReadAt(b, int64(at))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	var entries []*layout.Entry
	for b = b[:n]; len(b) >= layout.NamespaceLen && len(entries) < layout.MaxNamespaces; b = b[layout.NamespaceLen:] {
		e, err := layout.DecodeEntry(b, at)
		if err != nil {
			break // the end of the table, or damage, which Place finds
		}
		entries = append(entries, e)
	}
	if len(entries) == 0 {
		return nil, nil
	}
	plan, err := layout.Place(s.loc.Kind, entries)
	if err != nil || plan.SlotLen != s.loc.SlotLen || plan.MetaOff != s.loc.MetaOff || plan.ChecksumOff != head {
		return nil, nil //nolint:nilerr // not a table that fits
	}
	return plan, nil
}

// salvaged is the slot of plan at off with whatever its blocks hold.
func (s *state) salvaged(index int, off layout.Bytes, plan *layout.Plan) (*image.Slot, error) {
	h := &layout.Header{UUID: s.loc.UUID, Generation: 1, Flags: layout.Clean, Slot: uint32(index), Counts: make([]layout.Counts, len(plan.Entries))}
	if old, err := image.ReadHeader(s.files.Meta, int64(off)); err == nil && len(old.Counts) == len(h.Counts) {
		h = old
	}
	plan.Header(h)
	h.Slot = uint32(index)
	if err := image.CheckClaim(s.files.Meta, int64(layout.ChecksumArrayLen(plan.ChecksumCount))); err != nil {
		if layout.IsJudgement(err) {
			return nil, nil //nolint:nilerr // almost all of it is a hole: there is nothing to salvage
		}
		return nil, err
	}
	sums := make([]uint32, plan.ChecksumCount)
	b := make([]byte, layout.BlockLen)
	for i := range sums {
		clear(b)
		if _, err := s.files.Meta.ReadAt(b, int64(off+plan.TableOff)+int64(i)*layout.BlockLen); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		sums[i] = layout.Checksum(b)
	}
	return image.NewSlot(h, plan, sums), nil
}
