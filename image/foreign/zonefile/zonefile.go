// Package zonefile reads and writes the zone file of Dmitry Fomichev's ZNS series for
// QEMU (qemu-devel, June to September 2020, v2 to v5; never merged): the image of the
// zones in QEMU's memory, beside a raw data image.
//
//	zonefile.go  layout and decoding      check.go  what that QEMU checks at its start
//	region.go    one namespace's part     lists.go  the lists of zones     encode.go
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

	"zimg/image/foreign"
	"zimg/image/zns"
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
		Notes: notes,
		Restrict: func(n *layout.Namespace) error {
			if n.ZoneCount >= Nil {
				return fmt.Errorf("it has %d zones; a zone file can list fewer than %d", n.ZoneCount, uint32(Nil))
			}
			return nil
		},
		Zone: func(n *layout.Namespace, z layout.Zone) (layout.Zone, string) {
			if z.State == layout.Offline {
				z.Attrs = 0 // cleared when a zone goes offline
			}
			if z.State == layout.ReadOnly && z.Written != z.Start {
				return zns.WrittenTo(n, z, z.Written), "Read Only zones with data (they can be written again)"
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
		return nil, layout.Errorf(foreign.ErrNotFormat, "there is no zone file header")
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

// decode reads a zone file. Its path is given, or the data image's.
func decode(in *foreign.Input) (*foreign.Decoded, error) {
	data, file, err := in.Pair()
	if err != nil {
		return nil, err
	}
	d := &foreign.Decoded{}
	size, err := file.Size()
	if err != nil {
		return nil, err
	}
	first, err := openRegion(in, file, 0)
	if err != nil {
		return nil, err
	}
	if err := first.count(in, d, data); err != nil {
		return nil, err
	}
	length, page, err := first.divide(in, d, size)
	if err != nil {
		return nil, err
	}
	regions := []*region{first}
	for base := length; length > 0 && base+HeaderLen <= size && len(regions) < layout.MaxNamespaces; base += length {
		r, err := openRegion(in, file, base)
		if err != nil {
			return nil, err
		}
		r.rec.Count, r.ns.ZDES = first.rec.Count, first.ns.ZDES // one length for all: QEMU has them alike
		r.ns.ID = layout.NSID(len(regions) + 1)
		regions = append(regions, r)
	}
	if length == 0 {
		d.Problems = append(d.Problems, first.lengthProblem(size))
	} else {
		d.Facts = append(d.Facts, foreign.Fact{Key: "page size", Value: fmt.Sprintf("%d KiB", page>>10)})
	}
	series, err := first.series()
	if err != nil {
		return nil, err
	}
	if len(regions) == 1 { // series v5 has one namespace per file
		if err := first.settleAddressing(in, d, data); err != nil {
			return nil, err
		}
	}
	for _, r := range regions {
		if err := r.place(); err != nil {
			return nil, err
		}
		c := &foreign.Content{NS: r.ns, Zones: r.rec}
		if data != nil && (len(regions) == 1 || in.Pick == r.ns.ID) {
			limit, err := data.Size()
			if err != nil {
				return nil, err
			}
			c.Data = foreign.Linear(data, 0, limit)
		}
		d.Contents = append(d.Contents, c)
		d.Problems = append(d.Problems, r.checkHeader(in)...)
	}
	d.Walk = func(found func(foreign.Problem) error) error {
		for _, r := range regions {
			if err := r.check(found); err != nil {
				return err
			}
		}
		return nil
	}
	d.Facts = append([]foreign.Fact{
		{Key: "version", Value: fmt.Sprint(first.hdr.version)}, {Key: "series", Value: series}, {Key: "byte order", Value: fmt.Sprint(first.hdr.bo)},
	}, d.Facts...)
	return d, nil
}
