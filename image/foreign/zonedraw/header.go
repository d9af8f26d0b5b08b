package zonedraw

import "fmt"

// variant is a header of B or C.
type variant struct {
	name                             string
	data                             int64 // offset of guest byte 0
	zoneSize, zones, seq, conv       uint32
	maxActive, maxOpen, appendSector uint32
	model                            uint8
	length                           uint64 // of the file
	offOpen, offModel                int64  // places of two of the fields
}

// size is that of the guest's disk.
func (v *variant) size() uint64 { return uint64(v.zones) * uint64(v.zoneSize) }

// parse recognizes the variant by its arithmetic. For a file with the magic that fits none, the text says
// why; sure says that it is more than the magic that speaks for the format.
func parse(b []byte, size int64) (v *variant, why string, sure bool) {
	if len(b) < HeaderLenC {
		return nil, "", false
	}
	switch {
	case string(b[:4]) == Magic:
		v = &variant{
			name: "C", data: HeaderLenC, zoneSize: le.Uint32(b[OffZoneSizeC:]), zones: le.Uint32(b[OffZonesC:]), seq: le.Uint32(b[OffSeqC:]), conv: le.Uint32(b[OffConvC:]),
			maxActive: le.Uint32(b[OffMaxActiveC:]), maxOpen: le.Uint32(b[OffMaxOpenC:]), appendSector: le.Uint32(b[OffAppendC:]),
			model: b[OffModelC], length: le.Uint64(b[OffLengthC:]), offOpen: OffMaxOpenC, offModel: OffModelC,
		}
		sure = uint64(v.seq)+uint64(v.conv) == uint64(v.zones) && v.size() > 0
	case string(b[OffMagicB:OffMagicB+4]) == Magic:
		v = &variant{
			name: "B", data: HeaderLenB, zoneSize: le.Uint32(b[OffZoneSizeB:]), zones: le.Uint32(b[OffZonesB:]), seq: le.Uint32(b[OffSeqB:]),
			maxActive: le.Uint32(b[OffMaxActiveB:]), maxOpen: le.Uint32(b[OffMaxOpenB:]), appendSector: le.Uint32(b[OffAppendB:]),
			model: b[OffModelB], length: le.Uint64(b), offOpen: OffMaxOpenB, offModel: OffModelB,
		}
		v.conv = v.zones - min(v.seq, v.zones)
		sure = v.seq <= v.zones && v.size() > 0 && v.size() <= v.length
	default:
		return nil, "", false
	}
	switch {
	case sure && v.length == uint64(size):
		return v, "", true
	case !sure && v.name == "C" && variantA(b, uint64(size)):
		return nil, "this is probably the earliest variant, in which the position of the write pointers depends on the build", true
	}
	return nil, fmt.Sprintf("device size %d in a file of %d bytes, %d zones of %d bytes, %d of them sequential and %d conventional", v.length, size, v.zones, v.zoneSize, v.seq, v.conv), sure
}

// variantA reports whether what follows the magic is plausible as the header of variant A: sequential
// zones, zone size, device size.
func variantA(b []byte, size uint64) bool {
	seq, zone, device := uint64(le.Uint32(b[4:])), le.Uint64(b[8:]), le.Uint64(b[16:])
	return seq > 0 && zone > 0 && zone%512 == 0 && device <= size && zone <= device/seq
}
