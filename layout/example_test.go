package layout_test

import (
	"fmt"

	"zimg/layout"
)

// A geometry is checked before anything is made of it.
func ExampleNamespace_Validate() {
	n := layout.Namespace{
		ID: 1, CSI: layout.ZNS, BlockBits: 12, Blocks: 4 * 256, ZoneCount: 4, ZoneSize: 256, ZoneCap: 256,
		MAR: layout.NoLimit, MOR: layout.NoLimit,
	}
	fmt.Println(n.Validate(), n.Size())
	n.ZoneCap = 257
	fmt.Println(n.Validate() != nil)
	// Output:
	// <nil> 4194304
	// true
}
