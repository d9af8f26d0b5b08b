package layout

import "fmt"

// CheckZone says what no zone i of n can be, wrapping ErrDamaged, or returns nil.
// Whoever changes a zone, or copies data by its write pointer, asks first.
func CheckZone(n *Namespace, i uint64, z Zone) error {
	bad := func(format string, args ...any) error {
		return Errorf(ErrDamaged, "zone %d: %s", i, fmt.Sprintf(format, args...))
	}
	start := LBA(i) * n.ZoneSize
	switch {
	case z.Type != SeqWriteRequired && z.Type != Conventional:
		return bad("zone type %v", z.Type)
	case z.Start != start:
		return bad("starts at block %d, want %d", z.Start, start)
	case z.Cap == 0 || z.Cap > n.ZoneSize:
		return bad("capacity %d outside 1 to %d", z.Cap, n.ZoneSize)
	case !z.State.Valid() || (z.State == NotWP) != (z.Type == Conventional):
		return bad("state %v is not valid for zone type %v", z.State, z.Type)
	case z.Written < start || z.Written > z.End():
		return bad("written to block %d, outside %d to %d", z.Written, start, z.End())
	case z.State.HasWP() != (z.WP != NoWP) || z.State.HasWP() && !z.writtenToWP(n):
		return bad("write pointer %d in state %v, written to %d", z.WP, z.State, z.Written)
	case z.State == Empty && z.WP != start:
		return bad("Empty, write pointer %d instead of %d", z.WP, start)
	case z.Attrs.Reserved() != 0:
		return bad("attributes %#02x", uint8(z.Attrs))
	case z.Attrs&ZDEV != 0 && n.ZDES == 0:
		return bad("has a descriptor extension in a namespace that has none")
	case z.Attrs&ZDEV != 0 && z.State == Empty:
		return bad("Empty, but has a descriptor extension")
	}
	return nil
}

// writtenToWP reports whether z is written as far as its write pointer says, or,
// with a random write area, at most to the end of that.
func (z Zone) writtenToWP(n *Namespace) bool {
	if z.Attrs&ZRWAV != 0 && z.State.Active() {
		return z.WP >= z.Start && z.WP <= z.Written && z.Written-z.WP <= LBA(n.ZRWAS)
	}
	return z.WP == z.Written
}
