package fsck_test

import (
	"os"
	"path/filepath"
	"testing"

	"zimg/fsck"
	"zimg/image"
	"zimg/layout"
)

// A check of the metadata of a million zones, against reading and summing both copies.
func BenchmarkCheckAMillionZones(b *testing.B) {
	name := filepath.Join(b.TempDir(), "d.zimg")
	const data = 1000000 * 256 * 4096
	err := image.Create(name, image.CreateOptions{Namespaces: []image.NamespaceSpec{{Namespace: layout.Namespace{
		CSI: layout.ZNS, BlockBits: 12, Blocks: data / 4096, ZoneCount: 1000000, ZoneSize: 256, ZoneCap: 256, MAR: layout.NoLimit, MOR: layout.NoLimit,
	}}}})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("zimg", func(b *testing.B) {
		for b.Loop() {
			r, err := fsck.Check(name, fsck.Options{Data: fsck.DataNever})
			if err != nil || r.Errors+r.Warnings > 0 {
				b.Fatal(err)
			}
		}
	})
	b.Run("reading-and-summing", func(b *testing.B) {
		file, err := os.Open(name)
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = file.Close() }()
		info, err := file.Stat()
		if err != nil {
			b.Fatal(err)
		}
		buf := make([]byte, 256<<10)
		for b.Loop() {
			for off := int64(data); off < info.Size(); off += int64(len(buf)) {
				n, _ := file.ReadAt(buf, off)
				for i := 0; i < n; i += layout.BlockLen {
					layout.Checksum(buf[i : i+layout.BlockLen])
				}
			}
		}
	})
}
