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
	if im.z.version == "v8 or v9" && h.incompat&BitZoned == 0 {
		add(foreign.Odd, offIncompat, "feature bit 5 is not set: a QEMU that knows nothing of zones writes to the image without moving write pointers", "", "")
	}
	if z.metaOff%uint64(h.clusterSize()) != 0 {
		add(foreign.Odd, h.extOff, "zonedmeta_offset is not on a cluster", fmt.Sprint(z.metaOff), "")
	}
	if uint64(z.maxAppend)+512 >= z.zoneCap {
		add(foreign.Refused, h.extOff, "max_append_bytes leaves no room in a zone; QEMU refuses the image", fmt.Sprint(z.maxAppend), fmt.Sprintf("below %d", int64(z.zoneCap)-512))
	}
	if z.maxActive > z.zones || z.maxOpen > z.zones-z.conv || z.maxActive != 0 && z.maxOpen > z.maxActive {
		add(foreign.Odd, h.extOff, "limits that do not fit the zones; QEMU cuts them", fmt.Sprintf("max_open %d, max_active %d", z.maxOpen, z.maxActive), fmt.Sprintf("within %d zones", z.zones))
	}
	if count, err := im.refcount(int64(z.metaOff)); err == nil && count == 0 {
		add(foreign.Odd, int64(z.metaOff), "the cluster of the write pointers has no refcount: qemu-img check -r leaks, and any write, may reuse it", "", "")
	}
	return ps
}

// refcount is that of the cluster at off.
func (im *image) refcount(off int64) (uint64, error) {
	h := im.h
	c := off >> h.clusterBits
	perBlock := h.clusterSize() * 8 >> h.refOrder
	var b [8]byte
	if c/perBlock >= int64(h.refClusters)*h.clusterSize()/8 {
		return 0, nil
	}
	if err := foreign.ReadFull(im.rec.File, b[:], h.refTable+c/perBlock*8); err != nil {
		return 0, err
	}
	block := int64(be.Uint64(b[:]) & offsetMask)
	if block == 0 || h.refOrder < 3 {
		return 0, nil
	}
	width := int64(1) << (h.refOrder - 3)
	n := b[:width]
	if err := foreign.ReadFull(im.rec.File, n, block+c%perBlock*width); err != nil {
		return 0, err
	}
	var v uint64
	for _, x := range n {
		v = v<<8 | uint64(x)
	}
	return v, nil
}

// check looks for data above write pointers, and at conventional zones' entries.
func (im *image) check(found func(foreign.Problem) error) error {
	return im.rec.Each(0, im.n.ZoneCount, func(i uint64, b []byte) error {
		e := im.bo.Uint64(b)
		at := foreign.Problem{Verdict: foreign.Odd, File: im.rec.File.Name(), Off: im.rec.Off + int64(i)*entryLen, Zone: i, InZone: true, Got: fmt.Sprintf("%#x", e)}
		start := i * im.z.zoneSize
		if conv := i < uint64(im.z.conv); conv != (e&entryConv != 0) || conv && e != start|entryConv {
			at.Text, at.Want = "mark of a conventional zone", fmt.Sprintf("%d conventional zones at the start", im.z.conv)
			return found(at)
		}
		if im.z.states && layout.ZoneState(e>>60).Open() {
			at.Verdict, at.Text, at.Got = foreign.Changed, "open; QEMU closes it when it starts", ""
			return found(at)
		}
		return im.checkAbove(i, e, at, found)
	})
}

// checkAbove reports clusters that are allocated although all of them is above the write pointer.
func (im *image) checkAbove(i, e uint64, at foreign.Problem, found func(foreign.Problem) error) error {
	wp := e & (entryConv - 1)
	if e&entryConv != 0 || wp > (i+1)*im.z.zoneSize || wp < i*im.z.zoneSize {
		return nil
	}
	cs := im.h.clusterSize()
	for x, err := range im.blocks.extents((int64(wp)+cs-1)/cs*cs, int64((i+1)*im.z.zoneSize)/cs*cs) {
		if err != nil {
			return err
		}
		at.Text, at.Got = "data above the write pointer", fmt.Sprintf("at guest byte %d", x.Off)
		return found(at)
	}
	return nil
}
