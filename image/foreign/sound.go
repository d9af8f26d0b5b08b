package foreign

import (
	"fmt"
	"strings"

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

// WithinLimits is c with limits that its zones keep. A drive cannot have more zones open or active than it allows, so
// a limit that the zones exceed becomes their number: what says so for people, and is empty if nothing had to change.
func (c *Content) WithinLimits() (fit *Content, what string, err error) {
	if !c.NS.Zoned() {
		return c, "", nil
	}
	var open, active uint64
	for z, err := range c.Zones.All(0, c.NS.ZoneCount) {
		if err != nil {
			return nil, "", err
		}
		if z.State.Open() {
			open++
		}
		if z.State.Active() {
			active++
		}
	}
	n := *c.NS
	var changed []string
	if m := n.MaxActive(); m != 0 && active > m {
		changed = append(changed, fmt.Sprintf("max-active %d, while %d zones are active (it becomes %d)", m, active, active))
		n.MAR = layout.ZeroBased(uint32(active))
	}
	if m := n.MaxOpen(); m != 0 && open > m {
		changed = append(changed, fmt.Sprintf("max-open %d, while %d zones are open (it becomes %d)", m, open, open))
		n.MOR = layout.ZeroBased(uint32(open))
	}
	if len(changed) == 0 {
		return c, "", nil
	}
	fitted := *c
	fitted.NS = &n
	return &fitted, strings.Join(changed, "; "), nil
}

// ConventionalZone makes zone i of n conventional.
func ConventionalZone(n *layout.Namespace, i uint64) layout.Zone {
	z := n.EmptyZone(i)
	z.Type, z.State, z.WP, z.Cap = layout.Conventional, layout.NotWP, layout.NoWP, n.ZoneSize
	z.Written = z.End()
	return z
}
