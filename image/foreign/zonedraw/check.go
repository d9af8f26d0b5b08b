package zonedraw

import (
	"fmt"

	"zimg/image/foreign"
	"zimg/layout"
)

// checkHeader finds what of the header is not as the driver means it.
func (r *raw) checkHeader() []foreign.Problem {
	var ps []foreign.Problem
	add := func(off int64, text, got, want string) {
		ps = append(ps, foreign.Problem{Verdict: foreign.Odd, File: r.rec.File.Name(), Off: off, Text: text, Got: got, Want: want})
	}
	v := r.v
	if v.maxActive != 0 && v.maxOpen > v.maxActive {
		add(v.offOpen, "max_open_zones", fmt.Sprint(v.maxOpen), fmt.Sprintf("at most max_active_zones, %d", v.maxActive))
	}
	if v.model != hostManaged {
		add(v.offModel, "zone model: the driver shows a disk without zones", fmt.Sprint(v.model), fmt.Sprint(hostManaged))
	}
	if v.size() >= 1<<32 {
		add(0, "the driver computes the size of the disk with 32 bits and does not see the rest", fmt.Sprint(uint32(v.size())), fmt.Sprint(v.size()))
	}
	return ps
}

// check finds what the driver's own bugs do to a file.
func (r *raw) check(found func(foreign.Problem) error) error {
	return r.rec.Each(0, r.n.ZoneCount, func(i uint64, b []byte) error {
		e := le.Uint64(b)
		at := foreign.Problem{Verdict: foreign.Odd, File: r.rec.File.Name(), Off: r.rec.Off + int64(i)*entryLen, Zone: i, InZone: true, Got: fmt.Sprintf("%#x", e)}
		start, end := i*uint64(r.v.zoneSize), (i+1)*uint64(r.v.zoneSize)
		state := layout.ZoneState(e >> 60)
		wp, mended := r.pointer(i, e)
		switch {
		case extended(e):
			at.Text = "the state is lost, and the driver takes the zone for conventional and moves its write pointer no more: it computes with 32 bits above 2 GiB"
		case e&Conventional != 0 && (wp != start || i >= uint64(r.v.conv)):
			at.Text, at.Want = "conventional zone's entry", fmt.Sprintf("%#x, in the first %d zones", start|Conventional, r.v.conv)
		case e&Conventional == 0 && i < uint64(r.v.conv):
			at.Text = "zone among the conventional ones, without their mark"
		case mended:
			at.Text, at.Want = "the upper half of the write pointer is lost: the driver computes with 32 bits", fmt.Sprintf("%#x", e>>60<<60|wp)
		case state == layout.Full && wp != end:
			at.Text, at.Want = "write pointer of a Full zone", fmt.Sprint(end)
		case state.Open():
			at.Verdict, at.Got, at.Text = foreign.Changed, "", "open; the driver leaves it so but does not count it, an import closes it"
		default:
			return nil
		}
		return found(at)
	})
}
