package image_test

import (
	"runtime"
	"testing"

	"zimg/image"
	"zimg/image/compare"
	"zimg/image/imagetest"
	"zimg/layout"
)

// zoned makes an image of count zones in memory.
func zoned(t *testing.T, count uint64) *imagetest.MemFS {
	t.Helper()
	fs := imagetest.NewMemFS()
	err := image.Create(path, image.CreateOptions{FS: fs, Layout: layout.Sidecar, Namespaces: []image.NamespaceSpec{{Namespace: layout.Namespace{
		CSI: layout.ZNS, BlockBits: 12, Blocks: layout.LBA(count) * 256, ZoneCount: count, ZoneSize: 256, ZoneCap: 256, MAR: layout.NoLimit, MOR: layout.NoLimit,
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	return fs
}

// A change of one zone writes a handful of blocks, however many zones there are.
func TestOneZoneOfAMillion(t *testing.T) {
	for _, count := range []uint64{16, 1000000} {
		fs := zoned(t, count)
		im, err := image.Open(path, image.Options{FS: fs, Write: true})
		if err != nil {
			t.Fatal(err)
		}
		for k, i := range []uint64{5, 5, 7, count - 1, count / 2} {
			fs.ResetCounters()
			if err := closeZone(im, 0, i, layout.LBA(k+1)); err != nil {
				t.Fatal(err)
			}
			if err := im.Commit(); err != nil {
				t.Fatal(err)
			}
			c := fs.Counters()
			// Two table blocks, the checksum blocks of each, the header; and as much
			// again for the commit before, which this slot has missed.
			limit := int64(9)
			if k == 0 {
				limit = 8
			}
			if c.Blocks > limit || c.Syncs > 2 {
				t.Errorf("%d zones, commit %d: %d blocks and %d syncs, want at most %d and 2", count, k, c.Blocks, c.Syncs, limit)
			}
		}
		if err := im.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Opening a million zones reads no tables but the checksums.
func TestOpenCost(t *testing.T) {
	cost := func(count uint64) int64 {
		fs := zoned(t, count)
		fs.ResetCounters()
		im, err := image.Open(path, image.Options{FS: fs})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = im.Close() }()
		return fs.Counters().ReadBytes
	}
	few, many := cost(16), cost(1000000)
	sums := int64(2 * layout.ChecksumArrayLen(1000000*(layout.DescriptorSize+layout.WPLen)/layout.BlockLen+2))
	if many > few+2*sums { // a sidecar's are read once more, for the names of its data files
		t.Errorf("opening 16 zones reads %d bytes, a million %d, of which %d are checksums", few, many, sums)
	}
}

// Reading a million zones takes no memory to speak of.
func TestScanMemory(t *testing.T) {
	fs := zoned(t, 1000000)
	im, err := image.Open(path, image.Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = im.Close() }()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n := 0
	for _, err := range im.Namespaces()[0].All(0, 1000000) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; n != 1000000 || got > 4<<20 {
		t.Errorf("%d zones read, %d bytes allocated", n, got)
	}
}

// Comparing images of many empty zones takes no memory for each of them.
func TestCompareCost(t *testing.T) {
	const zones = 200000
	fs := zoned(t, zones)
	var pair [2]*image.Image
	for i := range pair {
		im, err := image.Open(path, image.Options{FS: fs})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = im.Close() }()
		pair[i] = im
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := compare.Sides(compare.SideOf(pair[0]), compare.SideOf(pair[1]), compare.Options{Report: func(d compare.Difference) bool { t.Errorf("%+v", d); return true }})
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; err != nil || used > 4<<20 {
		t.Errorf("%v; %d bytes allocated for %d zones", err, used, zones)
	}
}
