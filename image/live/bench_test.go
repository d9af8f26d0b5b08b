package live_test

import (
	"path/filepath"
	"testing"

	"zimg/image"
	"zimg/image/imagetest"
	"zimg/image/live"
	"zimg/layout"
)

// benchStore serves an image of zones zones of 1 MiB on a real disk.
func benchStore(b *testing.B, zones uint64) *live.Namespace {
	b.Helper()
	s := imagetest.Spec{Layout: layout.Trailing, UUID: [16]byte{3}, Namespaces: []imagetest.SpecNamespace{{
		Namespace: layout.Namespace{
			ID: 1, CSI: layout.ZNS, BlockBits: 12, Blocks: layout.LBA(zones) * 256,
			ZoneCount: zones, ZoneSize: 256, ZoneCap: 256,
			MAR: layout.NoLimit, MOR: layout.NoLimit,
		},
	}}}
	name := filepath.Join(b.TempDir(), "disk.zimg")
	if err := s.Create(nil, name); err != nil {
		b.Fatal(err)
	}
	im, err := image.OpenUnclean(name, image.Options{Write: true})
	if err != nil {
		b.Fatal(err)
	}
	st, err := live.Open(im, live.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		st.Abandon()
		_ = im.Close()
	})
	return st.Namespace(1)
}

func BenchmarkSetZone(b *testing.B) {
	n := benchStore(b, 1<<16)
	b.ReportAllocs()
	i := uint64(0)
	for b.Loop() {
		zone := i % 1024
		z := n.EmptyZone(zone)
		z.State, z.WP = layout.ImplicitlyOpened, z.Start+layout.LBA(1+i/1024%200)
		z.Written = z.WP
		if err := n.SetZone(zone, z); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

func BenchmarkZone(b *testing.B) {
	n := benchStore(b, 1<<16)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := n.Zone(77); err != nil {
			b.Fatal(err)
		}
	}
}

// A write of 4 KiB with its zone.
func BenchmarkWrite(b *testing.B) {
	n := benchStore(b, 1<<16)
	p := make([]byte, 4096)
	b.SetBytes(4096)
	b.ReportAllocs()
	i := layout.LBA(0)
	for b.Loop() {
		zone := uint64(i) / 256 % n.ZoneCount
		z, err := n.Zone(zone)
		if err != nil {
			b.Fatal(err)
		}
		if z.State == layout.Full {
			b.Fatal("the namespace is full")
		}
		n.Lock(zone)
		if err := n.WriteData(p, z.WP); err != nil {
			b.Fatal(err)
		}
		z.State, z.WP = layout.ImplicitlyOpened, z.WP+1
		z.Written = z.WP
		if z.WP == z.End() {
			z.State, z.WP = layout.Full, layout.NoWP
		}
		if err := n.SetZone(zone, z); err != nil {
			b.Fatal(err)
		}
		n.Unlock(zone)
		i++
	}
}

// A flush of one zone among a million.
func BenchmarkFlush(b *testing.B) {
	n := benchStore(b, 1<<20)
	z := n.EmptyZone(5)
	i := layout.LBA(0)
	for b.Loop() {
		z.State, z.WP = layout.ImplicitlyOpened, z.Start+1+i%200
		z.Written = z.WP
		if err := n.SetZone(5, z); err != nil {
			b.Fatal(err)
		}
		if err := n.Flush(); err != nil {
			b.Fatal(err)
		}
		i++
	}
}
