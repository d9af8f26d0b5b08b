package image

import (
	"fmt"

	"zimg/layout"
)

// checkedZone is zone i, judged: an error wraps layout.ErrDamaged.
func (n *Namespace) checkedZone(i uint64) (layout.Zone, error) {
	z, err := n.Zone(i)
	if err != nil {
		return z, err
	}
	num, in := n.at(n.entry.Tables.Desc, layout.DescriptorSize, i)
	b, err := n.im.block(num)
	if err != nil {
		return z, err
	}
	return z, n.checkZone(i, z, b[in:])
}

// CheckZones judges the zones from first to last by themselves, so that a command can
// refuse what it does not understand before it changes anything. The error wraps
// layout.ErrDamaged and has a hint.
func (n *Namespace) CheckZones(first, last uint64) error {
	i := first
	for z, err := range n.All(first, last-first+1) {
		if err != nil {
			return err
		}
		num, in := n.at(n.entry.Tables.Desc, layout.DescriptorSize, i)
		b, err := n.im.block(num)
		if err != nil {
			return err
		}
		if err := n.checkZone(i, z, b[in:]); err != nil {
			return err
		}
		i++
	}
	return nil
}

// CheckZones judges all zones of all namespaces, and how many of them are open and active.
func (im *Image) CheckZones() error {
	for _, n := range im.ns {
		if !n.Zoned() {
			continue
		}
		if err := n.CheckZones(0, n.ZoneCount-1); err != nil {
			return err
		}
		if err := n.checkLimits(); err != nil {
			return err
		}
	}
	return nil
}

// checkLimits refuses more open or active zones than the namespace can have. The counts of the header have to be those of
// the zones.
func (n *Namespace) checkLimits() error {
	var c layout.Counts
	for z, err := range n.All(0, n.ZoneCount) {
		if err != nil {
			return err
		}
		c[max(0, z.State.Index())]++
	}
	var err error
	switch {
	case c != n.Counts():
		err = layout.Errorf(layout.ErrDamaged, "namespace %d: the header has wrong zone counts", n.ID)
	case n.MaxActive() > 0 && c.Active() > n.MaxActive():
		err = layout.Errorf(layout.ErrDamaged, "namespace %d has %d active zones; its limit is %d", n.ID, c.Active(), n.MaxActive())
	case n.MaxOpen() > 0 && c.Open() > n.MaxOpen():
		err = layout.Errorf(layout.ErrDamaged, "namespace %d has %d open zones; its limit is %d", n.ID, c.Open(), n.MaxOpen())
	}
	if err == nil {
		return nil
	}
	return needsRepair(n.im.files, n.im.path, fmt.Errorf("%s: %w", n.im.path, err))
}

// checkZone checks zone i, whose descriptor is encoded in b.
func (n *Namespace) checkZone(i uint64, z layout.Zone, b []byte) error {
	err := layout.CheckZone(n.Namespace, i, z)
	if off := layout.DescriptorReserved(b); err == nil && off >= 0 {
		err = layout.Errorf(layout.ErrDamaged, "zone %d: reserved bits in byte %d of its descriptor", i, off)
	}
	if err == nil {
		return nil
	}
	return needsRepair(n.im.files, n.im.path, fmt.Errorf("%s: namespace %d %w", n.im.path, n.ID, err))
}
