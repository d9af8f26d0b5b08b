package zonefile

import (
	"fmt"
	"math/bits"

	"zimg/image/foreign"
	"zimg/layout"
)

// That QEMU checks 19 conditions when it starts, and if one fails it makes all zones
// Empty without a word; only a trace event shows the number of the condition. Conditions 1 and 2 keep
// us from decoding; 3 to 8 compare the header with the device's properties, which only the user
// knows. The others are below, by the same numbers. After them it closes or finishes what is open.

// problem is one at a byte of the file.
func (r *region) problem(v foreign.Verdict, off int64, format string, args ...any) foreign.Problem {
	return foreign.Problem{Verdict: v, File: r.rec.File.Name(), Off: off, Text: fmt.Sprintf(format, args...)}
}

// inZone is a problem at byte off of record i.
func (r *region) inZone(v foreign.Verdict, i uint64, off int64, format string, args ...any) foreign.Problem {
	p := r.problem(v, r.rec.Off+int64(i)*RecordLen+off, format, args...)
	p.Zone, p.InZone = i, true
	return p
}

// lengthProblem is that of a file whose length is not what QEMU makes it.
func (r *region) lengthProblem(size int64) foreign.Problem {
	p := r.problem(foreign.Wiped, 0, "length of the zone file: series v2 to v4 change it and reset all zones")
	if size < int64(layout.RoundUp(r.used(), pages[0])) {
		p.Text += ", v5 refuses to start"
	}
	p.Got = fmt.Sprint(size)
	for i, page := range pages {
		p.Want += fmt.Sprintf("%s%d (pages of %d KiB)", [...]string{"", ", ", " or "}[i], layout.RoundUp(r.used(), page), page>>10)
	}
	return p
}

// checkHeader finds what is wrong with the header alone: conditions 3, 4, 7 and 8, as far as the user
// says what the properties will be.
func (r *region) checkHeader(in *foreign.Input) []foreign.Problem {
	var ps []foreign.Problem
	differs := func(off int64, property string, code int, got, want any) {
		p := r.problem(foreign.Wiped, r.base+off, "property %s is not that of the geometry given; condition %d fails and QEMU resets all zones", property, code)
		p.Got, p.Want = fmt.Sprint(got), fmt.Sprint(want)
		ps = append(ps, p)
	}
	property := uint8(bits.TrailingZeros32(r.hdr.blockSize)) // what the sizes in the header are counted in
	if n, ok := in.SaidZoneSize(property); ok && n != r.ns.ZoneSize {
		differs(OffZoneSize, "zone_size", 3, r.ns.ZoneSize, n)
	}
	if n, ok := in.SaidZoneCap(property); ok && n != r.ns.ZoneCap {
		differs(OffZoneCap, "zone_capacity", 4, r.ns.ZoneCap, n)
	}
	if b, ok := in.SaidBlockBits(); ok && b != r.ns.BlockBits {
		differs(OffBlockSize, "logical_block_size", 7, r.hdr.blockSize, 1<<b)
	}
	said, ok := in.SaidExtSize()
	switch n := r.ns.ExtSize(); {
	case ok && said != n:
		differs(OffExtSize, "zone_descr_ext_size", 8, n, said)
	case n > 192:
		ps = append(ps, r.problem(foreign.Wiped, r.base+OffExtSize, "extensions of %d bytes do not fit the header's 8 bits, so condition 8 fails at every start and QEMU resets all zones", n))
	}
	if r.hdr.dirty != 0 {
		ps = append(ps, r.problem(foreign.Odd, r.base+OffDirty, "the dirty flag is set: the host may have crashed, and write pointers may be older than the data"))
	}
	return ps
}

// check walks all zones, then the lists.
func (r *region) check(found func(foreign.Problem) error) error {
	var all []links
	sound := true // conditions 9 to 15
	var counts layout.Counts
	start := &start{region: r, max: r.ns.MaxActive()}
	err := r.rec.Each(0, r.rec.Count, func(i uint64, b []byte) error {
		z, _ := r.zone(i, b)
		if k := z.State.Index(); k >= 0 {
			counts[k]++
		}
		if p := r.condition(i, b); p != nil {
			sound, all = false, nil
			return found(*p)
		}
		if sound {
			all = append(all, links{r.hdr.bo.Uint32(b[OffNext:]), r.hdr.bo.Uint32(b[OffPrev:]), z.State})
		}
		if p := start.zone(i, z); p != nil {
			if err := found(*p); err != nil {
				return err
			}
		}
		return r.checkUnread(i, b, z, found)
	})
	if err != nil {
		return err
	}
	return r.checkLists(all, counts, found)
}

// condition is that of conditions 9 to 15 which record i fails first.
func (r *region) condition(i uint64, b []byte) *foreign.Problem {
	bo, n := r.hdr.bo, r.ns
	fails := func(off int64, code int, text string, got, want any) *foreign.Problem {
		p := r.inZone(foreign.Wiped, i, off, "%s; condition %d fails and QEMU resets all zones", text, code)
		p.Got, p.Want = fmt.Sprint(got), fmt.Sprint(want)
		return &p
	}
	zcap, zslba, wp := bo.Uint64(b[OffRecordZCap:]), bo.Uint64(b[OffZSLBA:]), bo.Uint64(b[OffWP:])
	state := layout.ZoneState(b[1] >> 4)
	start := i * uint64(n.ZoneSize)
	end := start + uint64(n.ZoneCap)
	switch {
	case b[0] != uint8(layout.SeqWriteRequired):
		return fails(0, 9, "zone type", b[0], 2)
	case zcap != uint64(n.ZoneCap):
		return fails(OffRecordZCap, 10, "zone capacity", zcap, n.ZoneCap)
	case zslba != start:
		return fails(OffZSLBA, 11, "zone start", zslba, start)
	}
	switch {
	case state == layout.Empty || state == layout.Offline || state == layout.ReadOnly:
		if wp != start {
			return fails(OffWP, 12, fmt.Sprintf("write pointer of a zone that is %v", state), wp, start)
		}
	case state.Active():
		if wp < start || wp >= end {
			return fails(OffWP, 13, fmt.Sprintf("write pointer of a zone that is %v", state), wp, fmt.Sprintf("%d to %d", start, end-1))
		}
	case state == layout.Full:
		if wp != end {
			return fails(OffWP, 14, "write pointer of a Full zone", wp, end)
		}
	default:
		return fails(1, 15, "zone state", state, "a state")
	}
	return nil
}

// start follows what becomes of the zones when QEMU has found the file good: in ascending order, open
// ones are closed as long as active resources are left. max is their number, 0 for no limit.
type start struct {
	*region
	max, active uint64
}

// zone says what becomes of zone i, if it does not stay as it is.
func (s *start) zone(i uint64, z layout.Zone) *foreign.Problem {
	becomes := func(v foreign.Verdict, format string, args ...any) *foreign.Problem {
		p := s.inZone(v, i, 1, format, args...)
		return &p
	}
	hasExt := z.Attrs&layout.ZDEV != 0
	full := s.max > 0 && s.active >= s.max
	switch {
	case !z.State.Active():
		return nil
	case !z.State.Open():
		s.active++
		if full {
			return becomes(foreign.Refused, "Closed, and max-active %d zones before it are active; QEMU aborts", s.max)
		}
		return nil
	case s.old && (hasExt || z.WP != z.Start && !full):
		return becomes(foreign.Refused, "%v; QEMU up to series v3 aborts, for it closes the zone and leaves it in its list", z.State)
	case s.old:
		return becomes(foreign.Wiped, "%v; QEMU up to series v3 leaves it in its list, so that at the start after that it resets all zones", z.State)
	case z.WP == z.Start && !hasExt:
		return becomes(foreign.Changed, "%v; QEMU makes it Empty when it starts", z.State)
	case full && hasExt:
		return becomes(foreign.Refused, "%v with an extension, and max-active %d zones before it are active; QEMU aborts", z.State, s.max)
	case full:
		return becomes(foreign.Wiped, "%v, and max-active %d zones before it are active; QEMU makes it Full when it starts but puts it in no list, so that at the start after that it resets all zones", z.State, s.max)
	}
	s.active++
	return becomes(foreign.Changed, "%v; QEMU closes it when it starts", z.State)
}

// checkUnread looks at what QEMU believes without a look.
func (r *region) checkUnread(i uint64, b []byte, z layout.Zone, found func(foreign.Problem) error) error {
	bo := r.hdr.bo
	next, prev := bo.Uint32(b[OffNext:]), bo.Uint32(b[OffPrev:])
	if listed := z.State.Active() || z.State == layout.Full; !listed && (next != 0 || prev != 0) {
		p := r.inZone(foreign.Odd, i, OffNext, "%v zone has list links; QEMU aborts when it opens the zone", z.State)
		p.Got, p.Want = fmt.Sprintf("%d and %d", next, prev), "0 and 0"
		if err := found(p); err != nil {
			return err
		}
	}
	// For open zones w_ptr is put right at the start.
	if wp, wptr := bo.Uint64(b[OffWP:]), bo.Uint64(b[OffWPtr:]); !r.old && wptr != wp && !z.State.Open() && z.State != layout.Offline {
		p := r.inZone(foreign.Odd, i, OffWPtr, "w_ptr is not at the write pointer: writes are refused there and reads filled above w_ptr")
		p.Got, p.Want = fmt.Sprint(wptr), fmt.Sprint(wp)
		return found(p)
	}
	return nil
}
