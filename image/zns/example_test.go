package zns_test

import (
	"errors"
	"fmt"

	"zimg/image/zns"
	"zimg/layout"
)

var four = &layout.Namespace{
	ID: 1, CSI: layout.ZNS, BlockBits: 12, Blocks: 4 * 256, ZoneCount: 4, ZoneSize: 256, ZoneCap: 256,
	MAR: layout.NoLimit, MOR: layout.NoLimit,
}

// An open zone with data is Closed after a power cycle.
func ExampleAtRest() {
	z := four.EmptyZone(0)
	z.State, z.WP, z.Written = layout.ExplicitlyOpened, 8, 8
	fmt.Println(zns.AtRest(four, z).State)
	// Output: Closed
}

// memoryZones are zones in memory. An open image is such a store as well.
type memoryZones struct{ layout.ZoneSlice }

func (m *memoryZones) SetZone(i uint64, z layout.Zone) error { m.Table[i] = z; return nil }

func (m *memoryZones) SetExtension(i uint64, ext []byte) error { m.Ext[i] = ext; return nil }

// A write moves the write pointer, which the next one must meet.
func ExampleMachine() {
	st := &memoryZones{}
	var counts layout.Counts
	for i := range four.ZoneCount {
		st.Table = append(st.Table, four.EmptyZone(i))
		counts[layout.Empty.Index()]++
	}
	m := zns.New(four, st, counts)
	fmt.Println(m.Write(256, 8), st.Table[1].State, st.Table[1].WP)
	fmt.Println(errors.Is(m.Write(256, 8), zns.ZoneInvalidWrite))
	// Output:
	// <nil> Implicitly Opened 264
	// true
}
