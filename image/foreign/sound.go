package foreign

import (
	"fmt"

	"zimg/image/zns"
	"zimg/layout"
)

// CheckSound is layout.CheckZone for all zones of c, which came from the file called name. Errors of reading name
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
		if err := layout.CheckZone(c.NS, i, z); err != nil {
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
