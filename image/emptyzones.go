package image

import (
	"iter"

	"zimg/layout"
)

// emptyZones are the zones of a namespace as it leaves the factory.
type emptyZones struct{ ns *layout.Namespace }

func (e emptyZones) Zone(i uint64) (layout.Zone, error) { return e.ns.EmptyZone(i), nil }

func (e emptyZones) Extension(uint64) ([]byte, error) {
	if e.ns.ZDES == 0 {
		return nil, nil
	}
	return make([]byte, e.ns.ExtSize()), nil
}

func (e emptyZones) All(first, count uint64) iter.Seq2[layout.Zone, error] {
	return func(yield func(layout.Zone, error) bool) {
		for i := first; i < first+count; i++ {
			if !yield(e.ns.EmptyZone(i), nil) {
				return
			}
		}
	}
}
