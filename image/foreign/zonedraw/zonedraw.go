// Package zonedraw reads and writes the raw format with write pointers at its end, of Sam Li's
// block driver "zoned" for QEMU (block/zoned.c, 2022; never merged). The format has no version; three
// layouts of it are known, told apart here by whether their arithmetic agrees:
//
//	A  earliest; its pointers lie at a place that depends on the build: refused
//	B  commit 09075f8b98ad: header of 57 bytes, data right behind it
//	C  20221219090840.20388-3-faithilikerun@gmail.com: header of 512 bytes; written here
//
//	 0        512                       512+z*size         L-8*z             L
//	+--------+-------------------------+------------------+-----------------+
//	| header | data                    | unused           | write pointers  |
//	+--------+-------------------------+------------------+-----------------+
//
//	entry: 63..60 state | 59 conventional | 58..0 write pointer, bytes in guest space
package zonedraw

import (
	"encoding/binary"
	"fmt"

	"zimg/image/foreign"
	"zimg/layout"
)

var le = binary.LittleEndian

// Offsets in the headers of variants B and C, those of packed C structs.
const (
	Magic = "zone"

	HeaderLenC    = 512
	OffZoneSizeC  = 4
	OffZonesC     = 8
	OffSeqC       = 12
	OffConvC      = 16
	OffMaxActiveC = 20
	OffMaxOpenC   = 24
	OffAppendC    = 28
	OffLengthC    = 32
	OffModelC     = 40

	HeaderLenB    = 57
	OffModelB     = 8
	OffMagicB     = 9
	OffZoneSizeB  = 33
	OffZonesB     = 37
	OffSeqB       = 41
	OffMaxActiveB = 45
	OffMaxOpenB   = 49
	OffAppendB    = 53

	// Conventional marks a conventional zone's entry.
	Conventional = 1 << 59
	entryLen     = 8
	hostManaged  = 1
)

// Format is the raw format.
var Format = &foreign.Format{
	Name: "zoned-raw", Title: "raw format with write pointers at its end, of QEMU patches of 2022 (Li)",
	Shape: foreign.OneFile, Original: "QEMU with Li's patches of 2022",
	Holds: foreign.Holds{
		States: foreign.AllStates, ClosedEmpty: true, Conventional: true, ROWritten: true,
		Limits: true, Geometry: true, MinBits: 9, MaxBits: 12,
		Restrict: func(n *layout.Namespace) error {
			if n.ByteOff(n.ZoneSize) >= 1<<32 || n.ZoneCount > 1<<32-1 {
				return fmt.Errorf("%d zones of %d bytes, more than 32-bit fields hold", n.ZoneCount, n.ByteOff(n.ZoneSize))
			}
			return nil
		},
	},
	Probe: func(h *foreign.Head) bool {
		v, _ := parse(h.First, h.Size)
		return v != nil
	},
	Decode: decode,
	Encode: encode,
}

// variant is a header of B or C.
type variant struct {
	name                             string
	data                             int64 // offset of guest byte 0
	zoneSize, zones, conv            uint32
	maxActive, maxOpen, appendSector uint32
	model                            uint8
	length                           int64
}

// parse tells the variant by its arithmetic; the second result says why a file with
// the magic is of none.
func parse(b []byte, size int64) (*variant, string) {
	if len(b) < HeaderLenC {
		return nil, ""
	}
	switch {
	case string(b[:4]) == Magic:
		v := &variant{
			name: "C", data: HeaderLenC, zoneSize: le.Uint32(b[OffZoneSizeC:]), zones: le.Uint32(b[OffZonesC:]), conv: le.Uint32(b[OffConvC:]),
			maxActive: le.Uint32(b[OffMaxActiveC:]), maxOpen: le.Uint32(b[OffMaxOpenC:]), appendSector: le.Uint32(b[OffAppendC:]),
			model: b[OffModelC], length: int64(le.Uint64(b[OffLengthC:])),
		}
		if uint64(le.Uint32(b[OffSeqC:]))+uint64(v.conv) == uint64(v.zones) && v.length == size && v.zones > 0 && v.zoneSize > 0 {
			return v, ""
		}
		if zone, seq := le.Uint64(b[8:]), le.Uint32(b[4:]); seq > 0 && zone > 0 && le.Uint64(b[16:]) >= zone {
			return nil, "it looks like the earliest variant, whose write pointers lie at a place that depends on the build that wrote them"
		}
		return nil, fmt.Sprintf("device size %d in a file of %d bytes, %d zones of which %d sequential and %d conventional", v.length, size, v.zones, le.Uint32(b[OffSeqC:]), v.conv)
	case string(b[OffMagicB:OffMagicB+4]) == Magic:
		v := &variant{
			name: "B", data: HeaderLenB, zoneSize: le.Uint32(b[OffZoneSizeB:]), zones: le.Uint32(b[OffZonesB:]),
			maxActive: le.Uint32(b[OffMaxActiveB:]), maxOpen: le.Uint32(b[OffMaxOpenB:]), appendSector: le.Uint32(b[OffAppendB:]),
			model: b[OffModelB], length: size,
		}
		seq := le.Uint32(b[OffSeqB:])
		if seq > v.zones || v.zones == 0 || v.zoneSize == 0 || int64(v.zones)*int64(v.zoneSize) > size {
			return nil, fmt.Sprintf("%d zones of %d bytes in a file of %d, %d of them sequential", v.zones, v.zoneSize, size, seq)
		}
		v.conv = v.zones - seq
		return v, ""
	}
	return nil, ""
}

// raw is a file, laid out.
type raw struct {
	v   *variant
	n   *layout.Namespace
	rec *foreign.Records
}

func decode(in *foreign.Input) (*foreign.Decoded, error) {
	file, err := in.Open(in.Path)
	if err != nil {
		return nil, err
	}
	size, err := file.Size()
	if err != nil {
		return nil, err
	}
	h := make([]byte, HeaderLenC)
	if err := foreign.ReadFull(file, h, 0); err != nil {
		return nil, err
	}
	v, why := parse(h, size)
	if v == nil {
		if why == "" {
			return nil, fmt.Errorf("%s: %w: no magic \"zone\"", file.Name(), foreign.ErrNotFormat)
		}
		return nil, foreign.Field(file, "zoned header", "arithmetic", 0, why, "a variant that adds up")
	}
	d := &foreign.Decoded{Facts: []foreign.Fact{{Key: "variant", Value: v.name}}}
	n := &layout.Namespace{
		ID: 1, CSI: layout.ZNS, BlockBits: in.BlockBits(d), ZoneCount: uint64(v.zones), MAR: layout.ZeroBased(v.maxActive), MOR: layout.ZeroBased(v.maxOpen),
	}
	if v.maxOpen == 0 || v.maxActive != 0 && v.maxOpen > v.maxActive {
		n.MOR = n.MAR
	}
	if v.maxActive == 0 && v.maxOpen != 0 {
		n.MAR = n.MOR
	}
	if v.model > 1 {
		return nil, fmt.Errorf("%s: zone model %d, neither none nor host-managed: %w", file.Name(), v.model, foreign.ErrUnsupported)
	}
	if int64(v.zoneSize)%n.BlockSize() != 0 {
		return nil, foreign.Field(file, "zoned header", "zone_size", OffZoneSizeC, v.zoneSize, fmt.Sprintf("whole blocks of %d bytes", n.BlockSize()))
	}
	n.ZoneSize = layout.LBA(v.zoneSize >> n.BlockBits)
	n.ZoneCap, n.Blocks = n.ZoneSize, layout.LBA(v.zones)*n.ZoneSize
	array := size - entryLen*int64(v.zones)
	r := &raw{v: v, n: n}
	r.rec = &foreign.Records{File: file, Off: array, Len: entryLen, Count: n.ZoneCount, Decode: r.zone}
	if err := r.rec.CheckRoom(); err != nil {
		return nil, err
	}
	if err := n.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", file.Name(), err)
	}
	if v.name == "B" {
		d.Assumed = append(d.Assumed, "write pointers are the last 8 bytes a zone of the file: not known for every commit that wrote variant B")
	}
	if end := v.data + int64(n.Size()); end > array {
		d.Lost = append(d.Lost, fmt.Sprintf("the last %d bytes of the last zone: the write pointers lie on top of them", end-array))
		d.Problems = append(d.Problems, foreign.Problem{Verdict: foreign.Odd, File: file.Name(), Off: array, Text: "the write pointers lie on top of the last zone's data", Got: fmt.Sprint(array), Want: fmt.Sprintf("at least %d", end)})
	}
	d.Contents = []*foreign.Content{{NS: n, Zones: r.rec, Data: foreign.Linear(file, v.data, array)}}
	d.Walk = r.check
	return d, nil
}

// extended tells a pointer that went through a signed 32-bit number: its upper half is all ones, so that
// the state is not what it says.
func extended(e uint64) bool { return e>>32 == 0xFFFFFFFF }

// zone decodes entry i.
func (r *raw) zone(i uint64, b []byte) (layout.Zone, error) {
	e := le.Uint64(b)
	field := func(name string, got, want any) error {
		return foreign.Field(r.rec.File, fmt.Sprintf("zone %d", i), name, r.rec.Off+int64(i)*entryLen, got, want)
	}
	if extended(e) {
		return layout.Zone{}, field("write pointer", fmt.Sprintf("%#x", e), "one below 2 GiB: this one was damaged by a 32-bit computation when it was written")
	}
	if e&Conventional != 0 {
		return foreign.ConventionalZone(r.n, i), nil
	}
	wp := e & (Conventional - 1)
	if state := layout.ZoneState(e >> 60); state.HasWP() && wp%uint64(r.n.BlockSize()) != 0 {
		return layout.Zone{}, field("write pointer", wp, fmt.Sprintf("a multiple of %d", r.n.BlockSize()))
	}
	z := foreign.FromZBC(r.n, i, uint8(layout.SeqWriteRequired), uint8(e>>60), layout.LBA(i)*r.n.ZoneSize, layout.LBA(wp>>r.n.BlockBits))
	if z.State.Active() && z.Written == z.End() { // the driver never makes a zone Full by writing
		z.State, z.WP = layout.Full, layout.NoWP
	}
	return z, nil
}

// check finds what the driver's own bugs do to a file.
func (r *raw) check(found func(foreign.Problem) error) error {
	p := foreign.Problem{File: r.rec.File.Name()}
	if r.v.maxActive != 0 && r.v.maxOpen > r.v.maxActive {
		p.Verdict, p.Off, p.Text, p.Got, p.Want = foreign.Odd, OffMaxOpenC, "max_open_zones", fmt.Sprint(r.v.maxOpen), fmt.Sprintf("at most max_active_zones, %d", r.v.maxActive)
		if err := found(p); err != nil {
			return err
		}
	}
	return r.rec.Each(0, r.n.ZoneCount, func(i uint64, b []byte) error {
		e := le.Uint64(b)
		at := foreign.Problem{File: p.File, Off: r.rec.Off + int64(i)*entryLen, Zone: i, InZone: true, Got: fmt.Sprintf("%#x", e)}
		start, end := i*uint64(r.v.zoneSize), (i+1)*uint64(r.v.zoneSize)
		state, wp := layout.ZoneState(e>>60), e&(Conventional-1)
		switch {
		case extended(e):
			at.Verdict, at.Text = foreign.Wiped, "state and write pointer are lost: the driver computes with 32 bits above 2 GiB"
		case e&Conventional != 0 && (wp != start || i >= uint64(r.v.conv)):
			at.Verdict, at.Text, at.Want = foreign.Odd, "conventional zone's entry", fmt.Sprintf("%#x, in the first %d zones", start|Conventional, r.v.conv)
		case e&Conventional == 0 && i < uint64(r.v.conv):
			at.Verdict, at.Text = foreign.Odd, "zone among the conventional ones, without their mark"
		case state == layout.Full && wp != end:
			at.Verdict, at.Text, at.Want = foreign.Odd, "write pointer of a Full zone", fmt.Sprint(end)
		case state.Open():
			at.Verdict, at.Got, at.Text = foreign.Changed, "", "open; the driver leaves it so but does not count it, an import closes it"
		default:
			return nil
		}
		return found(at)
	})
}

func encode(out *foreign.Output) error {
	n := out.NS
	conv, err := foreign.Leading(out.Content)
	if err != nil {
		return err
	}
	file, err := out.Create(out.Path)
	if err != nil {
		return err
	}
	length := HeaderLenC + int64(layout.RoundUp(n.Size()+entryLen*layout.Bytes(n.ZoneCount), 512))
	if err := file.Truncate(length); err != nil {
		return err
	}
	if err := out.CopyLinear(file, HeaderLenC); err != nil {
		return err
	}
	err = foreign.Write(file, length-entryLen*int64(n.ZoneCount), entryLen, out.Zones, n.ZoneCount, func(_ uint64, z layout.Zone, b []byte) error {
		e := uint64(z.State)<<60 | uint64(n.ByteOff(foreign.ZBCWP(n, z)))
		if z.Type == layout.Conventional {
			e = Conventional | uint64(n.ByteOff(z.Start))
		}
		le.PutUint64(b, e)
		return nil
	})
	if err != nil {
		return err
	}
	h := make([]byte, HeaderLenC)
	copy(h, Magic)
	le.PutUint32(h[OffZoneSizeC:], uint32(n.ByteOff(n.ZoneSize)))
	le.PutUint32(h[OffZonesC:], uint32(n.ZoneCount))
	le.PutUint32(h[OffSeqC:], uint32(n.ZoneCount-conv))
	le.PutUint32(h[OffConvC:], uint32(conv))
	le.PutUint32(h[OffMaxActiveC:], uint32(n.MaxActive()))
	le.PutUint32(h[OffMaxOpenC:], uint32(n.MaxOpen()))
	le.PutUint32(h[OffAppendC:], uint32(min(n.ByteOff(n.ZoneSize)/512, 128)))
	le.PutUint64(h[OffLengthC:], uint64(length))
	h[OffModelC] = hostManaged
	if n.Size() > 2<<30 {
		out.Say("the driver computes write pointers with 32 bits: it damages those of zones at 2 GiB and above when it updates them")
	}
	_, err = file.WriteAt(h, 0)
	return err
}
