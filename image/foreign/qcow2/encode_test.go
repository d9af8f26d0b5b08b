package qcow2

import (
	"math"
	"testing"

	"zimg/image/disk"
	"zimg/image/foreign"
	"zimg/image/imagetest"
	"zimg/layout"
)

// solid is a file that is data all over.
type solid struct{ disk.File }

func (solid) SeekData(off int64) (int64, error) { return off, nil }
func (solid) SeekHole(int64) (int64, error)     { return math.MaxInt64, nil }

// However much is written, nothing overlaps and the refcounts are enough: for none, for one block of
// them more or less, and for more than one cluster of the table, which takes 16 TiB.
func TestPlan(t *testing.T) {
	const zone = 1 << 20 // blocks of 4096 bytes: 4 GiB
	for _, full := range []uint64{0, 1, 2, 4, 4095, 4096, 4097, 4200, 10000} {
		n := &layout.Namespace{ID: 1, CSI: layout.ZNS, BlockBits: 12, ZoneSize: zone, ZoneCap: zone, ZoneCount: full + 1, Blocks: layout.LBA(full+1) * zone, MAR: layout.NoLimit, MOR: layout.NoLimit}
		zones := &layout.ZoneSlice{}
		for i := range full {
			zones.Table = append(zones.Table, imagetest.Sequential(n, i, layout.Full, layout.LBA(i+1)*zone))
		}
		zones.Table = append(zones.Table, n.EmptyZone(full))
		p, err := plan(&foreign.Content{NS: n, Zones: zones, Data: foreign.Linear(solid{}, 0, int64(n.Size()))})
		if err != nil {
			t.Fatal(err)
		}
		at := 1 + p.refTable + p.refBlocks
		next := func(name string, first, count int64) {
			if first != at {
				t.Errorf("%d zones: %s at cluster %d, want %d", full, name, first, at)
			}
			at += count
		}
		next("L1", p.l1, p.l1Len)
		next("L2", p.l2, int64(len(p.tables)))
		var data int64
		for _, s := range p.spans {
			next("data", s.at, s.count)
			data += s.count
		}
		meta := clustersFor(entryLen * int64(n.ZoneCount))
		if want := int64(full)*zone*4096/clusterSize + meta; data != want || p.meta != at-meta || p.total != at {
			t.Errorf("%d zones: %d clusters of data, want %d; write pointers at %d; %d of %d in all", full, data, want, p.meta, p.total, at)
		}
		if p.refBlocks != (p.total+refsPer-1)/refsPer || p.refTable != clustersFor(8*p.refBlocks) {
			t.Errorf("%d zones: %d refcount blocks in a table of %d clusters, for %d clusters", full, p.refBlocks, p.refTable, p.total)
		}
		if p.l1Len != clustersFor(8*p.l1Size) || p.l1Size != p.tables[len(p.tables)-1]+1 {
			t.Errorf("%d zones: L1 of %d entries in %d clusters", full, p.l1Size, p.l1Len)
		}
	}
}
