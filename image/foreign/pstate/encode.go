package pstate

import (
	"zimg/image/disk"
	"zimg/image/foreign"
	"zimg/layout"
)

// encode writes v2 and the raw data image.
func encode(out *foreign.Output) error {
	n := out.NS
	if err := out.DataFile(out.Path); err != nil {
		return err
	}
	file, err := out.Create(out.Second)
	if err != nil {
		return err
	}
	bitmapLen := int64((uint64(n.Blocks) + 7) / 8)
	desc := HeaderLen + bitmapLen
	ext := desc + int64(n.ZoneCount)*layout.DescriptorSize
	if err := file.Truncate(foreign.DeviceLength(ext + int64(n.ZoneCount)*int64(n.ExtSize()))); err != nil {
		return err
	}
	if err := writeBitmap(file, HeaderLen, out.Content); err != nil {
		return err
	}
	if err := writeTable(file, desc, ext, out.Content); err != nil {
		return err
	}
	h := make([]byte, HeaderLen)
	le.PutUint32(h, Magic)
	le.PutUint32(h[OffVersion:], 1)
	le.PutUint64(h[OffLength:], uint64(n.Size()))
	h[OffLBADS], h[OffIOCS] = n.BlockBits, uint8(layout.ZNS)
	le.PutUint64(h[OffZCap:], uint64(n.ZoneCap))
	le.PutUint64(h[OffZSize:], uint64(n.ZoneSize))
	h[OffZDES] = n.ZDES
	if _, err = file.WriteAt(h, 0); err != nil {
		return err
	}
	return warnExtensions(out)
}

// writeTable writes descriptors and extensions.
func writeTable(file disk.File, desc, ext int64, c *foreign.Content) error {
	err := foreign.Write(file, desc, layout.DescriptorSize, c.Zones, c.NS.ZoneCount, func(_ uint64, z layout.Zone, b []byte) error {
		d := z.ZoneDescriptor
		switch z.State {
		case layout.Full:
			d.WP = z.End()
		case layout.ReadOnly, layout.Offline:
			d.WP = z.Written
		default: // it has one
		}
		d.Encode(b)
		return nil
	})
	if err != nil {
		return err
	}
	return foreign.WriteExtensions(file, ext, c.NS.ExtSize(), c.Zones, c.NS.ZoneCount)
}

// warnExtensions says what the guest will not get to see.
func warnExtensions(out *foreign.Output) error {
	if out.NS.ZDES == 0 {
		return nil
	}
	var i uint64
	for z, err := range out.Zones.All(0, out.NS.ZoneCount) {
		if err != nil {
			return err
		}
		if z.Attrs&layout.ZDEV != 0 && i > 0 {
			out.Say("descriptor extensions are where they belong, but that QEMU takes zone N's from byte N of all of them: after a start the guest sees others")
			return nil
		}
		i++
	}
	return nil
}
