package layout_test

import (
	"errors"
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

// Where the parts of an image are, and its header as bytes and back.
func ExamplePlace() {
	plan, err := layout.Place(layout.Trailing, []*layout.Entry{{Namespace: layout.Namespace{
		ID: 1, CSI: layout.ZNS, BlockBits: 12, Blocks: 4 * 256, ZoneCount: 4, ZoneSize: 256, ZoneCap: 256,
		MAR: layout.NoLimit, MOR: layout.NoLimit,
	}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("data:", plan.DataLen[0], "metadata at:", plan.MetaOff)
	h := &layout.Header{UUID: [16]byte{1}, Generation: 1, Label: "four", Counts: make([]layout.Counts, 1)}
	plan.Header(h)
	b := h.Encode()
	back, err := layout.DecodeHeader(b, plan.MetaOff)
	fmt.Println(back.Label, err)
	b[40] ^= 1
	_, err = layout.DecodeHeader(b, plan.MetaOff)
	fmt.Println(errors.Is(err, layout.ErrDamaged))
	// Output:
	// data: 4194304 metadata at: 4194304
	// four <nil>
	// true
}
