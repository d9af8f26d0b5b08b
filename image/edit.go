package image

import "zimg/layout"

// Edit is a change of zones to what the zone rules need not allow, as when zones are restored. It is in memory until
// Commit.
type Edit struct {
	im      *Image
	shorter []discardedZone
}

// BeginEdit begins an edit. The zones are judged first: the error wraps layout.ErrDamaged.
func (im *Image) BeginEdit() (*Edit, error) {
	if err := im.CheckZones(); err != nil {
		return nil, err
	}
	return &Edit{im: im}, nil
}

// SetZone replaces zone i of n and its zone descriptor extension; a shorter extension is padded with zeroes.
func (e *Edit) SetZone(n *Namespace, i uint64, z layout.Zone, ext []byte) error {
	old, err := n.Zone(i)
	if err != nil {
		return err
	}
	if z.Written < old.Written {
		e.shorter = append(e.shorter, discardedZone{n, i, z.Written})
	}
	if err := n.SetZone(i, z); err != nil {
		return err
	}
	if n.ZDES == 0 {
		return nil
	}
	return n.SetExtension(i, ext)
}

// Commit makes the zones durable, and discards the data of those that are written less far than they were. The order of
// steps is argued in write.go.
func (e *Edit) Commit() error { return e.im.commitDiscard(e.shorter) }

// Abandon drops the changes, and that of the label.
func (e *Edit) Abandon() { e.im.rollback() }
