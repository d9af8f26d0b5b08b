// Package device is a live zoned block device as a format: its zones by the kernel's report, its
// data up to the write pointers; and back, by resetting, writing in order, closing and finishing.
//
// Source of the interface: Linux, include/uapi/linux/blkzoned.h; package disk has the ioctls.
package device

import (
	"fmt"
	"iter"
	"math/bits"

	"zimg/image/disk"
	"zimg/image/foreign"
	"zimg/layout"
)

// Format is a zoned block device.
var Format = &foreign.Format{
	Name: "device", Title: "zoned block device of Linux, live",
	Shape: foreign.Device, Original: "the device",
	Holds: foreign.Holds{
		States:       []layout.ZoneState{layout.Empty, layout.ImplicitlyOpened, layout.ExplicitlyOpened, layout.Closed, layout.Full, layout.NotWP},
		Conventional: true, Capacity: true, FullWritten: true, Geometry: true, Limits: true, BlockSize: true, MinBits: 9, MaxBits: 16,
		Zone: func(_ *layout.Namespace, z layout.Zone) (layout.Zone, string) {
			if z.State == layout.ImplicitlyOpened && z.Written == z.Start { // only a write opens it so
				z.State = layout.Empty
				return z, "implicitly opened zones with nothing written (they become Empty)"
			}
			return z, ""
		},
	},
	Probe:  func(h *foreign.Head) bool { return !h.IsDir && disk.IsZoned(h.Path) },
	Decode: decode,
	Encode: encode,
}

// zones reports as it is asked.
type zones struct {
	dev disk.ZonedDevice
	n   *layout.Namespace
}

// perReport is how many zones are asked for at a time.
const perReport = 4096

func decode(in *foreign.Input) (*foreign.Decoded, error) {
	dev, err := disk.OpenZoned(in.Path, false, in.ForceShare)
	if err != nil {
		return nil, err
	}
	in.Keep(dev)
	z, err := describe(dev)
	if err != nil {
		return nil, err
	}
	size, err := dev.Size()
	if err != nil {
		return nil, err
	}
	return &foreign.Decoded{Contents: []*foreign.Content{{NS: z.n, Zones: z, Data: foreign.Linear(dev, 0, size)}}}, nil
}

// describe makes a namespace of a device. The capacity is that of the first sequential zone.
func describe(dev disk.ZonedDevice) (*zones, error) {
	g := dev.Geometry()
	if bits.OnesCount(uint(g.BlockSize)) != 1 || g.BlockSize < 512 {
		return nil, fmt.Errorf("%s: blocks of %d bytes: %w", dev.Name(), g.BlockSize, foreign.ErrUnsupported)
	}
	n := &layout.Namespace{
		ID: 1, CSI: layout.ZNS, BlockBits: uint8(bits.TrailingZeros(uint(g.BlockSize))), ZoneCount: g.Zones,
	}
	n.MOR, n.MAR = layout.Limits(uint32(g.MaxOpen), uint32(g.MaxActive))
	z := &zones{dev, n}
	n.ZoneSize = z.blocks(g.ZoneSectors)
	n.ZoneCap, n.Blocks = n.ZoneSize, layout.LBA(n.ZoneCount)*n.ZoneSize
	var i uint64
	err := z.report(0, func(b disk.BlockZone) bool {
		i++
		if b.Type != uint8(layout.Conventional) {
			n.ZoneCap = z.blocks(b.Cap)
		}
		return b.Type == uint8(layout.Conventional)
	})
	if err != nil {
		return nil, err
	}
	last := make([]disk.BlockZone, 1)
	if _, err := dev.Report((g.Zones-1)*g.ZoneSectors, last); err != nil {
		return nil, err
	}
	if last[0].Len != g.ZoneSectors {
		return nil, fmt.Errorf("%s: the last zone has %d sectors and the others %d, which is %w", dev.Name(), last[0].Len, g.ZoneSectors, foreign.ErrUnsupported)
	}
	return z, n.Validate()
}

func (z *zones) blocks(sectors uint64) layout.LBA { return layout.LBA(sectors >> (z.n.BlockBits - 9)) }

func (z *zones) sectors(b layout.LBA) uint64 { return uint64(b) << (z.n.BlockBits - 9) }

// report hands all zones from number first on to fn, until it says no.
func (z *zones) report(first uint64, fn func(disk.BlockZone) bool) error {
	buf := make([]disk.BlockZone, min(z.n.ZoneCount, perReport))
	g := z.dev.Geometry()
	for i := first; i < g.Zones; {
		n, err := z.dev.Report(i*g.ZoneSectors, buf)
		if err != nil {
			return err
		}
		if n == 0 {
			return layout.Errorf(layout.ErrDamaged, "%s: the device did not report zone %d of %d", z.dev.Name(), i, g.Zones)
		}
		for _, b := range buf[:n] {
			if !fn(b) {
				return nil
			}
		}
		i += uint64(n)
	}
	return nil
}

// zone turns a reported zone into ours. The kernel gives zones without a write pointer one at their
// end.
func (z *zones) zone(i uint64, b disk.BlockZone) layout.Zone {
	out := foreign.FromZBC(z.n, i, b.Type, b.Cond, z.blocks(b.Start), z.blocks(b.WP))
	if out.Type != layout.Conventional {
		out.Cap = z.blocks(b.Cap)
		if !out.State.HasWP() && out.State != layout.Offline {
			out.Written = out.End()
		}
		if b.Reset {
			out.Attrs |= layout.RZR
		}
	}
	return out
}

func (z *zones) Zone(i uint64) (layout.Zone, error) {
	var out layout.Zone
	err := z.report(i, func(b disk.BlockZone) bool {
		out = z.zone(i, b)
		return false
	})
	return out, err
}

func (z *zones) Extension(uint64) ([]byte, error) { return nil, nil }

func (z *zones) All(first, count uint64) iter.Seq2[layout.Zone, error] {
	return func(yield func(layout.Zone, error) bool) {
		i := first
		err := z.report(first, func(b disk.BlockZone) bool {
			ok := i < first+count && yield(z.zone(i, b), nil)
			i++
			return ok && i < first+count
		})
		if err != nil {
			yield(layout.Zone{}, err)
		}
	}
}
