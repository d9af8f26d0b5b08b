package image_test

import (
	"os"
	"path/filepath"
	"testing"

	"zimg/image"
	"zimg/layout"
)

// million makes an image of a million zones on a real disk.
func million(b *testing.B) string {
	b.Helper()
	name := filepath.Join(b.TempDir(), "d.zimg")
	err := image.Create(name, image.CreateOptions{Namespaces: []image.NamespaceSpec{{Namespace: layout.Namespace{
		CSI: layout.ZNS, BlockBits: 12, Blocks: 1000000 * 256, ZoneCount: 1000000, ZoneSize: 256, ZoneCap: 256, MAR: layout.NoLimit, MOR: layout.NoLimit,
	}}}})
	if err != nil {
		b.Fatal(err)
	}
	return name
}

func openBench(b *testing.B, name string) *image.Image {
	b.Helper()
	im, err := image.Open(name, image.Options{Write: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = im.Close() })
	return im
}

// A commit of one zone, against nothing but the writes and syncs that it is made of.
func BenchmarkCommitOneZoneOfAMillion(b *testing.B) {
	name := million(b)
	b.Run("zimg", func(b *testing.B) {
		im := openBench(b, name)
		written := layout.LBA(0)
		commit := func() {
			written = written%255 + 1
			if err := closeZone(im, 0, 500000, written); err != nil {
				b.Fatal(err)
			}
			if err := im.Commit(); err != nil {
				b.Fatal(err)
			}
		}
		commit() // the first one reads the older copy
		for b.Loop() {
			commit()
		}
	})
	b.Run("its-writes-and-syncs", func(b *testing.B) {
		file, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = file.Close() }()
		info, err := file.Stat()
		if err != nil {
			b.Fatal(err)
		}
		block := make([]byte, layout.BlockLen)
		write := func(blocks int64) {
			for i := range blocks {
				if _, err := file.WriteAt(block, info.Size()-(1+2*i)*layout.BlockLen); err != nil {
					b.Fatal(err)
				}
			}
			if err := file.Sync(); err != nil {
				b.Fatal(err)
			}
		}
		for b.Loop() {
			write(4)
			write(1)
		}
	})
}

// All zones of a million, against reading their bytes.
func BenchmarkWalkAMillionZones(b *testing.B) {
	name := million(b)
	b.Run("zimg", func(b *testing.B) {
		n := openBench(b, name).Namespaces()[0]
		for b.Loop() {
			for _, err := range n.All(0, n.ZoneCount) {
				if err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("reading-their-bytes", func(b *testing.B) {
		file, err := os.Open(name)
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = file.Close() }()
		buf := make([]byte, 256<<10)
		for b.Loop() {
			for off := int64(0); off < 1000000*(layout.DescriptorSize+layout.WPLen); off += int64(len(buf)) {
				if _, err := file.ReadAt(buf, 1000000*256*4096+off); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}

// Open does not depend on the number of zones, but for their checksums.
func BenchmarkOpenAMillionZones(b *testing.B) {
	name := million(b)
	b.Run("zimg", func(b *testing.B) {
		for b.Loop() {
			im, err := image.Open(name, image.Options{})
			if err != nil {
				b.Fatal(err)
			}
			_ = im.Close()
		}
	})
}
