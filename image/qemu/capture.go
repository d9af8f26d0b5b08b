package qemu

import (
	"fmt"

	"zimg/image"
	"zimg/image/zns"
	"zimg/layout"
)

// Capture reads the zones of all namespaces and puts them, as after a power-up,
// into im, which is not committed.
//
// Zones that are Read Only or Offline in the image stay so: QEMU has no way to set a zone so, and does not know.
func (c *Controller) Capture(im *image.Image) error {
	for _, n := range im.Namespaces() {
		if !n.Zoned() {
			continue
		}
		if err := c.capture(n); err != nil {
			return fmt.Errorf("capture: namespace %d: %w", n.ID, err)
		}
	}
	return nil
}

// reportHeader is the length of the header of a Report Zones data structure
// (ZNS 1.1, section 3.4.2.2).
const reportHeader = 64

func (c *Controller) capture(n *image.Namespace) error {
	each := layout.DescriptorSize + n.ExtSize()
	action := uint32(0) // Report Zones
	if n.ZDES > 0 {
		action = 1 // Extended Report Zones
	}
	if reportHeader+int(each) > c.transfer {
		return fmt.Errorf("the controller transfers only %d bytes at a time (mdts), less than a zone descriptor", c.transfer)
	}
	buf := make([]byte, c.transfer)
	for i := uint64(0); i < n.ZoneCount; {
		slba := layout.LBA(i) * n.ZoneSize
		count := min(uint64((c.transfer-reportHeader)/int(each)), n.ZoneCount-i)
		length := (reportHeader + int(count)*each + 3) &^ 3
		cmd := command{
			opcode: znsMgmtReceive, nsid: uint32(n.ID), data: true, length: length,
			cdw:  [6]uint32{uint32(slba), uint32(slba >> 32), uint32(length/4 - 1), action | 1<<16}, // a partial report
			what: fmt.Sprintf("report zones at LBA %d", slba),
		}
		if err := c.run(&c.io, []command{cmd}, 0); err != nil {
			return err
		}
		b := buf[:length]
		if err := c.t.Read(c.ram+memData, b); err != nil {
			return err
		}
		got := le.Uint64(b)
		if got == 0 || got > count {
			return fmt.Errorf("got a report of %d zones, want %d", got, count)
		}
		for k := uint64(0); k < got; k++ {
			d := b[reportHeader+int(k)*each:]
			z, err := layout.DecodeZoneDescriptor(d)
			if err != nil {
				return err
			}
			if err := c.noteReset(n, i+k, z); err != nil {
				return err
			}
			if err := captureZone(n, i+k, z, d[layout.DescriptorSize:each]); err != nil {
				return err
			}
		}
		i += got
	}
	return nil
}

// noteReset takes note of a Read Only zone that the guest, which saw it as Full, has reset: its data is gone.
func (c *Controller) noteReset(n *image.Namespace, i uint64, d layout.ZoneDescriptor) error {
	if d.State == layout.Full {
		return nil
	}
	old, err := n.Zone(i)
	if err != nil || old.State != layout.ReadOnly || old.Written == old.Start {
		return err
	}
	if len(c.reset) < maxNoted {
		c.reset = append(c.reset, fmt.Sprintf("namespace %d zone %d", n.ID, i))
	}
	return nil
}

// maxNoted bounds what noteReset keeps.
const maxNoted = 100

// captureZone puts zone i, as the drive reports it, into the image.
func captureZone(n *image.Namespace, i uint64, d layout.ZoneDescriptor, ext []byte) error {
	old, err := n.Zone(i)
	if err != nil || old.State == layout.ReadOnly || old.State == layout.Offline {
		return err
	}
	if d.Start != old.Start || !d.State.Valid() {
		return fmt.Errorf("zone %d is reported as %v at LBA %d, want LBA %d", i, d.State, d.Start, old.Start)
	}
	z := layout.Zone{ZoneDescriptor: d, Written: d.WP}
	z.Cap, z.Type = old.Cap, old.Type
	if z.State.HasWP() {
		if z.WP < z.Start || z.WP > z.End() {
			return fmt.Errorf("zone %d is reported with a write pointer of %d, it has LBAs %d to %d", i, z.WP, z.Start, z.End())
		}
	} else {
		// A Full zone has no write pointer; its data shows how much of it was written.
		end, err := image.ZoneDataEnd(n.File(), n.Namespace, i)
		if err != nil {
			return err
		}
		z.WP, z.Written = layout.NoWP, min(end, z.End())
		if old.State == layout.Full {
			z.Written = max(z.Written, old.Written)
		}
	}
	if z, err = powerCycled(n, i, z); err != nil {
		return err
	}
	if z.Attrs&layout.ZDEV != 0 && n.ZDES > 0 {
		if err := n.SetExtension(i, ext); err != nil {
			return err
		}
	}
	return n.SetZone(i, z)
}

// powerCycled is zone i as it is at rest. What a guest has written in a zone random
// write area and not committed is committed: QEMU forgets the area when the controller is
// shut down, and leaves the data after a write pointer that does not show it.
func powerCycled(n *image.Namespace, i uint64, z layout.Zone) (layout.Zone, error) {
	if n.ZRWAS > 0 && z.State.HasWP() {
		end, err := image.ZoneDataEnd(n.File(), n.Namespace, i)
		if err != nil {
			return z, err
		}
		if end = min(end, z.End()); end > z.WP && n.BlockSize() < holeSize {
			end, err = image.NonZeroEnd(n.File(), n.Namespace, z.WP, end)
			if err != nil {
				return z, err
			}
		}
		if end > z.WP {
			return zns.WrittenTo(n.Namespace, z, zns.Commit(n.Namespace, z.ZoneDescriptor, end)), nil
		}
	}
	return zns.AtRest(n.Namespace, z), nil
}

// holeSize is the least hole that file systems have: in smaller blocks, data seems to
// end later than it does.
const holeSize = 4096
