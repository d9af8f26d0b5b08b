// Package fakezbc reads what the "fake" backend of libzbc left (5.2 to 5.14; it was removed in
// 6.0): a data file, and zones in /var/local/zbc-NAME.meta. Source of the layout:
// westerndigitalcorporation/libzbc lib/zbc_fake.c. Read only.
//
//	 0        72                 72 + 32 * zones
//	+--------+------------------+
//	| header | zones, 32 bytes  |   host order; sectors of 512 bytes
//	+--------+------------------+
package fakezbc

import (
	"encoding/binary"
	"fmt"

	"zimg/image/disk"
	"zimg/image/foreign"
	"zimg/layout"
)

var le = binary.LittleEndian

// Offsets in the metadata file, those of C structs.
const (
	HeaderLen = 72
	RecordLen = 32

	OffCapacity = 0
	OffZones    = 8
	OffConv     = 12
	OffSeq      = 16
	OffExpOpen  = 20
	OffImpOpen  = 24

	RecLen   = 0
	RecStart = 8
	RecWP    = 16
	RecType  = 24
	RecCond  = 25
	RecAttrs = 26
)

// Format is the fake backend's.
var Format = &foreign.Format{
	Name: "libzbc-fake", Title: "data and metadata of libzbc's fake backend, up to 5.14",
	Shape: foreign.TwoFiles, Suffix: ".meta", Original: "libzbc",
	Holds: foreign.Holds{
		States: foreign.AllStates, Conventional: true, ROWritten: true, Attributes: layout.RZR, Geometry: true, MinBits: 9, MaxBits: 12,
	},
	Decode: decode,
}

// meta is a metadata file.
type meta struct {
	n        *layout.Namespace
	rec      *foreign.Records
	length   uint64 // of a zone, in sectors
	shift    uint8  // sectors to blocks
	exp, imp uint32
}

func decode(in *foreign.Input) (*foreign.Decoded, error) {
	data, file, err := in.Pair()
	if err != nil {
		return nil, err
	}
	h := make([]byte, HeaderLen)
	if err := foreign.ReadFull(file, h, 0); err != nil {
		return nil, err
	}
	size, err := file.Size()
	if err != nil {
		return nil, err
	}
	field := func(name string, off int64, got, want any) error {
		return foreign.Field(file, "libzbc metadata", name, off, got, want)
	}
	zones, conv, seq, capacity := le.Uint32(h[OffZones:]), le.Uint32(h[OffConv:]), le.Uint32(h[OffSeq:]), le.Uint64(h[OffCapacity:])
	switch {
	case zones == 0:
		return nil, field("nr_zones", OffZones, zones, "at least 1")
	case size != HeaderLen+RecordLen*int64(zones):
		return nil, field("file length", OffZones, size, fmt.Sprintf("%d for %d zones", HeaderLen+RecordLen*int64(zones), zones))
	case uint64(conv)+uint64(seq) != uint64(zones):
		return nil, field("nr_conv_zones + nr_seq_zones", OffConv, uint64(conv)+uint64(seq), zones)
	case capacity > 1<<61 || capacity%uint64(zones) != 0 || capacity/uint64(zones)%512 != 0 || capacity == 0:
		return nil, field("capacity", OffCapacity, capacity, fmt.Sprintf("%d zones of whole sectors", zones))
	}
	d := &foreign.Decoded{}
	m := &meta{length: capacity / uint64(zones) / 512, exp: le.Uint32(h[OffExpOpen:]), imp: le.Uint32(h[OffImpOpen:])}
	m.n = &layout.Namespace{ID: 1, CSI: layout.ZNS, BlockBits: in.BlockBits(d), ZoneCount: uint64(zones), MAR: layout.NoLimit, MOR: layout.NoLimit}
	m.shift = m.n.BlockBits - 9
	m.n.ZoneSize = layout.LBA(m.length >> m.shift)
	m.n.ZoneCap, m.n.Blocks = m.n.ZoneSize, layout.LBA(zones)*m.n.ZoneSize
	if m.length&(1<<m.shift-1) != 0 {
		return nil, field("zone length in sectors", OffCapacity, m.length, fmt.Sprintf("whole blocks of %d bytes", m.n.BlockSize()))
	}
	m.rec = &foreign.Records{File: file, Off: HeaderLen, Len: RecordLen, Count: m.n.ZoneCount, Decode: m.zone}
	if err := m.n.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", file.Name(), err)
	}
	c := &foreign.Content{NS: m.n, Zones: m.rec}
	if err := m.attach(c, data, capacity); err != nil {
		return nil, err
	}
	d.Contents = []*foreign.Content{c}
	d.Walk = m.check
	return d, nil
}

// attach gives c its data, which has to be as long as the capacity says.
func (m *meta) attach(c *foreign.Content, data disk.File, capacity uint64) error {
	if data == nil {
		return nil
	}
	size, err := data.Size()
	if err != nil {
		return err
	}
	if uint64(size) < capacity {
		return foreign.Field(m.rec.File, "libzbc metadata", "capacity (libzbc ignores the metadata)", OffCapacity, capacity, fmt.Sprintf("at most %d, the length of %s", size, data.Name()))
	}
	c.Data = foreign.Linear(data, 0, int64(capacity))
	return nil
}

// zone decodes entry i. A zone that was finished has a write pointer of all ones, one that was
// written to its end has it there.
func (m *meta) zone(i uint64, b []byte) (layout.Zone, error) {
	field := func(name string, off int64, got, want any) error {
		return foreign.Field(m.rec.File, fmt.Sprintf("zone %d", i), name, m.rec.Off+int64(i)*RecordLen+off, got, want)
	}
	wp, state := le.Uint64(b[RecWP:]), layout.ZoneState(b[RecCond])
	switch {
	case le.Uint64(b[RecLen:]) != m.length:
		return layout.Zone{}, field("length", RecLen, le.Uint64(b[RecLen:]), m.length)
	case le.Uint64(b[RecStart:]) != i*m.length:
		return layout.Zone{}, field("start", RecStart, le.Uint64(b[RecStart:]), i*m.length)
	case b[RecType] != 1 && b[RecType] != 2:
		return layout.Zone{}, field("type", RecType, b[RecType], "1 or 2")
	case b[RecCond] == foreign.ZBCInactive:
		return layout.Zone{}, fmt.Errorf("%s: zone %d is inactive, which is %w", m.rec.File.Name(), i, foreign.ErrUnsupported)
	case state.HasWP() && wp&(1<<m.shift-1) != 0:
		return layout.Zone{}, field("write pointer in sectors", RecWP, wp, fmt.Sprintf("whole blocks of %d bytes", m.n.BlockSize()))
	}
	z := foreign.FromZBC(m.n, i, b[RecType], b[RecCond], layout.LBA(i)*m.n.ZoneSize, layout.LBA(wp>>m.shift))
	if z.Type != layout.Conventional && b[RecAttrs]&1 != 0 {
		z.Attrs |= layout.RZR
	}
	return z, nil
}

// check compares the counters of open zones, which libzbc never corrects.
func (m *meta) check(found func(foreign.Problem) error) error {
	var open [2]uint32
	err := m.rec.Each(0, m.n.ZoneCount, func(_ uint64, b []byte) error {
		switch layout.ZoneState(b[RecCond]) {
		case layout.ExplicitlyOpened:
			open[0]++
		case layout.ImplicitlyOpened:
			open[1]++
		default:
		}
		return nil
	})
	if err != nil {
		return err
	}
	for k, have := range [2]uint32{m.exp, m.imp} {
		if have != open[k] {
			if err := found(foreign.Problem{Verdict: foreign.Odd, File: m.rec.File.Name(), Off: OffExpOpen + 4*int64(k), Text: "counter of open zones; libzbc trusts it and enforces its limit wrongly", Got: fmt.Sprint(have), Want: fmt.Sprint(open[k])}); err != nil {
				return err
			}
		}
	}
	return nil
}
