package zonefile

import (
	"fmt"

	"zimg/image/disk"
	"zimg/image/foreign"
	"zimg/layout"
)

// That QEMU checks 19 conditions when it starts, and if one fails it makes all zones
// Empty without a word; the number of the condition is told in a trace event only. Conditions 1 to 8
// compare the header with the device's properties, which nobody knows here but for 1 and 2. The others
// are below, by the same numbers.

// checkHeader finds what is odd about the header alone.
func (r *region) checkHeader(file disk.File) []foreign.Problem {
	var ps []foreign.Problem
	if r.hdr.dirty != 0 {
		ps = append(ps, foreign.Problem{Verdict: foreign.Odd, File: file.Name(), Off: r.base + OffDirty, Text: "the dirty flag is set: the host may have crashed, and write pointers may be older than the data"})
	}
	if n := r.ns.ExtSize(); n > 192 {
		ps = append(ps, foreign.Problem{Verdict: foreign.Wiped, File: file.Name(), Off: r.base + OffExtSize, Text: fmt.Sprintf("extensions of %d bytes do not fit the header's 8 bits, so condition 8 fails at every start and QEMU resets all zones", n)})
	}
	return ps
}

// links are the list pointers of a zone and the state it is in.
type links struct {
	next, prev uint32
	state      layout.ZoneState
}

// check walks all zones, then the lists.
func (r *region) check(file disk.File, found func(foreign.Problem) error) error {
	all := make([]links, r.rec.Count)
	var counts layout.Counts
	timed := true // all words that are w_ptr from v4 on are zero: the file is of v2 or v3
	var lagging []uint64
	wiped := func(i uint64, off int64, code int, text, got, want string) error {
		return found(foreign.Problem{
			Verdict: foreign.Wiped, File: file.Name(), Off: r.rec.Off + int64(i)*RecordLen + off, Zone: i, InZone: true, Got: got, Want: want,
			Text: fmt.Sprintf("%s; condition %d fails and QEMU resets all zones", text, code),
		})
	}
	err := r.rec.Each(0, r.rec.Count, func(i uint64, b []byte) error {
		bo := r.hdr.bo
		z, _ := r.zone(i, b)
		z.Written = layout.LBA(bo.Uint64(b[OffWP:]))
		all[i] = links{bo.Uint32(b[OffNext:]), bo.Uint32(b[OffPrev:]), z.State}
		if k := z.State.Index(); k >= 0 {
			counts[k]++
		}
		wptr := layout.LBA(bo.Uint64(b[OffWPtr:]))
		if wptr != 0 {
			timed = false
		}
		if wptr != z.Written && len(lagging) < 16 {
			lagging = append(lagging, i)
		}
		start, end := layout.LBA(i)*r.ns.ZoneSize, layout.LBA(i)*r.ns.ZoneSize+r.ns.ZoneCap
		number := func(l layout.LBA) string { return fmt.Sprint(uint64(l)) }
		switch {
		case b[0] != uint8(layout.SeqWriteRequired):
			return wiped(i, 0, 9, "zone type", fmt.Sprint(b[0]), "2")
		case z.Cap != r.ns.ZoneCap:
			return wiped(i, OffRecordZCap, 10, "zone capacity", number(z.Cap), number(r.ns.ZoneCap))
		case z.Start != start:
			return wiped(i, OffZSLBA, 11, "zone start", number(z.Start), number(start))
		}
		switch z.State {
		case layout.Empty, layout.Offline, layout.ReadOnly:
			if z.Written != start {
				return wiped(i, OffWP, 12, fmt.Sprintf("write pointer of a zone that is %v", z.State), number(z.Written), number(start))
			}
		case layout.ImplicitlyOpened, layout.ExplicitlyOpened, layout.Closed:
			if z.Written < start || z.Written >= end {
				return wiped(i, OffWP, 13, fmt.Sprintf("write pointer of a zone that is %v", z.State), number(z.Written), fmt.Sprintf("%d to %d", start, end-1))
			}
		case layout.Full:
			if z.Written != end {
				return wiped(i, OffWP, 14, "write pointer of a Full zone", number(z.Written), number(end))
			}
		default:
			return wiped(i, 1, 15, "zone state", z.State.String(), "")
		}
		if z.State.Open() {
			return found(foreign.Problem{Verdict: foreign.Changed, File: file.Name(), Off: r.rec.Off + int64(i)*RecordLen + 1, Zone: i, InZone: true, Text: fmt.Sprintf("%v; QEMU closes it when it starts", z.State)})
		}
		return nil
	})
	if err != nil {
		return err
	}
	if !timed {
		for _, i := range lagging {
			p := foreign.Problem{Verdict: foreign.Odd, File: file.Name(), Off: r.rec.Off + int64(i)*RecordLen + OffWPtr, Zone: i, InZone: true, Text: "w_ptr is not at the write pointer: writes are refused there and reads filled"}
			if err := found(p); err != nil {
				return err
			}
		}
	}
	return r.checkLists(file, all, counts, found)
}

// checkLists compares the lists' sizes, as QEMU does, and their links, as it does not.
func (r *region) checkLists(file disk.File, all []links, counts layout.Counts, found func(foreign.Problem) error) error {
	for _, l := range []struct {
		list
		state layout.ZoneState
		off   int64
		code  int
	}{
		{r.hdr.exp, layout.ExplicitlyOpened, OffExpOpen, 16},
		{r.hdr.imp, layout.ImplicitlyOpened, OffImpOpen, 17},
		{r.hdr.cl, layout.Closed, OffClosed, 18},
		{r.hdr.full, layout.Full, OffFull, 19},
	} {
		at := foreign.Problem{File: file.Name(), Off: r.base + l.off}
		if have := counts[l.state.Index()]; have != uint64(l.size) {
			at.Verdict, at.Got, at.Want = foreign.Wiped, fmt.Sprint(l.size), fmt.Sprint(have)
			at.Text = fmt.Sprintf("size of the list of %v zones; condition %d fails and QEMU resets all zones", l.state, l.code)
			if err := found(at); err != nil {
				return err
			}
			continue
		}
		if text := walk(all, l.list, l.state); text != "" {
			at.Verdict, at.Text = foreign.Odd, fmt.Sprintf("list of %v zones: %s", l.state, text)
			if err := found(at); err != nil {
				return err
			}
		}
	}
	if r.hdr.exp.size != r.hdr.imp.size {
		return found(foreign.Problem{Verdict: foreign.Changed, File: file.Name(), Off: r.base + OffExpOpen, Text: "different numbers of explicitly and implicitly open zones: series v2 and v3 compare them crosswise and reset all zones"})
	}
	return nil
}

// walk follows a list and says where it is broken.
func walk(all []links, l list, state layout.ZoneState) string {
	prev, at := uint32(Nil), l.head
	for n := uint32(0); n < l.size; n++ {
		switch {
		case uint64(at) >= uint64(len(all)):
			return fmt.Sprintf("entry %d is zone %d, which does not exist", n, at)
		case all[at].state != state:
			return fmt.Sprintf("entry %d is zone %d, which is %v", n, at, all[at].state)
		case all[at].prev != prev:
			return fmt.Sprintf("zone %d does not point back to the one before it", at)
		}
		prev, at = at, all[at].next
	}
	if at != Nil || l.tail != prev {
		return "does not end with its tail"
	}
	return ""
}
