package all_test

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"zimg/image/imagetest"
	"zimg/image/transfer"
	"zimg/layout"
)

// hugeQcow2 is a small file of 64 KiB clusters that claims zones of 64 MiB. Cluster 0 has the header, 1 to l1 the L1 table,
// the next one the write pointers of Full zones; l2 gives what follows, from the offset of the cluster that comes next.
func hugeQcow2(t *testing.T, zones int, l1 func(k int, next int64) int64, rest func(next int64) []byte) *imagetest.MemFS {
	t.Helper()
	const cluster, zone = 1 << 16, 64 << 20
	be := binary.BigEndian
	tables := (zones*zone + cluster*cluster/8 - 1) / (cluster * cluster / 8)
	l1Clusters := (8*tables + cluster - 1) / cluster
	meta := int64(1+l1Clusters) * cluster
	next := meta + int64((8*zones+cluster-1)/cluster*cluster)
	b := make([]byte, next)
	copy(b, "QFI\xfb")
	be.PutUint32(b[4:], 3)
	be.PutUint32(b[20:], 16)
	be.PutUint64(b[24:], uint64(zones)*zone)
	be.PutUint32(b[36:], uint32(tables))
	be.PutUint64(b[40:], cluster)
	b[79] |= 0x20
	be.PutUint32(b[96:], 4)
	be.PutUint32(b[100:], 104)
	ext := []byte{0, 'z', 'b', 'd', 0, 0, 0, 56, 1, 0, 0, 0}
	ext = be.AppendUint64(be.AppendUint64(ext, zone), zone)
	ext = be.AppendUint32(be.AppendUint32(ext, 0), uint32(zones))
	ext = be.AppendUint64(be.AppendUint32(ext, 0), 4096)
	ext = be.AppendUint64(be.AppendUint64(ext, uint64(8*zones)), uint64(meta))
	copy(b[104:], ext)
	for k := range tables {
		be.PutUint64(b[cluster+8*k:], uint64(l1(k, next)))
	}
	for i := range zones {
		binary.LittleEndian.PutUint64(b[meta+int64(8*i):], uint64(i+1)*zone)
	}
	fsys := imagetest.NewMemFS()
	fsys.WriteFile("/q.qcow2", append(b, rest(next)...))
	return fsys
}

// A small file that leads to one table, or to one cluster of data, again and again is refused before much work is done.
func TestQcow2SharedTables(t *testing.T) {
	t.Parallel()
	const cluster = 1 << 16
	f := formatOf("qcow2")
	for _, c := range []struct {
		name string
		l1   func(k int, next int64) int64
		rest func(next int64) []byte
	}{
		{"one empty L2 table", func(_ int, next int64) int64 { return next }, func(int64) []byte { return make([]byte, cluster) }},
		{"one cluster of data", func(k int, next int64) int64 { return next + int64(k)*cluster }, func(next int64) []byte {
			b := make([]byte, 8*cluster)
			for i := 0; i < len(b); i += 8 {
				binary.BigEndian.PutUint64(b[i:], uint64(next))
			}
			return b
		}},
	} {
		zones := 4000
		if c.name == "one cluster of data" {
			zones = 64
		}
		fsys := hugeQcow2(t, zones, c.l1, c.rest)
		start := time.Now()
		err := transfer.Copy("/q.qcow2", "/z.zimg", transfer.Options{FS: fsys, From: f})
		var field *layout.FieldError
		if !errors.As(err, &field) || !errors.Is(err, layout.ErrDamaged) {
			t.Errorf("%s: %v, want a damaged field", c.name, err)
		}
		if d := time.Since(start); d > time.Minute {
			t.Errorf("%s: refused after %v", c.name, d)
		}
		x := &fixture{}
		if err := examine(fsys, "/q.qcow2", f, x); !errors.Is(err, layout.ErrDamaged) {
			t.Errorf("%s: every command: %v, want a damaged field", c.name, err)
		}
	}
}
