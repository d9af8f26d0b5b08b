package foreign

import (
	"fmt"

	"zimg/image/zns"
	"zimg/layout"
)

// Sound says what keeps zone i of n from being believed, or nil. Whoever copies data by write
// pointers asks first.
func Sound(n *layout.Namespace, i uint64, z layout.Zone) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("zone %d: %s: %w", i, fmt.Sprintf(format, args...), layout.ErrDamaged)
	}
	start := layout.LBA(i) * n.ZoneSize
	switch {
	case z.Type != layout.SeqWriteRequired && z.Type != layout.Conventional:
		return bad("zone type %v", z.Type)
	case z.Start != start:
		return bad("starts at block %d, want %d", z.Start, start)
	case z.Cap == 0 || z.Cap > n.ZoneSize:
		return bad("capacity %d outside 1 to %d", z.Cap, n.ZoneSize)
	case !z.State.Valid() || (z.State == layout.NotWP) != (z.Type == layout.Conventional):
		return bad("state %v of a zone of type %v", z.State, z.Type)
	case z.Written < start || z.Written > z.End():
		return bad("written to block %d, outside %d to %d", z.Written, start, z.End())
	case z.State.HasWP() != (z.WP != layout.NoWP), z.State.HasWP() && z.WP != z.Written:
		return bad("write pointer %d in state %v, written to %d", z.WP, z.State, z.Written)
	case z.State == layout.Empty && z.WP != start:
		return bad("Empty, write pointer %d instead of %d", z.WP, start)
	case z.Attrs.Reserved() != 0:
		return bad("attributes %#02x", uint8(z.Attrs))
	case z.Attrs&layout.ZDEV != 0 && n.ZDES == 0:
		return bad("has a descriptor extension in a namespace that has none")
	case z.Attrs&layout.ZDEV != 0 && z.State == layout.Empty:
		return bad("Empty, but has a descriptor extension")
	}
	return nil
}

// CheckSound is Sound for all zones of c, which came from the file called name. Errors of reading name
// their file themselves.
func (c *Content) CheckSound(name string) error {
	if err := c.NS.Validate(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if !c.NS.Zoned() {
		return nil
	}
	var i uint64
	for z, err := range c.Zones.All(0, c.NS.ZoneCount) {
		if err != nil {
			return err
		}
		if err := Sound(c.NS, i, z); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		i++
	}
	return nil
}

// AtRest is c with its zones as a power cycle leaves them, which is how they are imported.
func (c *Content) AtRest() *Content {
	rest := *c
	if c.NS.Zoned() {
		rest.Zones = &Mapped{Zones: c.Zones, Map: func(_ uint64, z layout.Zone) layout.Zone { return zns.AtRest(c.NS, z) }}
	}
	return &rest
}

// Sequential makes a zone of sequential writes: state, how far it is written, and nothing else
// but what follows from that.
func Sequential(n *layout.Namespace, i uint64, state layout.ZoneState, written layout.LBA) layout.Zone {
	z := n.EmptyZone(i)
	z.State, z.Written, z.WP = state, written, written
	if !state.HasWP() {
		z.WP = layout.NoWP
	}
	return z
}

// ConventionalZone makes zone i of n conventional.
func ConventionalZone(n *layout.Namespace, i uint64) layout.Zone {
	z := n.EmptyZone(i)
	z.Type, z.State, z.WP, z.Cap = layout.Conventional, layout.NotWP, layout.NoWP, n.ZoneSize
	z.Written = z.End()
	return z
}
