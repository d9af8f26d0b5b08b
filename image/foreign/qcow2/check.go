package qcow2

import (
	"fmt"

	"zimg/image/foreign"
	"zimg/layout"
)

// checkHeader compares the extension with the rest of the header.
func (im *image) checkHeader() []foreign.Problem {
	var ps []foreign.Problem
	add := func(v foreign.Verdict, off int64, text, got, want string) {
		ps = append(ps, foreign.Problem{Verdict: v, File: im.rec.File.Name(), Off: off, Text: text, Got: got, Want: want})
	}
	z, h := im.z, im.h
	bit := h.incompat&BitZoned != 0
	if z.bit && !bit {
		add(foreign.Odd, offIncompat, "feature bit 5 is not set: a QEMU that knows nothing of zones writes to the image without moving write pointers", "", "")
	}
	if !z.bit && bit {
		add(foreign.Refused, offIncompat, "feature bit 5, which series "+z.version+" does not know", fmt.Sprintf("%#x", h.incompat), "")
	}
	if h.incompat&bitDirty != 0 {
		add(foreign.Odd, offIncompat, "dirty: a QEMU that opens the image for writing counts references anew, and frees the clusters of the write pointers where nothing maps them", "", "")
	}
	if z.metaOff%uint64(h.clusterSize()) != 0 {
		add(foreign.Odd, h.extOff, "zonedmeta_offset is not on a cluster", fmt.Sprint(z.metaOff), "")
	}
	if z.maxAppend+sector >= z.zoneCap {
		add(foreign.Refused, h.extOff, "max_append_bytes leaves no room in a zone; QEMU refuses the image", fmt.Sprint(z.maxAppend), fmt.Sprintf("below %d", int64(z.zoneCap)-sector))
	}
	if text, ok := im.limits(); !ok {
		v, what := foreign.Odd, "limits that do not fit the zones; QEMU cuts them"
		if z.version == version9 { // it cuts them too, but sets an error that its block layer then finds
			v, what = foreign.Refused, "limits that do not fit the zones; QEMU refuses the image"
		}
		add(v, h.extOff, what, fmt.Sprintf("max_open %d, max_active %d", z.maxOpen, z.maxActive), text)
	}
	ps = append(ps, im.checkPlace()...)
	return ps
}

// limits reports whether the limits are such that v9 takes them, and what they must be.
func (im *image) limits() (string, bool) {
	z := im.z
	switch {
	case z.maxActive > z.zones:
		return fmt.Sprintf("max_active up to the %d zones", z.zones), false
	case z.maxOpen > z.zones-z.conv:
		return fmt.Sprintf("max_open up to the %d sequential zones", z.zones-z.conv), false
	case z.maxOpen > z.maxActive && (z.maxActive != 0 || z.version == version9):
		return "max_open up to max_active", false
	}
	return "", true
}

// checkPlace looks at where the write pointers are, and at their refcounts.
func (im *image) checkPlace() []foreign.Problem {
	h, off, end := im.h, int64(im.z.metaOff), im.metaEnd()
	at := foreign.Problem{Verdict: foreign.Odd, File: im.rec.File.Name(), Off: off}
	for _, x := range []struct {
		name     string
		off, len int64
	}{
		{"header", 0, h.clusterSize()},
		{"L1 table", h.l1, 8 * int64(h.l1Size)},
		{"reference count table", h.refTable, int64(h.refClusters) << h.clusterBits},
	} {
		if off < x.off+x.len && end > x.off {
			at.Text = "the write pointers overlap the " + x.name
			return []foreign.Problem{at}
		}
	}
	if n := int64(h.refClusters) << h.clusterBits; n == 0 || n > maxRefTable {
		at.Verdict, at.Off = foreign.Refused, offRefClusters
		at.Text, at.Got, at.Want = "length of the reference count table; QEMU refuses the image", fmt.Sprint(n), fmt.Sprintf("1 to %d", maxRefTable)
		return []foreign.Problem{at}
	}
	for c := off &^ (h.clusterSize() - 1); c < end; c += h.clusterSize() {
		count, err := im.refcount(c)
		switch {
		case err != nil:
			at.Text = fmt.Sprintf("the refcount of the cluster at byte %d, of write pointers, cannot be read: %v", c, err)
		case count == 0:
			at.Off = c
			at.Text = "the cluster of the write pointers has no refcount: qemu-img check -r leaks, and any write, may reuse it"
		default:
			continue
		}
		return []foreign.Problem{at}
	}
	return nil
}

// metaEnd is the offset after the write pointers.
func (im *image) metaEnd() int64 { return int64(im.z.metaOff) + entryLen*int64(im.z.zones) }

// refcount is that of the cluster at off.
func (im *image) refcount(off int64) (uint64, error) {
	h := im.h
	c := off >> h.clusterBits
	perBlock := h.clusterSize() * 8 >> h.refOrder
	var b [8]byte
	if c/perBlock >= int64(h.refClusters)<<h.clusterBits/8 {
		return 0, nil
	}
	if err := foreign.ReadFull(im.rec.File, b[:], h.refTable+c/perBlock*8); err != nil {
		return 0, err
	}
	block := int64(be.Uint64(b[:]) & offsetMask)
	if block == 0 {
		return 0, nil
	}
	bit := c % perBlock << h.refOrder // within the block
	n := b[:max(1, 1<<h.refOrder/8)]
	if err := foreign.ReadFull(im.rec.File, n, block+bit/8); err != nil {
		return 0, err
	}
	var v uint64
	for _, x := range n {
		v = v<<8 | uint64(x)
	}
	if h.refOrder < 3 { // several in a byte, the first in the lowest bits
		v = v >> (bit % 8) & (1<<(1<<h.refOrder) - 1)
	}
	return v, nil
}

// check looks at every entry, and at where the clusters of its zone are.
func (im *image) check(found func(foreign.Problem) error) error {
	return im.rec.Each(0, im.n.ZoneCount, func(i uint64, b []byte) error {
		e := im.bo.Uint64(b)
		at := foreign.Problem{Verdict: foreign.Odd, File: im.rec.File.Name(), Off: im.rec.Off + int64(i)*entryLen, Zone: i, InZone: true, Got: fmt.Sprintf("%#x", e)}
		if err := im.checkClusters(i, e, at, found); err != nil {
			return err
		}
		start := i * im.z.zoneSize
		switch conv := i < uint64(im.z.conv); {
		case conv != (e&im.z.convMark != 0) || conv && e != start|im.z.convMark:
			at.Text, at.Want = "mark of a conventional zone", fmt.Sprintf("%d conventional zones at the start", im.z.conv)
		case e&im.z.convMark == 0 && !im.inside(i, e) && !im.z.states:
			at.Text, at.Want = "write pointer above the zone, which QEMU takes for Full", fmt.Sprintf("%d to %d", start, start+im.z.zoneSize)
			if im.wp(e) < start {
				at.Text = "write pointer below the zone, which QEMU takes for one without a write pointer"
			}
		case im.z.states && layout.ZoneState(e>>60).Open():
			at.Verdict, at.Text, at.Got = foreign.Changed, "open; QEMU closes it when it starts", ""
		default:
			return nil
		}
		return found(at)
	})
}

// checkClusters reports guest clusters of zone i that overlap the write pointers, and those that are
// allocated although all of them is above the write pointer e.
func (im *image) checkClusters(i, e uint64, at foreign.Problem, found func(foreign.Problem) error) error {
	cs := im.h.clusterSize()
	above := (int64(im.wp(e)) + cs - 1) / cs * cs
	if e&im.z.convMark != 0 || !im.inside(i, e) {
		above = int64((i + 1) * im.z.zoneSize)
	}
	over := false
	for x, err := range im.blocks.extents(int64(i*im.z.zoneSize), int64((i+1)*im.z.zoneSize)/cs*cs) {
		if err != nil {
			return err
		}
		if end := x.FileOff + x.Len; x.File == im.rec.File && x.FileOff < im.metaEnd() && end > int64(im.z.metaOff) {
			at.Text, at.Got = "data on top of the write pointers", fmt.Sprintf("at guest byte %d", x.Off)
			return found(at)
		}
		if x.Off+x.Len > above && !over {
			over = true
			at.Text, at.Got = "data above the write pointer", fmt.Sprintf("at guest byte %d", max(x.Off, above))
			if err := found(at); err != nil {
				return err
			}
		}
	}
	return nil
}
