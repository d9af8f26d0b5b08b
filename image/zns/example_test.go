package zns_test

import (
	"fmt"

	"zimg/image/zns"
	"zimg/layout"
)

// An open zone with data is Closed after a power cycle.
func ExampleAtRest() {
	n := &layout.Namespace{
		ID: 1, CSI: layout.ZNS, BlockBits: 12, Blocks: 4 * 256, ZoneCount: 4, ZoneSize: 256, ZoneCap: 256,
		MAR: layout.NoLimit, MOR: layout.NoLimit,
	}
	z := n.EmptyZone(0)
	z.State, z.WP, z.Written = layout.ExplicitlyOpened, 8, 8
	fmt.Println(zns.AtRest(n, z).State)
	// Output: Closed
}
