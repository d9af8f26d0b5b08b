package pstate

import (
	"fmt"

	"zimg/image/disk"
	"zimg/image/foreign"
	"zimg/layout"
)

// problem is one at a byte of the file.
func (t *table) problem(v foreign.Verdict, off int64, format string, args ...any) foreign.Problem {
	return foreign.Problem{Verdict: v, File: t.rec.File.Name(), Off: off, Text: fmt.Sprintf(format, args...)}
}

// checkHeader finds what QEMU refuses of the header h and the file's length, and what is odd. The
// properties are known only as far as the user says them.
func (t *table) checkHeader(in *foreign.Input, h []byte, size int64) []foreign.Problem {
	var ps []foreign.Problem
	refused := func(off int64, text string, got, want any) {
		p := t.problem(foreign.Refused, off, "%s; QEMU refuses to start", text)
		p.Got, p.Want = fmt.Sprint(got), fmt.Sprint(want)
		ps = append(ps, p)
	}
	n := t.ns
	if b, ok := in.SaidBlockBits(); ok && b != n.BlockBits {
		refused(OffLBADS, "property lbads is not that of the geometry given", n.BlockBits, b)
	}
	if c, ok := in.SaidZoneCap(n.BlockBits); ok && c != n.ZoneCap {
		refused(OffZCap, "property zns.zcap is not that of the geometry given", n.ZoneCap, c)
	}
	if z, ok := in.SaidZoneSize(n.BlockBits); ok && z != n.ZoneSize {
		refused(OffZSize, "property zns.zsze is not that of the geometry given", n.ZoneSize, z)
	}
	if e, ok := in.SaidExtSize(); ok && e != n.ExtSize() {
		refused(OffZDES, "property zns.zdes is not that of the geometry given", n.ZDES, e/64)
	}
	if want := t.fileLength(); size != want {
		refused(0, "length of the state file", size, want)
	}
	if h[OffIOCS] != uint8(layout.ZNS) {
		p := t.problem(foreign.Odd, OffIOCS, "command set of a file with zones; whether QEMU looks at it is not known")
		p.Got, p.Want = fmt.Sprint(h[OffIOCS]), "2"
		ps = append(ps, p)
	}
	for i := range h {
		if h[i] != 0 && (i > OffIOCS && i < OffZCap || i > OffZDES) {
			return append(ps, t.problem(foreign.Odd, int64(i), "reserved bytes of the header are not zero"))
		}
	}
	return ps
}

// checkData compares the data image with the length that the header has.
func (t *table) checkData(d *foreign.Decoded, data disk.File, length uint64) error {
	size, err := data.Size()
	if err != nil {
		return err
	}
	if have := foreign.DeviceLength(size); uint64(have) != length {
		p := t.problem(foreign.Refused, OffLength, "length of the data device; QEMU refuses to start")
		p.Got, p.Want = fmt.Sprint(length), fmt.Sprintf("%d, the length of %s", have, data.Name())
		d.Problems = append(d.Problems, p)
	}
	end, err := foreign.LastByte(data, int64(t.ns.Size()), size)
	if err == nil && end > int64(t.ns.Size()) {
		d.Lost = append(d.Lost, fmt.Sprintf("data after the last whole zone, up to byte %d of %s", end, data.Name()))
	}
	return err
}

// check finds what QEMU does not take, or changes, when it starts, and what it does not look at.
func (t *table) check(found func(foreign.Problem) error) error {
	s := &start{table: t, max: t.ns.MaxActive()}
	var withExt, seen uint64
	err := t.rec.Each(0, t.rec.Count, func(i uint64, b []byte) error {
		z, err := t.descriptor(b)
		if err != nil {
			return err
		}
		p := t.problem(foreign.Odd, t.rec.Off+int64(i)*layout.DescriptorSize, "")
		p.Zone, p.InZone = i, true
		if p := s.zone(z, p); p != nil {
			if err := found(*p); err != nil || p.Verdict == foreign.Refused {
				return err
			}
		}
		odd := func(off int64, format string, args ...any) error {
			p := p
			p.Off, p.Text = p.Off+off, fmt.Sprintf(format, args...)
			return found(p)
		}
		if off := layout.DescriptorReserved(b); off >= 0 {
			if err := odd(int64(off), "reserved bytes are not zero"); err != nil {
				return err
			}
		}
		if z.Cap != t.ns.ZoneCap {
			if err := odd(8, "a capacity of %d blocks, where that QEMU gives all zones the same, %d", z.Cap, t.ns.ZoneCap); err != nil {
				return err
			}
		}
		if z.Attrs&layout.ZDEV != 0 {
			// Their buffers begin one byte apart.
			if seen > 0 && t.series != seriesV0 && i-withExt < uint64(t.ns.ExtSize()) {
				if err := odd(2, "has a descriptor extension like zone %d before it; that QEMU lets neighbours overlap, so it may be damaged", withExt); err != nil {
					return err
				}
			}
			withExt = i
			seen++
		}
		return t.checkBitmap(i, z, odd)
	})
	if err != nil || t.bitmap == nil {
		return err
	}
	end, err := t.bitmap.last(uint64(t.ns.Blocks), t.bitmap.blocks)
	if err == nil && end > uint64(t.ns.Blocks) {
		err = found(t.problem(foreign.Odd, t.bitmap.off+int64(end-1)/8, "the bitmap has block %d written, after the last zone", end-1))
	}
	return err
}

// start follows what becomes of the zones when QEMU starts, in ascending order. max is the number of
// active resources, 0 for no limit.
type start struct {
	*table
	max, active uint64
}

// zone completes p if the zone does not stay as it is.
func (s *start) zone(z layout.ZoneDescriptor, p foreign.Problem) *foreign.Problem {
	p.Off, p.Verdict = p.Off+1, foreign.Changed
	switch {
	case !z.State.Valid() || z.State == layout.NotWP:
		p.Verdict, p.Text, p.Got = foreign.Refused, "zone state; QEMU refuses to start", z.State.String()
	case z.State.Open() && s.series == seriesV0:
		p.Text = fmt.Sprintf("%v; QEMU makes it Full when it starts, as finished by the controller", z.State)
	case z.State.Open():
		p.Text = fmt.Sprintf("%v; QEMU makes it Full when it starts, its write pointer is not kept while it is open", z.State)
	case z.State != layout.Closed:
		return nil
	case z.WP == z.Start && z.Attrs&layout.ZDEV == 0:
		p.Text = "Closed, with nothing written and no extension; QEMU makes it Empty when it starts"
	case s.series == seriesV0:
		p.Text = "Closed; QEMU makes it Full when it starts, as finished by the controller"
	case s.max > 0 && s.active >= s.max:
		p.Text = fmt.Sprintf("Closed, and max-active %d zones before it are active; QEMU makes it Full when it starts", s.max)
	default:
		s.active++
		return nil
	}
	return &p
}

// checkBitmap compares the write pointer of zone i with the bitmap. A Full zone may have been finished
// at any block, and that of an open one is in the bitmap alone.
func (t *table) checkBitmap(i uint64, z layout.ZoneDescriptor, odd func(off int64, format string, args ...any) error) error {
	start := layout.LBA(i) * t.ns.ZoneSize
	if t.bitmap == nil || z.Start != start || z.Cap > t.ns.ZoneSize {
		return nil
	}
	last, err := t.bitmap.last(uint64(start), uint64(start+t.ns.ZoneSize))
	if err != nil {
		return err
	}
	switch settled := z.State == layout.Closed || z.State == layout.Empty; {
	case layout.LBA(last) > z.End():
		return odd(8, "the bitmap has blocks written up to %d, above the capacity", last)
	case settled && layout.LBA(last) != z.WP, z.State.Open() && layout.LBA(last) < z.WP:
		return odd(24, "the bitmap has blocks written up to %d, but the write pointer is %d", last, z.WP)
	case settled:
		gap, err := t.bitmap.gap(uint64(start), last)
		if err == nil && gap < last {
			err = odd(24, "block %d, below the write pointer, is not in the bitmap: deallocated, or never written", gap)
		}
		return err
	}
	return nil
}
