// Package device is a live zoned block device as a format: its zones by the kernel's report, its
// data up to the write pointers; and back, by resetting, writing in order, closing and finishing.
//
// Source of the interface: Linux, include/uapi/linux/blkzoned.h; package disk has the ioctls.
package device

import (
	"bytes"
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
	dev, err := disk.OpenZoned(in.Path, false)
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
		MAR: layout.ZeroBased(uint32(g.MaxActive)), MOR: layout.ZeroBased(uint32(g.MaxOpen)),
	}
	if n.MOR == layout.NoLimit || n.MAR != layout.NoLimit && n.MOR > n.MAR {
		n.MOR = n.MAR
	}
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
		return nil, fmt.Errorf("%s: its last zone has %d sectors, the others %d, which a namespace cannot have: %w", dev.Name(), last[0].Len, g.ZoneSectors, foreign.ErrUnsupported)
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
			return fmt.Errorf("%s: reports no zone %d of %d: %w", z.dev.Name(), i, g.Zones, layout.ErrDamaged)
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

// encode makes the zones of the device those of out: everything that can be refused is refused
// before the first zone is touched.
func encode(out *foreign.Output) error {
	dev, err := disk.OpenZoned(out.Path, true)
	if err != nil {
		return err
	}
	defer func() { _ = dev.Close() }()
	z, err := describe(dev)
	if err != nil {
		return err
	}
	if err := z.fits(out); err != nil {
		return fmt.Errorf("%s: %w", out.Path, err)
	}
	if err := dev.Manage(disk.ResetZones, 0, z.sectors(z.n.Blocks)); err != nil {
		return err
	}
	var i uint64
	for want, err := range out.Zones.All(0, out.NS.ZoneCount) {
		if err != nil {
			return err
		}
		if err := z.write(out, want); err != nil {
			return fmt.Errorf("zone %d: %w", i, err)
		}
		i++
	}
	if err := dev.Sync(); err != nil {
		return err
	}
	return z.verify(out)
}

// fits compares the device with what is to be written.
func (z *zones) fits(out *foreign.Output) error {
	a, b := z.n, out.NS
	mismatch := func(what string, dev, src any) error {
		return fmt.Errorf("%s %v, the source has %v: %w", what, dev, src, layout.ErrGeometry)
	}
	switch {
	case a.BlockBits != b.BlockBits:
		return mismatch("blocks of bytes:", a.BlockSize(), b.BlockSize())
	case a.ZoneSize != b.ZoneSize:
		return mismatch("blocks in a zone:", a.ZoneSize, b.ZoneSize)
	case a.ZoneCap != b.ZoneCap:
		return mismatch("blocks of capacity:", a.ZoneCap, b.ZoneCap)
	case a.ZoneCount != b.ZoneCount:
		return mismatch("zones:", a.ZoneCount, b.ZoneCount)
	}
	var active, open, i uint64
	var dirty error
	next, stop := iter.Pull2(z.All(0, a.ZoneCount))
	defer stop()
	for want, err := range out.Zones.All(0, b.ZoneCount) {
		if err != nil {
			return err
		}
		have, err, ok := next()
		switch {
		case err != nil:
			return err
		case !ok || have.Type != want.Type:
			return mismatch(fmt.Sprintf("type of zone %d:", i), have.Type, want.Type)
		case have.Cap != want.Cap:
			return mismatch(fmt.Sprintf("capacity of zone %d:", i), have.Cap, want.Cap)
		case have.State == layout.ReadOnly || have.State == layout.Offline:
			return fmt.Errorf("zone %d is %v, it cannot be written", i, have.State)
		case have.State != layout.Empty && have.Type != layout.Conventional && dirty == nil:
			dirty = fmt.Errorf("zone %d is %v: what is on the device would be lost; --force resets all its zones", i, have.State)
		}
		if want.State.Active() {
			active++
		}
		if want.State.Open() {
			open++
		}
		i++
	}
	if m := a.MaxActive(); m != 0 && active > m {
		return fmt.Errorf("%d zones are to be active, the device allows %d", active, m)
	}
	if m := a.MaxOpen(); m != 0 && open > m {
		return fmt.Errorf("%d zones are to be open, the device allows %d", open, m)
	}
	if dirty != nil && !out.Force {
		return dirty
	}
	return nil
}

// pieceLen is how much is written, and compared, at a time.
const pieceLen = 1 << 20

// write brings a zone that is Empty to want.
func (z *zones) write(out *foreign.Output, want layout.Zone) error {
	start := z.sectors(want.Start)
	size := z.sectors(z.n.ZoneSize)
	err := out.Pieces(int64(z.n.ByteOff(want.Start)), int64(z.n.ByteOff(want.Written)), pieceLen, func(off int64, b []byte) error {
		_, err := z.dev.WriteAt(b, off)
		if err == nil && out.Tick != nil {
			err = out.Tick(int64(len(b)))
		}
		return err
	})
	if err != nil || want.Type == layout.Conventional {
		return err
	}
	switch want.State {
	case layout.Full:
		if want.Written < want.End() {
			return z.dev.Manage(disk.FinishZones, start, size)
		}
	case layout.Closed:
		return z.dev.Manage(disk.CloseZones, start, size)
	case layout.ExplicitlyOpened:
		return z.dev.Manage(disk.OpenZones, start, size)
	default: // Empty, and implicitly opened by what was written
	}
	return nil
}

// verify compares the device with what it should be: zones by a new report, data by reading it.
func (z *zones) verify(out *foreign.Output) error {
	var i uint64
	next, stop := iter.Pull2(z.All(0, z.n.ZoneCount))
	defer stop()
	for want, err := range out.Zones.All(0, out.NS.ZoneCount) {
		if err != nil {
			return err
		}
		have, err, ok := next()
		if err != nil {
			return err
		}
		if !ok || have.State != want.State || have.WP != want.WP {
			return fmt.Errorf("%s: zone %d is %v, write pointer %d, after it was made %v, %d: %w", out.Path, i, have.State, have.WP, want.State, want.WP, layout.ErrDamaged)
		}
		read := make([]byte, pieceLen)
		err = out.Pieces(int64(z.n.ByteOff(want.Start)), int64(z.n.ByteOff(want.Written)), pieceLen, func(off int64, b []byte) error {
			if err := foreign.ReadFull(z.dev, read[:len(b)], off); err != nil {
				return err
			}
			if !bytes.Equal(read[:len(b)], b) {
				return fmt.Errorf("%s: other data than was written, in the %d bytes at %d: %w", out.Path, len(b), off, layout.ErrDamaged)
			}
			return nil
		})
		if err != nil {
			return err
		}
		i++
	}
	return nil
}
