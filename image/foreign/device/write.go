package device

import (
	"bytes"
	"fmt"
	"iter"

	"zimg/image/disk"
	"zimg/image/foreign"
	"zimg/layout"
)

// encode makes the zones of the device those of out: everything that can be refused is refused
// before the first zone is touched.
func encode(out *foreign.Output) error {
	dev, err := disk.OpenZoned(out.Path, true, false)
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
	if err := z.fill(out); err != nil {
		return fmt.Errorf("%w: %w", foreign.ErrUnfinished, err)
	}
	return nil
}

// fill resets the device, writes it and looks whether it is as it should be.
func (z *zones) fill(out *foreign.Output) error {
	if err := z.dev.Manage(disk.ResetZones, 0, z.sectors(z.n.Blocks)); err != nil {
		return err
	}
	for pass := range passes {
		var i uint64
		for want, err := range out.Zones.All(0, out.NS.ZoneCount) {
			if err != nil {
				return err
			}
			if turn(want) == pass {
				if err := z.write(out, want); err != nil {
					return fmt.Errorf("zone %d: %w", i, err)
				}
			}
			i++
		}
	}
	if err := z.dev.Sync(); err != nil {
		return err
	}
	return z.verify(out)
}

// passes is how often fill goes over the zones.
const passes = 4

// turn is the pass in which a zone is written. What ends as Full is active only meanwhile, so it comes
// before those that stay active and may need all that the device allows; what stays open
// comes last, for to open another zone a device may close one that was opened implicitly.
func turn(z layout.Zone) int {
	switch z.State {
	case layout.Closed:
		return 1
	case layout.ImplicitlyOpened:
		return 2
	case layout.ExplicitlyOpened:
		return 3
	default:
		return 0
	}
}

// fits compares the device with what is to be written.
func (z *zones) fits(out *foreign.Output) error {
	a, b := z.n, out.NS
	mismatch := func(what string, dev, src any) error {
		return layout.Errorf(layout.ErrGeometry, "%s %v does not match the source (%v)", what, dev, src)
	}
	switch {
	case a.BlockBits != b.BlockBits:
		return mismatch("block size", a.BlockSize(), b.BlockSize())
	case a.ZoneSize != b.ZoneSize:
		return mismatch("zone size in blocks", a.ZoneSize, b.ZoneSize)
	case a.ZoneCap != b.ZoneCap:
		return mismatch("zone capacity in blocks", a.ZoneCap, b.ZoneCap)
	case a.ZoneCount != b.ZoneCount:
		return &foreign.ZoneCountError{Device: a.ZoneCount, Source: b.ZoneCount}
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
			return mismatch(fmt.Sprintf("type of zone %d:", i), have.Type.Key(), want.Type.Key())
		case have.Cap != want.Cap:
			return mismatch(fmt.Sprintf("capacity of zone %d:", i), have.Cap, want.Cap)
		case have.State == layout.ReadOnly || have.State == layout.Offline:
			return fmt.Errorf("zone %d is %v and cannot be written", i, have.State)
		case have.State != layout.Empty && have.Type != layout.Conventional && dirty == nil:
			dirty = layout.Errorf(foreign.ErrOccupied, "zone %d is not Empty (%v); its data would be lost", i, have.State)
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
		return fmt.Errorf("%d active zones needed, but the device allows %d", active, m)
	}
	if m := a.MaxOpen(); m != 0 && open > m {
		return fmt.Errorf("%d open zones needed, but the device allows %d", open, m)
	}
	switch {
	case out.Force:
		return nil
	case dirty != nil:
		return dirty
	}
	return z.blank()
}

// blank refuses conventional zones with anything in them: they have no state that says so.
func (z *zones) blank() error {
	var i uint64
	for have, err := range z.All(0, z.n.ZoneCount) {
		if err != nil {
			return err
		}
		if have.Type == layout.Conventional {
			from := int64(z.n.ByteOff(have.Start))
			end, err := disk.LastNonZero(z.dev, from, from+int64(z.n.ByteOff(z.n.ZoneSize)))
			if err != nil {
				return err
			}
			if end > from {
				return layout.Errorf(foreign.ErrOccupied, "zone %d is conventional and has data, which would be lost", i)
			}
		}
		i++
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
			return layout.Errorf(layout.ErrDamaged, "%s: zone %d is %v with write pointer %d, want %v with %d", out.Path, i, have.State, have.WP, want.State, want.WP)
		}
		read := make([]byte, pieceLen)
		err = out.Pieces(int64(z.n.ByteOff(want.Start)), int64(z.n.ByteOff(want.Written)), pieceLen, func(off int64, b []byte) error {
			if err := foreign.ReadFull(z.dev, read[:len(b)], off); err != nil {
				return err
			}
			if !bytes.Equal(read[:len(b)], b) {
				return layout.Errorf(layout.ErrDamaged, "%s: read back different data in the %d bytes at %d", out.Path, len(b), off)
			}
			if out.Tick != nil {
				return out.Tick(int64(len(b)))
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
