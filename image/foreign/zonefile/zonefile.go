// Package zonefile reads and writes the zone file of Dmitry Fomichev's ZNS series for
// QEMU (qemu-devel, June to September 2020, v2 to v5; never merged): the image of the
// zones in QEMU's memory, beside a raw data image.
//
//	zonefile.go  layout and decoding    check.go  what that QEMU checks at its start    encode.go
//
// Source of the layout: v5 13/14, 20200928023528.15260-14-dmitry.fomichev@wdc.com, and 07/14
// for the structures. The layout of v1 is unknown.
//
//	 0                  4096                  4096+88z              +zdes*z
//	+------------------+---------------------+---------------------+---------+
//	| header           | zone records        | extensions          | padding |
//	+------------------+---------------------+---------------------+---------+
//	 to the page size of the host that made it; up to v4 once more for each namespace
package zonefile

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"zimg/image/disk"
	"zimg/image/foreign"
	"zimg/layout"
)

// Offsets of the header and of a record; they are those of C structs.
const (
	Magic     = 0x3AEBAA70
	HeaderLen = 4096
	RecordLen = 88

	OffVersion    = 4
	OffZoneSize   = 8
	OffZoneCap    = 16
	OffOffline    = 24
	OffReadOnly   = 28
	OffBlockSize  = 32
	OffExpOpen    = 40
	OffImpOpen    = 56
	OffClosed     = 72
	OffFull       = 88
	OffExtSize    = 104
	OffDirty      = 105
	OffRecordZCap = 8
	OffZSLBA      = 16
	OffWP         = 24
	OffWPtr       = 64
	OffNext       = 72
	OffPrev       = 76

	// Nil is the end of a list.
	Nil = 0xFFFFFFFF
)

// Format is the zone file.
var Format = &foreign.Format{
	Name: "zone-file", Title: "raw data and the zone_file of QEMU's ZNS patches of 2020 (Fomichev)",
	Shape: foreign.TwoFiles, Suffix: ".zones", Original: "QEMU with Fomichev's patches",
	Holds: foreign.Holds{
		States:      []layout.ZoneState{layout.Empty, layout.ImplicitlyOpened, layout.ExplicitlyOpened, layout.Closed, layout.Full, layout.ReadOnly, layout.Offline},
		ClosedEmpty: true, Capacity: true, Extensions: 192,
		Attributes: layout.ZFC | layout.FZR | layout.RZR | layout.ZDEV,
		ROWritten:  true, Geometry: true, BlockSize: true, MinBits: 9, MaxBits: 16,
		Zone: func(_ *layout.Namespace, z layout.Zone) (layout.Zone, string) {
			if z.State == layout.Offline {
				z.Attrs = 0 // cleared when a zone goes offline
			}
			if z.State == layout.ReadOnly && z.Written != z.Start {
				z.State, z.WP = layout.Closed, z.Written
				return foreign.AtRest(z), "Read Only zones with data (they can be written again)"
			}
			return z, ""
		},
	},
	Probe:  probe,
	Decode: decode,
	Encode: encode,
}

func probe(h *foreign.Head) bool {
	_, ok := foreign.HostOrder(h.First, Magic, HeaderLen)
	return ok
}

// list is the head of a list of zones.
type list struct{ head, tail, size uint32 }

// header is the part of the header that says something.
type header struct {
	version            uint32
	zoneSize, zoneCap  uint64
	offline, readOnly  uint32
	blockSize          uint32
	exp, imp, cl, full list
	extSize, dirty     uint8
	bo                 binary.ByteOrder
}

func decodeHeader(b []byte) (*header, error) {
	bo, ok := foreign.HostOrder(b, Magic, HeaderLen)
	if !ok {
		return nil, foreign.ErrNotFormat
	}
	lists := func(off int) list {
		return list{bo.Uint32(b[off:]), bo.Uint32(b[off+4:]), bo.Uint32(b[off+8:])}
	}
	return &header{
		version: bo.Uint32(b[OffVersion:]), zoneSize: bo.Uint64(b[OffZoneSize:]), zoneCap: bo.Uint64(b[OffZoneCap:]),
		offline: bo.Uint32(b[OffOffline:]), readOnly: bo.Uint32(b[OffReadOnly:]), blockSize: bo.Uint32(b[OffBlockSize:]),
		exp: lists(OffExpOpen), imp: lists(OffImpOpen), cl: lists(OffClosed), full: lists(OffFull),
		extSize: b[OffExtSize], dirty: b[OffDirty], bo: bo,
	}, nil
}

// region is the part of a zone file that is about one namespace.
type region struct {
	hdr  *header
	base int64
	ns   *layout.Namespace
	rec  *foreign.Records
}

// decode reads a zone file. Its path is given, or the data image's.
func decode(in *foreign.Input) (*foreign.Decoded, error) {
	data, file, err := in.Pair()
	if err != nil {
		return nil, err
	}
	d := &foreign.Decoded{}
	first, err := openRegion(in, d, file, data, 0)
	if err != nil {
		return nil, err
	}
	regions := []*region{first}
	length, err := regionLen(file, first)
	if err != nil {
		return nil, err
	}
	size, err := file.Size()
	if err != nil {
		return nil, err
	}
	for base := length; length > 0 && base+HeaderLen <= size && len(regions) < layout.MaxNamespaces; base += length {
		r, err := openRegion(in, d, file, nil, base)
		if err != nil {
			return nil, err
		}
		r.ns.ID = layout.NSID(len(regions) + 1)
		regions = append(regions, r)
	}
	for _, r := range regions {
		c := &foreign.Content{NS: r.ns, Zones: r.rec}
		if data != nil && (len(regions) == 1 || in.Pick == r.ns.ID) {
			limit, err := data.Size()
			if err != nil {
				return nil, err
			}
			c.Data = foreign.Linear(data, 0, limit)
		}
		d.Contents = append(d.Contents, c)
		d.Problems = append(d.Problems, r.checkHeader(file)...)
	}
	d.Walk = func(found func(foreign.Problem) error) error {
		for _, r := range regions {
			if err := r.check(file, found); err != nil {
				return err
			}
		}
		return nil
	}
	d.Facts = []foreign.Fact{{Key: "version", Value: fmt.Sprint(first.hdr.version)}, {Key: "byte order", Value: fmt.Sprint(first.hdr.bo)}}
	return d, nil
}

// openRegion reads the header at base and finds out how many zones follow.
func openRegion(in *foreign.Input, d *foreign.Decoded, file, data disk.File, base int64) (*region, error) {
	b := make([]byte, HeaderLen)
	if err := foreign.ReadFull(file, b, base); err != nil {
		return nil, err
	}
	h, err := decodeHeader(b)
	if err != nil {
		return nil, fmt.Errorf("%s at byte %d: %w", file.Name(), base, err)
	}
	field := func(name string, off int64, got, want any) error {
		return foreign.Field(file, "zone file header", name, base+off, got, want)
	}
	switch {
	case h.version != 1:
		return nil, field("version (QEMU would reset all zones)", OffVersion, h.version, 1)
	case h.blockSize < 512 || h.blockSize > 65536 || h.blockSize&(h.blockSize-1) != 0:
		return nil, field("lba_size", OffBlockSize, h.blockSize, "a power of two from 512 to 65536")
	case h.zoneSize == 0 || h.zoneSize > 1<<61/uint64(h.blockSize):
		return nil, field("zone_size", OffZoneSize, h.zoneSize, "a size that a file can have")
	case h.zoneCap == 0 || h.zoneCap > h.zoneSize:
		return nil, field("zone_capacity", OffZoneCap, h.zoneCap, fmt.Sprintf("1 to %d", h.zoneSize))
	case h.extSize%64 != 0:
		return nil, field("zd_extension_size", OffExtSize, h.extSize, "0, 64, 128 or 192")
	}
	r := &region{hdr: h, base: base, ns: &layout.Namespace{
		ID: 1, CSI: layout.ZNS, BlockBits: uint8(bits.TrailingZeros32(h.blockSize)), ZoneSize: layout.LBA(h.zoneSize), ZoneCap: layout.LBA(h.zoneCap),
		MAR: layout.NoLimit, MOR: layout.NoLimit, ZDES: h.extSize / 64,
	}}
	if g := in.Geometry; g != nil {
		r.ns.MAR, r.ns.MOR = g.MAR, g.MOR
		if h.extSize == 0 && g.ExtSize()%256 == 0 {
			r.ns.ZDES = g.ZDES // the header keeps only the low eight bits
		}
	}
	r.rec = &foreign.Records{File: file, Off: base + HeaderLen, Len: RecordLen, Decode: r.zone}
	if err := r.count(d, data); err != nil {
		return nil, err
	}
	r.ns.ZoneCount = r.rec.Count
	r.ns.Blocks = layout.LBA(r.rec.Count) * r.ns.ZoneSize
	r.rec.ExtOff, r.rec.ExtLen = base+HeaderLen+RecordLen*int64(r.rec.Count), r.ns.ExtSize()
	if err := r.rec.CheckRoom(); err != nil {
		return nil, err
	}
	if err := r.ns.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", file.Name(), err)
	}
	return r, nil
}

// count finds the number of zones, which the header does not tell: from the length of the
// data image, or by going on as long as records are as records must be.
func (r *region) count(d *foreign.Decoded, data disk.File) error {
	size, err := r.rec.File.Size()
	if err != nil {
		return err
	}
	room := uint64(size-r.rec.Off) / RecordLen
	if data != nil {
		length, err := data.Size()
		if err != nil {
			return err
		}
		zoneLen := uint64(r.ns.ByteOff(r.ns.ZoneSize))
		r.rec.Count = (uint64(length) + zoneLen - 1) / zoneLen
		if r.rec.Count == 0 || r.rec.Count > room {
			return foreign.Field(r.rec.File, "zone file", "room for zones", r.rec.Off, room, fmt.Sprintf("%d, as %s has", r.rec.Count, data.Name()))
		}
		if uint64(length)%zoneLen != 0 {
			d.Assumed = append(d.Assumed, fmt.Sprintf("the last zone sticks out beyond the end of %s, where it reads as zeroes", data.Name()))
		}
		return nil
	}
	r.rec.Count = room
	n := uint64(0)
	err = r.rec.Each(0, room, func(i uint64, b []byte) error {
		if b[0] != uint8(layout.SeqWriteRequired) || r.hdr.bo.Uint64(b[OffZSLBA:]) != i*r.hdr.zoneSize {
			return foreign.ErrStop
		}
		n++
		return nil
	})
	if err != nil {
		return err
	}
	r.rec.Count = n
	if n == 0 {
		return foreign.Field(r.rec.File, "zone file", "zone records", r.rec.Off, 0, "at least one")
	}
	d.Assumed = append(d.Assumed, fmt.Sprintf("%d zones, as many as there are sound records; the data image would tell", n))
	return nil
}

// regionLen is the length of a region where several namespaces share the file, 0 if this one is
// alone. All regions are of one length, a multiple of the page size of the host.
func regionLen(file disk.File, r *region) (int64, error) {
	size, err := file.Size()
	if err != nil {
		return 0, err
	}
	used := layout.Bytes(HeaderLen + (RecordLen+int64(r.ns.ExtSize()))*int64(r.ns.ZoneCount))
	for _, page := range []layout.Bytes{4 << 10, 16 << 10, 64 << 10} {
		length := int64(layout.RoundUp(used, page))
		if length+HeaderLen > size || size%length != 0 {
			continue
		}
		b := make([]byte, HeaderLen)
		if err := foreign.ReadFull(file, b, length); err != nil {
			return 0, err
		}
		if _, ok := foreign.HostOrder(b, Magic, HeaderLen); ok {
			return length, nil
		}
	}
	return 0, nil
}

// zone decodes record i. That a Full zone's write pointer is at its end is a convention, not an
// answer to how far it was written; those of Read Only and Offline zones are at the start.
func (r *region) zone(_ uint64, b []byte) (layout.Zone, error) {
	z := layout.Zone{ZoneDescriptor: layout.ZoneDescriptor{
		Type: layout.ZoneType(b[0] & 0xF), State: layout.ZoneState(b[1] >> 4), Attrs: layout.ZoneAttrs(b[2]),
		Cap:   layout.LBA(r.hdr.bo.Uint64(b[OffRecordZCap:])),
		Start: layout.LBA(r.hdr.bo.Uint64(b[OffZSLBA:])),
		WP:    layout.LBA(r.hdr.bo.Uint64(b[OffWP:])),
	}}
	z.Written = z.WP
	if z.State == layout.Full {
		z.Written = z.End()
	}
	if !z.State.HasWP() {
		z.WP = layout.NoWP
	}
	return z, nil
}
