package fsck

import (
	"fmt"
	"time"

	"zimg/image"
	"zimg/image/disk"
	"zimg/image/journal"
	"zimg/image/zns"
	"zimg/layout"
)

// checkData compares the data area with the write pointers.
//
//   - After a crash of a run the data, and the journal where there is one, say how
//     far each zone is: see crashed.
//   - After an interrupted command, data beyond a write pointer was left by it;
//     unless a slot is lost: it may have held the commit that the data belongs to.
//   - At any other time data beyond a write pointer is covered by moving it.
//   - While somebody has the image in use it says nothing: the zones are in the memory of that.
func (s *state) checkData() error {
	condition, err := s.im.Condition()
	if err != nil {
		return err
	}
	switch {
	case s.fresh:
		return s.scan(s.crashed)
	case s.served, condition == image.InUse: // its zones are known, or in the memory of whoever has it
		return nil
	case s.flags&layout.InUse != 0:
		if err := s.loadJournal(); err != nil {
			return err
		}
		h := s.im.Header()
		detail := ""
		if !h.Session.Start.IsZero() {
			detail = fmt.Sprintf("pid %d, since %s", h.Session.PID, h.Session.Start.UTC().Format(time.RFC3339))
		}
		if err := s.found(Finding{Code: RunCrashed, Detail: detail}, func() error { return nil }); err != nil {
			return err
		}
		if s.journal == nil || s.journal.Torn {
			if err := s.found(Finding{Code: JournalMissing}, nil); err != nil {
				return err
			}
		}
		return s.scan(s.crashed)
	case s.flags&layout.Clean == 0:
		if err := s.found(Finding{Code: ChangeInterrupted}, func() error { return nil }); err != nil {
			return err
		}
		if s.oneSlot() {
			return s.scan(s.atRest)
		}
		return s.scan(s.interrupted)
	case s.o.Data == DataNever:
		return nil
	case s.o.Data == DataAlways || s.oneSlot() || s.touched():
		return s.scan(s.atRest)
	}
	return nil
}

// oneSlot reports whether a slot is lost, and with it perhaps the last commit.
func (s *state) oneSlot() bool { return s.slots[0] == nil || s.slots[1] == nil }

// touched reports whether a data file was changed well after the last commit:
// by a QEMU without zimg run, say.
func (s *state) touched() bool {
	committed := s.im.Header().Committed
	for _, f := range s.files.Data {
		info, err := s.o.fs().Stat(f.Name())
		if err == nil && info.ModTime().Sub(committed) > 2*time.Second {
			return true
		}
	}
	return false
}

// loadJournal reads the journal of the run that died.
func (s *state) loadJournal() error {
	var namespaces []*layout.Namespace
	for _, sp := range s.spaces {
		namespaces = append(namespaces, sp.ns)
	}
	j, err := journal.Load(s.o.fs(), s.path, s.im.Header().Session.ID, s.o.bootID(), namespaces)
	if err != nil {
		return err
	}
	s.journal = j
	if j != nil {
		s.remove = append(s.remove, j.Files()...)
	}
	return nil
}

// scan calls judge for each zone that may have something to be judged.
func (s *state) scan(judge func(sp *space, i uint64, z layout.Zone, end layout.LBA) (layout.Zone, error)) error {
	s.report.Summary.Scanned = true
	sc := newScanner(s.files)
	var done, total int64
	for k := range s.spaces {
		total += int64(s.spaces[k].ns.ZoneCount)
	}
	for k := range s.spaces {
		sp := &s.spaces[k]
		interesting, err := s.interesting(sp)
		if err != nil {
			return err
		}
		from := func(i uint64) (layout.LBA, error) { return s.scanFrom(sp, i) }
		err = sc.eachZone(sp.ns, func(i uint64) bool { return interesting[i] }, from, func(i uint64, end layout.LBA) error {
			if s.o.Progress != nil {
				if err := s.o.Progress(done+int64(i), total); err != nil {
					return err
				}
			}
			z, err := sp.zones.Zone(i)
			if err != nil || z.Type == layout.Conventional || z.State == layout.Offline {
				return err
			}
			m, err := judge(sp, i, z, end)
			if err != nil || m == z {
				return err
			}
			return s.move(sp, i, z, m)
		})
		if err != nil {
			return err
		}
		done += int64(sp.ns.ZoneCount)
	}
	return nil
}

// scanFrom is the first block of zone i that has to be read to find the end of its data: what is below the write pointer
// counts as written, unless the zone was reset in a run that died.
func (s *state) scanFrom(sp *space, i uint64) (layout.LBA, error) {
	z, err := sp.zones.Zone(i)
	if err != nil {
		return 0, err
	}
	start := layout.LBA(i) * sp.ns.ZoneSize
	reset, err := s.wasReset(sp, i, z)
	if err != nil || reset || z.Written < start || z.Written > start+sp.ns.ZoneSize {
		return start, err
	}
	return z.Written, nil
}

// wasReset reports whether zone i was reset in the run that died. The journal knows. Where it is missing or torn, it is seen
// from the last of the data that was there when the run began: if there is a hole now, only a reset can have made it. Where
// the file system shows no holes, as in a copy of an image, zeroes have to do.
func (s *state) wasReset(sp *space, i uint64, z layout.Zone) (bool, error) {
	if s.flags&layout.InUse == 0 || z.Written <= z.Start || z.State == layout.Empty || z.State == layout.ReadOnly {
		return false, nil
	}
	last := z.Written
	if s.journal != nil {
		if s.journal.Zone(sp.ns.ID, i, z.State.Active()).Reset {
			return true, nil
		}
		if !s.journal.Torn {
			return false, nil
		}
		if end, ok := s.journal.DataEnd(sp.ns.ID, i); ok {
			last = end
		}
	}
	if last <= z.Start {
		return false, nil
	}
	file := s.files.Data[sp.ns.DataFile]
	at := int64(sp.ns.DataOff + sp.ns.ByteOff(last-1))
	if hole, err := disk.InHole(file, at); hole || err != nil {
		return hole, err
	}
	end := int64(sp.ns.DataOff + sp.ns.ByteOff(z.Start+sp.ns.ZoneSize))
	if hole, err := file.SeekHole(at); hole < end || err != nil || last == z.Start+sp.ns.ZoneSize {
		return false, err
	}
	nonZero, err := image.NonZeroEnd(file, sp.ns, last-1, last)
	return nonZero < last, err
}

// interesting are the zones to be judged even without data: those that are not
// Empty, or that the journal speaks of.
func (s *state) interesting(sp *space) (map[uint64]bool, error) {
	set := map[uint64]bool{}
	if s.flags&layout.InUse == 0 {
		return set, nil
	}
	i := uint64(0)
	for z, err := range sp.zones.All(0, sp.ns.ZoneCount) {
		if err != nil {
			return nil, err
		}
		if z.State != layout.Empty || s.journal != nil && s.journal.Mentions(sp.ns.ID, i) {
			set[i] = true
		}
		i++
	}
	return set, nil
}

// crashed finds what zone i is after a run that died.
//
// It is written up to the farthest of three: where the run began (unless the zone was reset since), the end of the data, the
// end of what the journal says was written.
func (s *state) crashed(sp *space, i uint64, z layout.Zone, end layout.LBA) (layout.Zone, error) {
	if z.State == layout.ReadOnly {
		return z, nil
	}
	var ev journal.Zone
	if s.journal != nil {
		ev = s.journal.Zone(sp.ns.ID, i, z.State.Active())
	}
	reset, err := s.wasReset(sp, i, z)
	if err != nil {
		return z, err
	}
	if end, err = s.beyondCapacity(sp, i, z, end); err != nil {
		return z, err
	}
	if ev.Reset && ev.Sent == 0 && end > z.Start {
		if reset, end, err = s.unfinishedReset(sp, i, z, end); err != nil {
			return z, err
		}
	}
	m := z
	f := Finding{Namespace: sp.ns.ID, Zone: i, InZone: true, Source: "data"}
	if ev.Unclear && !ev.Finished {
		f.Detail = "this zone, or a zone of another drive of the run, was finished"
	}
	if ev.Reset || ev.Finished {
		f.Source = "journal"
	}
	if reset {
		m.Attrs &^= layout.ZDEV | layout.ZRWAV | layout.ZFC | layout.FZR | layout.RZR
		m.AttrsInfo = 0
		m.State, m.WP, m.Written = layout.Empty, m.Start, m.Start
	}
	m.Written = max(m.Written, end, min(ev.Written, m.End()))
	if m.State == layout.Full || ev.Finished {
		m.State, m.WP = layout.Full, layout.NoWP
		m.Attrs &^= layout.ZRWAV
	} else {
		m = zns.WrittenTo(sp.ns, m, m.Written)
	}
	if ev.ExtensionSet {
		if err := s.found(Finding{Code: ZoneExtensionLost, Namespace: sp.ns.ID, Zone: i, InZone: true, Source: "journal"}, nil); err != nil {
			return z, err
		}
	}
	if m == zns.AtRest(sp.ns, z) { // only closed: that is part of the crash itself
		return s.silently(z, m), nil
	}
	f.Got, f.Want = zoneText(z), zoneText(m)
	switch {
	case reset:
		f.Code = DataGone
	case m.State == layout.Full && z.State != layout.Full && ev.Finished:
		f.Code = ZoneFinished
	default:
		f.Code = DataBeyondWP
	}
	result := z
	err = s.found(f, func() error { result = m; return nil })
	return result, err
}

// unfinishedReset decides on a reset that was under way when the run died, of a zone with data: nothing was written since. If
// its first block is still there it has not begun. Else the rest of the data goes too.
func (s *state) unfinishedReset(sp *space, i uint64, z layout.Zone, end layout.LBA) (reset bool, _ layout.LBA, err error) {
	first, err := image.NonZeroEnd(s.files.Data[sp.ns.DataFile], sp.ns, z.Start, z.Start+1)
	if err != nil || first > z.Start {
		return false, end, err
	}
	s.discardFrom(sp.ns, i, z.Start)
	return true, z.Start, nil
}

// silently repairs without a finding of its own, as part of one that was made.
func (s *state) silently(z, m layout.Zone) layout.Zone {
	if s.o.Mode == CheckOnly || s.o.Mode >= Safe {
		return m
	}
	return z
}

func zoneText(z layout.Zone) string {
	return fmt.Sprintf("%v, %s written", z.State, blocks(z.Written-min(z.Start, z.Written)))
}

func blocks(n layout.LBA) string {
	if n == 1 {
		return "1 block"
	}
	return fmt.Sprintf("%d blocks", n)
}

// interrupted discards what a command left beyond write pointers.
func (s *state) interrupted(sp *space, i uint64, z layout.Zone, end layout.LBA) (layout.Zone, error) {
	if end <= z.Written {
		return z, nil
	}
	f := Finding{Code: RemainsBeyondWP, Namespace: sp.ns.ID, Zone: i, InZone: true, Got: fmt.Sprintf("data up to block %d of the zone", end-z.Start), Want: fmt.Sprintf("none after block %d", z.Written-z.Start)}
	return z, s.found(f, func() error {
		s.discardFrom(sp.ns, i, z.Written)
		return nil
	})
}

// atRest covers data beyond a write pointer.
func (s *state) atRest(sp *space, i uint64, z layout.Zone, end layout.LBA) (layout.Zone, error) {
	f := Finding{Namespace: sp.ns.ID, Zone: i, InZone: true}
	end, err := s.beyondCapacity(sp, i, z, end)
	if err != nil {
		return z, err
	}
	if end <= z.Written {
		return z, nil
	}
	m := z
	m.Written = end
	switch {
	case z.State.Open() && end < z.End():
		m.WP = end
	case z.State.HasWP():
		m = zns.WrittenTo(sp.ns, m, end)
	}
	f.Code, f.Got, f.Want = DataBeyondWP, zoneText(z), zoneText(m)
	result := z
	err = s.found(f, func() error { result = m; return nil })
	return result, err
}

// beyondCapacity finds data above the capacity of zone i, where none can be
// written, and returns the end of the data before it.
func (s *state) beyondCapacity(sp *space, i uint64, z layout.Zone, end layout.LBA) (layout.LBA, error) {
	if end <= z.End() {
		return end, nil
	}
	f := Finding{Code: DataBeyondCap, Namespace: sp.ns.ID, Zone: i, InZone: true, Got: fmt.Sprintf("data up to block %d of the zone", end-z.Start), Want: fmt.Sprintf("none after block %d", z.End()-z.Start)}
	if err := s.found(f, func() error { s.discardFrom(sp.ns, i, z.End()); return nil }); err != nil {
		return end, err
	}
	return image.NonZeroEnd(s.files.Data[sp.ns.DataFile], sp.ns, min(z.Written, z.End()), z.End())
}

// discardFrom plans to discard zone i from block from on.
func (s *state) discardFrom(n *layout.Namespace, i uint64, from layout.LBA) {
	end := layout.LBA(i+1) * n.ZoneSize
	s.discard = append(s.discard, discard{int(n.DataFile), int64(n.DataOff + n.ByteOff(from)), int64(n.ByteOff(end - from))})
	if ms := layout.Bytes(n.MS); ms > 0 && end > from {
		at := n.DataOff + n.MetadataOff() + layout.Bytes(from)*ms
		s.discard = append(s.discard, discard{int(n.DataFile), int64(at), int64(layout.Bytes(end-from) * ms)})
	}
}
