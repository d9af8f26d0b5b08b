package qcow2

import (
	"encoding/binary"
	"fmt"

	"zimg/image/foreign"
	"zimg/image/zns"
	"zimg/layout"
)

// Format is zoned qcow2.
var Format = &foreign.Format{
	Name: "qcow2", Title: "qcow2 with the zoned extension of QEMU patches of 2023 and 2024 (Li)",
	Shape: foreign.OneFile, Original: "QEMU with Li's patches",
	Holds: foreign.Holds{
		States: []layout.ZoneState{layout.Empty, layout.Closed, layout.Full, layout.NotWP}, Conventional: true, Capacity: true,
		Limits: true, Geometry: true, MinBits: 9, MaxBits: 12,
		Restrict: restrict,
		Notes: func(n *layout.Namespace) []string {
			if n.ByteOff(n.ZoneSize) < 1<<31 {
				return nil
			}
			return []string{"QEMU with these patches computes zone sizes in 32 bits: with zones of 2 GiB and more a reset does nothing or ends QEMU"}
		},
	},
	Probe: func(h *foreign.Head) bool {
		if len(h.First) < headerLenV3 || be.Uint32(h.First) != Magic {
			return false
		}
		file, err := h.FS.Open(h.Path, 0, 0)
		if err != nil {
			return false
		}
		hdr, err := readHeader(file)
		_ = file.Close()
		if err != nil { // if it says that it has zones, the error is reported
			return be.Uint32(h.First[offVersion:]) >= 3 && be.Uint64(h.First[offIncompat:])&BitZoned != 0
		}
		return hdr.ext != nil
	},
	Decode: decode,
	Encode: encode,
}

// restrict refuses what the container or the extension has no room for.
func restrict(n *layout.Namespace) error {
	if n.ByteOff(n.ZoneCap) <= 1024 || n.ZoneCount > maxZones {
		return fmt.Errorf("it has %d zones with a capacity of %d bytes; the extension holds at most %d zones, and capacities above 1024 bytes", n.ZoneCount, n.ByteOff(n.ZoneCap), maxZones)
	}
	if anchor(n)+clustersFor(entryLen*int64(n.ZoneCount)) > maxL1/8*entriesPer {
		return fmt.Errorf("%d bytes, more than QEMU reads in clusters of %d", n.Size(), clusterSize)
	}
	return nil
}

// Entries hold a write pointer, in bytes of guest space; early versions the state above it.
const (
	entryConv = 1 << 59
	entryLen  = 8
	// maxZones is what the text of v9 allows.
	maxZones = (1<<32 - 1) / 8
)

// image is a container, laid out.
type image struct {
	h      *header
	z      *zoned
	n      *layout.Namespace
	rec    *foreign.Records
	bo     binary.ByteOrder
	blocks *clusters
}

func decode(in *foreign.Input) (*foreign.Decoded, error) {
	file, err := in.Open(in.Path)
	if err != nil {
		return nil, err
	}
	h, err := readHeader(file)
	if err != nil {
		return nil, err
	}
	if h.ext == nil {
		if err := in.RefuseContainer(); err != nil {
			return nil, err
		}
		return nil, layout.Errorf(foreign.ErrNotFormat, "%s is a qcow2 image without zones", file.Name())
	}
	if err := h.support(file); err != nil {
		return nil, err
	}
	z := parseZoned(h.ext, h.incompat&BitZoned != 0)
	if z == nil {
		return nil, foreign.Field(file, "zoned extension", "length and arithmetic", h.extOff, len(h.ext), "one of the layouts that were ever posted")
	}
	size, err := file.Size()
	if err != nil {
		return nil, err
	}
	field := func(name string, got, want any) error {
		return foreign.Field(file, "zoned extension ("+z.version+")", name, h.extOff, got, want)
	}
	d := &foreign.Decoded{Facts: []foreign.Fact{{Key: "extension", Value: z.version}, {Key: "cluster size", Value: fmt.Sprint(h.clusterSize())}}}
	n := &layout.Namespace{ID: 1, CSI: layout.ZNS, BlockBits: in.BlockBits(d), ZoneCount: uint64(z.zones)}
	n.MOR, n.MAR = layout.Limits(z.maxOpen, z.maxActive)
	switch {
	case z.mode != 1:
		return nil, field("zoned", z.mode, "1, host-managed")
	case z.zoneSize == 0 || z.zoneSize%uint64(n.BlockSize()) != 0:
		return nil, field("zone_size", z.zoneSize, fmt.Sprintf("whole blocks of %d bytes", n.BlockSize()))
	case z.zoneCap == 0 || z.zoneCap > z.zoneSize || z.zoneCap%uint64(n.BlockSize()) != 0:
		return nil, field("zone_capacity", z.zoneCap, fmt.Sprintf("up to the zone size %d, whole blocks of %d bytes", z.zoneSize, n.BlockSize()))
	case uint64(z.zones) != (h.size-1)/z.zoneSize+1:
		return nil, field("nr_zones (QEMU refuses the image)", z.zones, fmt.Sprintf("%d, for %d bytes", (h.size-1)/z.zoneSize+1, h.size))
	case z.conv >= z.zones:
		return nil, field("conventional_zones", z.conv, fmt.Sprintf("less than %d", z.zones))
	case z.metaOff > uint64(size) || uint64(z.zones) > (uint64(size)-z.metaOff)/entryLen:
		return nil, field("zonedmeta_offset", z.metaOff, fmt.Sprintf("%d bytes within %d", 8*uint64(z.zones), size))
	case z.extSize%64 != 0 || z.extSize > 255*64:
		return nil, field("zd_extension_size", z.extSize, "a multiple of 64, up to 16320")
	}
	n.ZoneSize, n.ZoneCap = layout.LBA(z.zoneSize>>n.BlockBits), layout.LBA(z.zoneCap>>n.BlockBits)
	if h.size%z.zoneSize != 0 {
		n.ZoneCount--
		d.Lost = append(d.Lost, fmt.Sprintf("zone %d, which is shorter than the others", n.ZoneCount))
		if n.ZoneCount == 0 {
			return nil, fmt.Errorf("%s: one zone, shorter than the zone size: %w", file.Name(), foreign.ErrUnsupported)
		}
	}
	n.Blocks = layout.LBA(n.ZoneCount) * n.ZoneSize
	if err := n.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", file.Name(), err)
	}
	im := &image{h: h, z: z, n: n, bo: binary.LittleEndian, blocks: &clusters{h: h, file: file, size: size}}
	im.rec = &foreign.Records{File: file, Off: int64(z.metaOff), Len: entryLen, Count: n.ZoneCount, Decode: im.zone}
	if err := im.blocks.checkL1(); err != nil {
		return nil, err
	}
	if err := im.order(); err != nil {
		return nil, err
	}
	if h.snapshots > 0 {
		d.Lost = append(d.Lost, fmt.Sprintf("%d internal snapshots", h.snapshots))
	}
	d.Contents = []*foreign.Content{{NS: n, Zones: im.rec, Data: im.blocks.extents}}
	d.Problems = im.checkHeader()
	d.Walk = im.check
	return d, nil
}

// order finds the byte order of the entries, where the extension does not say: the one in which fewer
// of them are outside their zones, little-endian if it is the same.
func (im *image) order() error {
	if im.z.order != nil {
		im.bo = im.z.order
		return nil
	}
	var little, big uint64
	err := im.rec.Each(0, im.n.ZoneCount, func(i uint64, b []byte) error {
		if !im.inside(i, binary.LittleEndian.Uint64(b)) {
			little++
		}
		if !im.inside(i, binary.BigEndian.Uint64(b)) {
			big++
		}
		return nil
	})
	if little > big {
		im.bo = binary.BigEndian
	}
	return err
}

// wp is the write pointer of an entry. Without states in it, nothing is above the pointer but the
// mark of a conventional zone.
func (im *image) wp(e uint64) uint64 {
	if im.z.states {
		return e & (im.z.convMark - 1)
	}
	return e &^ im.z.convMark
}

// inside reports whether the write pointer of entry e is in zone i, or at its end.
func (im *image) inside(i, e uint64) bool {
	wp := im.wp(e)
	return wp >= i*im.z.zoneSize && wp <= (i+1)*im.z.zoneSize
}

// zone decodes entry i. Without states in it, a zone is Empty, Closed or Full by its write pointer.
func (im *image) zone(i uint64, b []byte) (layout.Zone, error) {
	e := im.bo.Uint64(b)
	field := func(got, want any) error {
		return foreign.Field(im.rec.File, fmt.Sprintf("zone %d", i), "write pointer", im.rec.Off+int64(i)*entryLen, got, want)
	}
	if im.z.states && e>>32 == 0xFFFFFFFF {
		return layout.Zone{}, field(fmt.Sprintf("%#x", e), "one below 2 GiB: this one was damaged by a 32-bit computation when it was written")
	}
	if e&im.z.convMark != 0 {
		return foreign.ConventionalZone(im.n, i), nil
	}
	wp := im.wp(e)
	start, end := i*im.z.zoneSize, i*im.z.zoneSize+im.z.zoneCap
	if wp >= end && im.inside(i, e) { // finished: up to the end of the zone, not of its capacity
		wp = end
	}
	if wp < start || wp > end || wp%uint64(im.n.BlockSize()) != 0 {
		return layout.Zone{}, field(wp, fmt.Sprintf("%d to %d, whole blocks of %d", start, end, im.n.BlockSize()))
	}
	at := layout.LBA(wp >> im.n.BlockBits)
	if im.z.states {
		z := foreign.FromZBC(im.n, i, uint8(layout.SeqWriteRequired), uint8(e>>60), layout.LBA(i)*im.n.ZoneSize, at)
		if z.State.Active() && z.Written == z.End() {
			z = zns.AtRest(im.n, z)
		}
		return z, nil
	}
	return zns.WrittenTo(im.n, im.n.EmptyZone(i), at), nil
}
