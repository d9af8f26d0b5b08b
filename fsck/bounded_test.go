package fsck_test

import (
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"zimg/fsck"
	"zimg/image"
	"zimg/layout"
)

// sparseImage is a file of a few KiB on disk that claims 2^32 zones. Its headers
// and the checksum of its checksum array, which is a hole like all tables, are right.
func sparseImage(t *testing.T, zones uint64, zdes uint8) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sparse.zimg")
	n := layout.Namespace{
		ID: 1, CSI: layout.ZNS, BlockBits: 9, Blocks: layout.LBA(zones), ZoneCount: zones, ZoneSize: 1, ZoneCap: 1,
		MAR: layout.NoLimit, MOR: layout.NoLimit, ZDES: zdes,
	}
	plan, err := layout.Place(layout.Trailing, []*layout.Entry{{Namespace: n}})
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := f.Truncate(int64(plan.MetaFileLen())); err != nil {
		t.Fatal(err)
	}
	table := layout.EncodeTable(plan.Entries)
	first := make([]byte, layout.BlockLen)
	sum := crc32.Checksum(table, crc32.MakeTable(crc32.Castagnoli))
	copy(first, []byte{byte(sum), byte(sum >> 8), byte(sum >> 16), byte(sum >> 24)})
	array := layout.UpdateChecksum(0, first)
	zero := make([]byte, 1<<20)
	for left := int64(layout.ChecksumArrayLen(plan.ChecksumCount)) - layout.BlockLen; left > 0; left -= 1 << 20 {
		array = layout.UpdateChecksum(array, zero[:min(left, 1<<20)])
	}
	h := &layout.Header{UUID: [16]byte{1}, Flags: layout.Clean, ChecksumCRC: array, Counts: []layout.Counts{{zones}}}
	plan.Header(h)
	for slot := range 2 {
		h.Slot, h.Generation = uint32(slot), uint64(2-slot)
		off := int64(plan.MetaOff) + int64(slot)*int64(plan.SlotLen)
		for at, b := range map[int64][]byte{0: h.Encode(), int64(plan.ChecksumOff): first, int64(plan.TableOff): table} {
			if _, err := f.WriteAt(b, off+at); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := f.WriteAt(plan.Locator(h.UUID).Encode(), int64(plan.MetaOff+2*plan.SlotLen)); err != nil {
		t.Fatal(err)
	}
	return path
}

// A few KiB that claim a table of 2^32 zones, or of extensions of many GiB, take
// neither time nor memory: they are refused.
func TestSparseClaims(t *testing.T) {
	for _, c := range []struct {
		zones uint64
		zdes  uint8
	}{{1 << 32, 0}, {1 << 28, 255}} {
		path := sparseImage(t, c.zones, c.zdes)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		if _, err := image.Open(path, image.Options{}); !errors.Is(err, layout.ErrDamaged) {
			t.Errorf("open: %v", err)
		}
		if r, err := fsck.Check(path, fsck.Options{}); err != nil || !r.Lost {
			t.Errorf("check: %+v, %v", r, err)
		}
		if r, err := fsck.Repair(path, fsck.Options{Mode: fsck.All}); err != nil || r.Changed {
			t.Errorf("repair: %+v, %v", r, err)
		}
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > 64<<20 {
			t.Errorf("%d zones: %d bytes were allocated", c.zones, used)
		}
		t.Logf("%d zones of %d bytes of extension: %v", c.zones, int(c.zdes)*64, time.Since(start))
	}
}
