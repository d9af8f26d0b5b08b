package zonefile

import (
	"fmt"
	"math/bits"

	"zimg/image/disk"
	"zimg/image/foreign"
	"zimg/layout"
)

// region is the part of a zone file that is about one namespace.
type region struct {
	hdr  *header
	base int64
	ns   *layout.Namespace
	rec  *foreign.Records
	// old: of series v2 or v3, as far as the zones show it.
	old bool
}

// openRegion reads the header at base. It does not say how many zones follow.
func openRegion(in *foreign.Input, file disk.File, base int64) (*region, error) {
	b := make([]byte, HeaderLen)
	if err := foreign.ReadFull(file, b, base); err != nil {
		return nil, err
	}
	h, err := decodeHeader(b)
	if err != nil {
		return nil, fmt.Errorf("%s: region at byte %d: %w", file.Name(), base, err)
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
	}
	r.rec = &foreign.Records{File: file, Off: base + HeaderLen, Len: RecordLen, Decode: r.zone}
	return r, nil
}

// count finds the number of zones: from the length of the data image, from the user, or by
// going on as long as records are as records must be.
func (r *region) count(in *foreign.Input, d *foreign.Decoded, data disk.File) error {
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
		blocks, zone := uint64(foreign.DeviceLength(length))>>r.ns.BlockBits, r.hdr.zoneSize
		r.rec.Count = (blocks + zone - 1) / zone
		if r.rec.Count == 0 || r.rec.Count > room {
			return layout.Errorf(layout.ErrDamaged, "%s has room for %d zones, but %s has %d", r.rec.File.Name(), room, data.Name(), r.rec.Count)
		}
		if blocks%zone != 0 {
			d.Assumed = append(d.Assumed, fmt.Sprintf("the last zone extends past the end of %s and reads as zeros there", data.Name()))
		}
		return nil
	}
	if g := in.Geometry; g != nil && g.ZoneCount > 0 {
		r.rec.Count = g.ZoneCount
		return r.rec.CheckRoom()
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
	d.Assumed = append(d.Assumed, fmt.Sprintf("%d zones, the number of valid records", n))
	return nil
}

// maxExt is the largest extension that the device can be given, in bytes.
const maxExt = 255 * 64

// divide settles the size of an extension, whose low eight bits are in the header, and finds
// the length of a region: that of the file, or less where several namespaces share it. It gives
// 0 if the file has a length that QEMU does not make.
func (r *region) divide(in *foreign.Input, d *foreign.Decoded, size int64) (length, page int64, err error) {
	low := int(r.hdr.extSize)
	if said, ok := in.SaidExtSize(); ok && said%256 == low {
		r.ns.ZDES = uint8(said / 64)
		return r.fit(size)
	}
	for ext := low; ext <= maxExt; ext += 256 {
		r.ns.ZDES = uint8(ext / 64)
		if length, page, err = r.fit(size); err != nil || length > 0 {
			if ext != low {
				d.Assumed = append(d.Assumed, fmt.Sprintf("extensions of %d bytes, from the length of %s: its header keeps only the low eight bits", ext, r.rec.File.Name()))
			}
			return length, page, err
		}
	}
	r.ns.ZDES = r.hdr.extSize / 64
	return 0, 0, nil
}

// pages are the page sizes of hosts; a region is a multiple of that of the host that made it.
var pages = [...]layout.Bytes{4 << 10, 16 << 10, 64 << 10}

// used is the length of header, records and extensions.
func (r *region) used() layout.Bytes {
	return layout.Bytes(HeaderLen + (RecordLen+int64(r.ns.ExtSize()))*int64(r.rec.Count))
}

// fit looks for a page size with which regions like r fill a file of size bytes.
func (r *region) fit(size int64) (length, page int64, err error) {
	for _, p := range pages {
		length := int64(layout.RoundUp(r.used(), p))
		if length == size {
			return length, int64(p), nil
		}
		if length+HeaderLen > size || size%length != 0 {
			continue
		}
		b := make([]byte, HeaderLen)
		if err := foreign.ReadFull(r.rec.File, b, length); err != nil {
			return 0, 0, err
		}
		if _, ok := foreign.HostOrder(b, Magic, HeaderLen); ok {
			return length, int64(p), nil
		}
	}
	return 0, 0, nil
}

// place says where the tables of r are, once count and size of the extensions are known.
func (r *region) place() error {
	r.ns.ZoneCount = r.rec.Count
	r.ns.Blocks = layout.LBA(r.rec.Count) * r.ns.ZoneSize
	r.rec.ExtOff, r.rec.ExtLen = r.rec.Off+RecordLen*int64(r.rec.Count), r.ns.ExtSize()
	if err := r.rec.CheckRoom(); err != nil {
		return err
	}
	if err := r.ns.Validate(); err != nil {
		return fmt.Errorf("%s: %w", r.rec.File.Name(), err)
	}
	return nil
}

// series finds out which patches wrote the file: those up to v3 have a time stamp where later ones have
// w_ptr, and write 0 there. From v4 on every zone but one at block 0 has a w_ptr.
func (r *region) series() (string, error) {
	written, later := false, false
	err := r.rec.Each(0, r.rec.Count, func(_ uint64, b []byte) error {
		written = written || r.hdr.bo.Uint64(b[OffWP:]) != 0
		if later = r.hdr.bo.Uint64(b[OffWPtr:]) != 0; later {
			return foreign.ErrStop
		}
		return nil
	})
	switch {
	case later:
		return "v4 or v5", err
	case written:
		r.old = true
		return "v2 or v3", err
	}
	return "v2 to v5", err
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
