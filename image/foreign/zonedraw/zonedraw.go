// Package zonedraw reads and writes the raw format with write pointers at its end, of Sam Li's
// block driver "zoned" for QEMU (block/zoned.c, 2022; never merged). The format has no version; three
// layouts of it are known, distinguished here by whether their arithmetic agrees:
//
//	A  earliest; its pointers are at a place that depends on the build: refused
//	B  commit 09075f8b98ad: header of 57 bytes, data right after it
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
	"zimg/image/zns"
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
		_, _, sure := parse(h.First, h.Size) // if it is damaged, the error is reported
		return sure
	},
	Decode: decode,
	Encode: encode,
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
	v, why, _ := parse(h, size)
	if v == nil {
		if why == "" {
			return nil, layout.Errorf(foreign.ErrNotFormat, "%s is not a zoned raw image: it has no zoned header", file.Name())
		}
		return nil, foreign.Field(file, "zoned header", "arithmetic", 0, why, "a variant that adds up")
	}
	d := &foreign.Decoded{Facts: []foreign.Fact{{Key: "variant", Value: v.name}}}
	n := &layout.Namespace{
		ID: 1, CSI: layout.ZNS, BlockBits: in.BlockBits(d), ZoneCount: uint64(v.zones),
	}
	n.MOR, n.MAR = layout.Limits(v.maxOpen, v.maxActive)
	if v.model > 1 {
		return nil, fmt.Errorf("%s: zone model %d is %w; only none and host-managed are", file.Name(), v.model, foreign.ErrUnsupported)
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
		d.Assumed = append(d.Assumed, "write pointers are the last 8 bytes per zone of the file (not verified for every commit that wrote variant B)")
	}
	if end := v.data + int64(n.Size()); end > array {
		d.Lost = append(d.Lost, fmt.Sprintf("the last %d bytes of the last zone, overlapped by the write pointers", end-array))
		d.Problems = append(d.Problems, foreign.Problem{Verdict: foreign.Odd, File: file.Name(), Off: array, Text: "the write pointers overlap the data of the last zone", Got: fmt.Sprint(array), Want: fmt.Sprintf("at least %d", end)})
	}
	if err := r.damaged(d); err != nil {
		return nil, err
	}
	d.Problems = append(d.Problems, r.checkHeader()...)
	d.Contents = []*foreign.Content{{NS: n, Zones: r.rec, Data: foreign.Linear(file, v.data, array)}}
	d.Walk = r.check
	return d, nil
}

// zone decodes entry i.
func (r *raw) zone(i uint64, b []byte) (layout.Zone, error) {
	e := le.Uint64(b)
	field := func(name string, got, want any) error {
		return foreign.Field(r.rec.File, fmt.Sprintf("zone %d", i), name, r.rec.Off+int64(i)*entryLen, got, want)
	}
	wp, mended := r.pointer(i, e)
	if extended(e) && !mended {
		return layout.Zone{}, field("write pointer", fmt.Sprintf("%#x", e), "one below 2 GiB: this one was damaged by a 32-bit computation when it was written")
	}
	if e&Conventional != 0 && !extended(e) {
		return foreign.ConventionalZone(r.n, i), nil
	}
	state := layout.ZoneState(e >> 60)
	if (state.HasWP() || extended(e)) && wp%uint64(r.n.BlockSize()) != 0 {
		return layout.Zone{}, field("write pointer", wp, fmt.Sprintf("a multiple of %d", r.n.BlockSize()))
	}
	at := layout.LBA(wp >> r.n.BlockBits)
	if extended(e) {
		written, err := r.written(i)
		return zns.WrittenTo(r.n, r.n.EmptyZone(i), max(at, written)), err
	}
	z := foreign.FromZBC(r.n, i, uint8(layout.SeqWriteRequired), uint8(state), layout.LBA(i)*r.n.ZoneSize, at)
	if z.State.Active() && z.Written == z.End() { // the driver never makes a zone Full by writing
		z.State, z.WP = layout.Full, layout.NoWP
	}
	return z, nil
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
	if n.ZoneSize&(n.ZoneSize-1) != 0 {
		out.Say("the driver can only reset, finish and append to zones whose size is a power of two, not %d bytes", n.ByteOff(n.ZoneSize))
	}
	if n.Size() >= 1<<32 {
		out.Say("the driver computes the size of the disk with 32 bits: it sees %d bytes of %d", uint32(n.Size()), n.Size())
	}
	if n.Size() > 2<<30 {
		out.Say("the driver computes write pointers with 32 bits: it damages those of zones at 2 GiB and above when it updates them")
	}
	_, err = file.WriteAt(h, 0)
	return err
}
