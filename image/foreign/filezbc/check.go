package filezbc

import (
	"fmt"
	"slices"

	"zimg/image/foreign"
	"zimg/layout"
)

// What tcmu-runner checks when it starts, where a failure means that it formats the file anew and says
// nothing; and what it does not look at, or does not take as it is meant.

// pageSizes are those of hosts: the offset of the data is rounded up to one. Most have the first.
var pageSizes = []int64{4096, 16384, 65536}

// dataOff is where the data of a file with so many zones begins, made on a host with such pages.
func dataOff(zones uint64, page int64) int64 {
	return int64(layout.RoundUp(layout.Bytes(HeaderLen+RecordLen*int64(zones)), layout.Bytes(page)))
}

// wipes is what follows from a check that fails.
const wipes = "; tcmu-runner resets all zones"

// header finds what is wrong with a header that can still be read; the data begins at base.
func (im *image) header(base int64) []foreign.Problem {
	var list []foreign.Problem
	zones := im.rec.Count
	at := foreign.Problem{File: im.rec.File.Name(), Off: OffMaxOpen, Got: fmt.Sprint(im.max), Want: fmt.Sprintf("1 to %d", zones)}
	switch {
	case uint64(im.max) > zones:
		at.Verdict, at.Text = foreign.Wiped, "nr_open_zones"+wipes
		list = append(list, at)
	case im.max == 0:
		at.Verdict, at.Text = foreign.Odd, "nr_open_zones; tcmu-runner opens no zone then and refuses every write"
		list = append(list, at)
	}
	pages := slices.IndexFunc(pageSizes, func(page int64) bool { return dataOff(zones, page) == base })
	at = foreign.Problem{File: im.rec.File.Name(), Got: fmt.Sprint(base), Want: fmt.Sprint(dataOff(zones, pageSizes[0]))}
	switch {
	case pages < 0:
		at.Verdict, at.Text = foreign.Wiped, "the data begins where hosts of no page size put it"+wipes
		list = append(list, at)
	case pages > 0:
		at.Verdict, at.Text = foreign.Odd, fmt.Sprintf("the data begins where hosts with pages of %d bytes put it; on others tcmu-runner resets all zones", pageSizes[pages])
		list = append(list, at)
	}
	return list
}

// check looks at all zones.
func (im *image) check(found func(foreign.Problem) error) error {
	open := uint64(0)
	err := im.rec.Each(0, im.rec.Count, func(i uint64, b []byte) error {
		p := im.zoneProblem(i, b)
		if i < im.n.ZoneCount && b[RecType] != uint8(layout.Conventional) && layout.ZoneState(b[RecCond]).Open() {
			open++
		}
		if p.Text == "" {
			return nil
		}
		p.File, p.Zone, p.InZone = im.rec.File.Name(), i, true
		p.Off += im.rec.Off + int64(i)*RecordLen
		return found(p)
	})
	if err == nil && im.max != 0 && open > uint64(im.max) {
		return found(foreign.Problem{Verdict: foreign.Odd, File: im.rec.File.Name(), Off: OffMaxOpen, Text: "more zones are open than nr_open_zones allows", Got: fmt.Sprint(open), Want: fmt.Sprint(im.max)})
	}
	return err
}

// zoneProblem is the worst of entry i, its Off within the entry; without a Text if there is none.
func (im *image) zoneProblem(i uint64, b []byte) foreign.Problem {
	kind, cond, size := layout.ZoneType(b[RecType]), layout.ZoneState(b[RecCond]), uint64(im.n.ZoneSize)
	start, length, wp := im.bo.Uint64(b[RecStart:]), im.bo.Uint64(b[RecLen:]), im.bo.Uint64(b[RecWP:])
	problem := func(v foreign.Verdict, off int64, text string, got, want any) foreign.Problem {
		return foreign.Problem{Verdict: v, Off: off, Text: text, Got: fmt.Sprint(got), Want: fmt.Sprint(want)}
	}
	first := layout.SeqWriteRequired
	if i < im.conv {
		first = layout.Conventional
	}
	switch {
	case kind != layout.Conventional && kind != layout.SeqWriteRequired:
		return problem(foreign.Wiped, RecType, "zone type"+wipes, uint8(kind), uint8(first))
	case kind == layout.Conventional && cond != layout.NotWP:
		return problem(foreign.Wiped, RecCond, "condition of a conventional zone"+wipes, uint8(cond), 0)
	case start%size != 0:
		return problem(foreign.Wiped, RecStart, "zone start"+wipes, start, i*size)
	case length > size:
		return problem(foreign.Wiped, RecLen, "zone length"+wipes, length, size)
	case kind != first:
		return problem(foreign.Odd, RecType, "zone type differs from the number of conventional zones in the header", uint8(kind), uint8(first))
	case length != size && i < im.n.ZoneCount:
		return problem(foreign.Odd, RecLen, "zone length", length, size)
	case cond.Open() && kind != layout.Conventional:
		return foreign.Problem{Verdict: foreign.Changed, Off: RecCond, Text: fmt.Sprintf("%v; tcmu-runner closes it when it starts", cond)}
	case cond == layout.Full && wp != start+length:
		return problem(foreign.Odd, RecWP, "write pointer of a Full zone", wp, start+length)
	}
	return foreign.Problem{}
}
