package pstate

import (
	"fmt"

	"zimg/image/foreign"
	"zimg/layout"
)

// lengthProblem says that the file is not as long as QEMU wants it to be.
func lengthProblem(t *table, size int64, unit layout.Bytes) foreign.Problem {
	return foreign.Problem{
		Verdict: foreign.Refused, File: t.rec.File.Name(), Text: "length of the state file; QEMU refuses to start",
		Got: fmt.Sprint(size), Want: fmt.Sprint(layout.RoundUp(layout.Bytes(t.length()), unit)),
	}
}

// check finds what QEMU does not take, or changes, when it starts: an unknown state keeps it from
// starting, and open zones become Full, for it does not know how far they were written.
func (t *table) check(found func(foreign.Problem) error) error {
	withExt := -1
	return t.rec.Each(0, t.rec.Count, func(i uint64, b []byte) error {
		z := layout.DecodeZoneDescriptor(b)
		p := foreign.Problem{File: t.rec.File.Name(), Off: t.rec.Off + int64(i)*layout.DescriptorSize, Zone: i, InZone: true}
		switch {
		case !z.State.Valid() || z.State == layout.NotWP:
			p.Verdict, p.Off, p.Text, p.Got = foreign.Refused, p.Off+1, "zone state; QEMU refuses to start", z.State.String()
			return found(p)
		case z.State.Open():
			p.Verdict, p.Text = foreign.Changed, fmt.Sprintf("%v; QEMU makes it Full when it starts, its write pointer is not kept while it is open", z.State)
			if err := found(p); err != nil {
				return err
			}
		}
		if off := layout.DescriptorReserved(b); off >= 0 {
			p.Verdict, p.Off, p.Text = foreign.Odd, p.Off+int64(off), "reserved bytes are not zero"
			if err := found(p); err != nil {
				return err
			}
		}
		if z.Attrs&layout.ZDEV != 0 {
			if withExt == int(i)-1 && i > 0 {
				p.Verdict, p.Text = foreign.Odd, "has a descriptor extension like the zone before it; that QEMU lets such neighbours overlap, so it may be damaged"
				if err := found(p); err != nil {
					return err
				}
			}
			withExt = int(i)
		}
		return t.checkBitmap(i, z, p, found)
	})
}

// checkBitmap compares the write pointer of a Closed zone with the bitmap.
func (t *table) checkBitmap(i uint64, z layout.ZoneDescriptor, p foreign.Problem, found func(foreign.Problem) error) error {
	if t.bitmap == nil || z.State != layout.Closed && z.State != layout.Empty || z.Start != layout.LBA(i)*t.ns.ZoneSize {
		return nil
	}
	end := z.Start + t.ns.ZoneSize
	last, err := t.bitmap.last(uint64(z.Start), uint64(end))
	if err != nil || layout.LBA(last) == z.WP {
		return err
	}
	p.Verdict, p.Text, p.Got, p.Want = foreign.Odd, "the bitmap says that it was written to another block", fmt.Sprint(last), fmt.Sprint(uint64(z.WP))
	return found(p)
}
