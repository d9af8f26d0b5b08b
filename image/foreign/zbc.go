package foreign

import (
	"zimg/layout"
)

// What the formats of the ZBC family have in common: the numbers of zone types and conditions
// are those of the states of NVMe, with 0 for a conventional zone.

// ZBCInactive is a condition that no other family knows.
const ZBCInactive = 5

// FromZBC makes zone i of n out of a type, a condition and a write pointer in blocks, as they
// stand in a file: nothing is put right but what the format leaves open, the write pointer of zones
// whose condition has none.
func FromZBC(n *layout.Namespace, i uint64, kind, cond uint8, start, wp layout.LBA) layout.Zone {
	if kind == uint8(layout.Conventional) {
		z := ConventionalZone(n, i)
		z.Start = start
		z.Written = z.End()
		return z
	}
	z := layout.Zone{ZoneDescriptor: layout.ZoneDescriptor{
		Type: layout.ZoneType(kind), State: layout.ZoneState(cond), Cap: n.ZoneCap, Start: start, WP: layout.NoWP,
	}}
	z.Written = wp
	switch {
	case z.State == layout.Offline:
		z.Written = start
	case z.State == layout.Full, z.State == layout.ReadOnly && (wp < start || wp > z.End()):
		z.Written = z.End()
	case z.State.HasWP():
		z.WP = wp
	}
	return z
}

// ZBCWP is the write pointer that the formats store for z, in blocks: the end of the zone if it
// is Full, the start if it is Offline.
func ZBCWP(n *layout.Namespace, z layout.Zone) layout.LBA {
	switch z.State {
	case layout.Full:
		return z.Start + n.ZoneSize
	case layout.Offline:
		return z.Start
	default:
		return z.Written
	}
}

// Leading counts the conventional zones at the start; an error if there are others.
func Leading(c *Content) (uint64, error) {
	var i, lead uint64
	for z, err := range c.Zones.All(0, c.NS.ZoneCount) {
		if err != nil {
			return 0, err
		}
		if z.Type == layout.Conventional {
			if lead != i {
				return 0, layout.Errorf(layout.ErrGeometry, "zone %d is conventional and zone %d before it is not: the format has conventional zones at the start", i, i-1)
			}
			lead++
		}
		i++
	}
	if lead == c.NS.ZoneCount {
		return 0, layout.Errorf(layout.ErrGeometry, "all zones are conventional")
	}
	return lead, nil
}

// AllStates are the states that a format of the ZBC family has.
var AllStates = layout.ZoneStates[:]

// BlockBits is the block size that the user said, or 512 bytes, for formats that do not
// store it.
func (in *Input) BlockBits(d *Decoded) uint8 {
	if bits, ok := in.SaidBlockBits(); ok {
		return bits
	}
	d.Assumed = append(d.Assumed, "blocks of 512 bytes, since no block size was given")
	return 9
}
