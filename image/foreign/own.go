package foreign

import (
	"zimg/image"
)

// ContentOf is a namespace of an image of ours as something to be moved or compared.
func ContentOf(n *image.Namespace) *Content {
	c := &Content{NS: n.Namespace, Data: Linear(n.File(), int64(n.DataOff), int64(n.DataOff+n.Size()))}
	if n.Zoned() {
		c.Zones = n
	}
	if n.MS > 0 {
		c.BlockMeta = Extent{File: n.File(), FileOff: int64(n.DataOff + n.MetadataOff()), Len: int64(n.Blocks) * int64(n.MS)}
	}
	return c
}
