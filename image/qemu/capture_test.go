package qemu

import (
	"errors"
	"testing"

	"zimg/image"
	"zimg/image/imagetest"
	"zimg/layout"
)

// What QEMU reports after a guest has written in a zone random write area and shut the
// controller down: the area is gone, the write pointer where the last commit left it, and
// there is data after it. A capture commits that data.
func TestCaptureRandomWriteArea(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		bits    uint8
		state   layout.ZoneState
		wp      layout.LBA // as QEMU reports it, from the start of the zone
		data    layout.LBA // the last block that has data, from the start of the zone
		want    layout.ZoneState
		written layout.LBA
	}{
		{"Empty, nothing written", 12, layout.Empty, 0, 0, layout.Empty, 0},
		{"Empty, data in the area", 12, layout.Empty, 0, 6, layout.Closed, 8},
		{"Empty, data in the area, small blocks", 9, layout.Empty, 0, 5, layout.Closed, 8},
		{"Closed, nothing uncommitted", 12, layout.Closed, 4, 4, layout.Closed, 4},
		{"Closed, data in the area", 12, layout.Closed, 4, 5, layout.Closed, 8},
		{"Closed, data to the capacity", 12, layout.Closed, 8, 14, layout.Full, 14},
		{"Closed, not on a granularity, no area", 12, layout.Closed, 3, 3, layout.Closed, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := imagetest.Spec{Layout: layout.Trailing, UUID: [16]byte{1}, Namespaces: []imagetest.SpecNamespace{{Namespace: layout.Namespace{
				ID: 1, CSI: layout.ZNS, BlockBits: c.bits, Blocks: 64, ZoneCount: 4, ZoneSize: 16, ZoneCap: 14,
				MAR: layout.NoLimit, MOR: layout.NoLimit, ZRWAS: 8, ZRWAFG: 4,
			}}}}
			fs := imagetest.NewMemFS()
			if err := s.Create(fs, "/d"); err != nil {
				t.Fatal(err)
			}
			im, err := image.Open("/d", image.Options{FS: fs, Write: true})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { err = errors.Join(err, im.Close()) }()
			n := im.Namespaces()[0]
			block := make([]byte, n.BlockSize())
			block[0] = 1
			if c.data > 0 {
				if _, err := n.WriteAt(block, int64(n.ByteOff(16+c.data-1))); err != nil {
					t.Fatal(err)
				}
			}
			d := n.EmptyZone(1).ZoneDescriptor
			d.State, d.WP = c.state, d.Start+c.wp
			if err := captureZone(n, 1, d, nil); err != nil {
				t.Fatal(err)
			}
			z, err := n.Zone(1)
			if err != nil {
				t.Fatal(err)
			}
			if z.State != c.want || z.Written != z.Start+c.written || z.State.HasWP() && z.WP != z.Written {
				t.Errorf("%+v, want %v, written to %d", z, c.want, c.written)
			}
			if err := layout.CheckZone(n.Namespace, 1, z); err != nil {
				t.Error(err)
			}
		})
	}
}
