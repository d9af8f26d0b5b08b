package zns_test

import (
	"zimg/image/zns"
	"zimg/layout"
)

// memory is a Store of a few zones.
type memory struct {
	layout.ZoneSlice
}

func (m *memory) SetZone(i uint64, z layout.Zone) error {
	m.Table[i] = z
	return nil
}

func (m *memory) SetExtension(i uint64, ext []byte) error {
	m.Ext[i] = append(make([]byte, 0, m.Size), ext...)
	return nil
}

// testNamespace has n zones of 16 blocks, 12 of them writable.
func testNamespace(n uint64, maxOpen, maxActive uint32) *layout.Namespace {
	return &layout.Namespace{
		ID: 1, CSI: layout.ZNS, BlockBits: 12, Blocks: layout.LBA(n) * 16, ZoneCount: n, ZoneSize: 16, ZoneCap: 12,
		MAR: layout.ZeroBased(maxActive), MOR: layout.ZeroBased(maxOpen), ZDES: 1,
	}
}

// machine makes a machine over n zones, the first of which are in the states given.
func machine(ns *layout.Namespace, states ...layout.ZoneState) (*zns.Machine, *memory) {
	m := &memory{layout.ZoneSlice{Size: 64, Ext: map[uint64][]byte{}}}
	for i := range ns.ZoneCount {
		z := ns.EmptyZone(i)
		if i < uint64(len(states)) {
			z = inState(ns, i, states[i])
		}
		m.Table = append(m.Table, z)
	}
	return zns.New(ns, m, recount(m)), m
}

func recount(m *memory) layout.Counts {
	var c layout.Counts
	for _, z := range m.Table {
		c[z.State.Index()]++
	}
	return c
}

// inState is zone i in state s; one that is not Empty is written to its fifth block.
func inState(ns *layout.Namespace, i uint64, s layout.ZoneState) layout.Zone {
	z := ns.EmptyZone(i)
	z.State = s
	if s == layout.Empty {
		return z
	}
	z.Written, z.WP = z.Start+5, z.Start+5
	if !s.HasWP() {
		z.WP = layout.NoWP
	}
	return z
}
