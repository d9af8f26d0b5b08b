package fsck_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"zimg/fsck"
	"zimg/image"
	"zimg/image/disk"
	"zimg/image/imagetest"
	"zimg/layout"
)

// What write and append make verifies, in every format of protection information; a
// flipped bit of data or metadata, and a block in the wrong place, are found.
func TestProtection(t *testing.T) {
	t.Parallel()
	for typ := uint8(1); typ <= 3; typ++ {
		for _, format := range []struct {
			ms    uint16
			pif   uint8
			first bool
		}{{8, 0, false}, {16, 0, false}, {16, 0, true}, {16, 2, false}, {64, 2, true}} {
			t.Run(fmt.Sprintf("type %d, %+v", typ, format), func(t *testing.T) {
				t.Parallel()
				n := layout.Namespace{
					ID: 1, CSI: layout.ZNS, BlockBits: 9, Blocks: 4 * 32, ZoneCount: 4, ZoneSize: 32, ZoneCap: 30, MAR: layout.NoLimit, MOR: layout.NoLimit,
					MS: format.ms, PI: typ, PIFormat: format.pif, PIFirst: format.first,
				}
				plain := layout.Namespace{ID: 2, CSI: layout.NVM, BlockBits: 12, Blocks: 16, MS: format.ms, PI: typ, PIFormat: format.pif, PIFirst: format.first}
				s := imagetest.Spec{Layout: layout.Trailing, UUID: [16]byte{1}, Namespaces: []imagetest.SpecNamespace{{Namespace: n}, {Namespace: plain}}}
				fs := imagetest.NewMemFS()
				if err := s.Create(fs, path); err != nil {
					t.Fatal(err)
				}
				data := bytes.Repeat([]byte("protected"), 1000)
				if err := runChange(fs, func(im *image.Image) error {
					if err := im.Namespaces()[0].Write(bytes.NewReader(data[:512*9]), 32, image.WriteOptions{}); err != nil {
						return err
					}
					if err := im.Namespaces()[1].Write(bytes.NewReader(data[:8192]), 3, image.WriteOptions{}); err != nil {
						return err
					}
					_, err := im.Namespaces()[0].Append(bytes.NewReader(data[:1024]), 1, image.WriteOptions{})
					return err
				}); err != nil {
					t.Fatal(err)
				}
				wantFindings(t, fs)
				im, err := image.Open(path, image.Options{FS: fs})
				if err != nil {
					t.Fatal(err)
				}
				zoned, other := *im.Namespaces()[0].Namespace, *im.Namespaces()[1].Namespace
				if err := im.Close(); err != nil {
					t.Fatal(err)
				}
				pi := 0
				if !format.first {
					pi = int(format.ms) - 8<<(format.pif/2)
				}
				blockOff := int64(zoned.DataOff + zoned.ByteOff(34))
				metaOff := int64(zoned.DataOff+zoned.MetadataOff()) + 35*int64(format.ms) + int64(pi)
				plainOff := int64(other.DataOff + other.ByteOff(4))
				for _, off := range []int64{blockOff, metaOff, plainOff} {
					flip(t, fs, off)
				}
				wantFindings(t, fs, "namespace 1 zone 1: 2 blocks, the first is LBA 34: guard", "namespace 2: LBA 4: guard")
				for _, off := range []int64{blockOff, metaOff, plainOff} {
					flip(t, fs, off)
				}
				wantFindings(t, fs)
				if typ != 1 {
					return
				}
				flip(t, fs, metaOff+int64(8<<(format.pif/2))-1) // the last byte of the reference tag
				wantFindings(t, fs, "namespace 1 zone 1: LBA 35: reference tag is 0x22, want 0x23")
			})
		}
	}
}

// wantFindings checks the image with its data: it must find what is said, and no more.
func wantFindings(t *testing.T, fs disk.FS, want ...string) {
	t.Helper()
	var got []string
	if _, err := fsck.Check(path, fsck.Options{FS: fs, Data: fsck.DataAlways, Found: func(f fsck.Finding) {
		got = append(got, fmt.Sprintf("%s %s: %s", f.Code, f.Place(), f.Detail))
	}}); err != nil {
		t.Fatal(err)
	}
	ok := len(got) == len(want)
	for i := range min(len(got), len(want)) {
		ok = ok && strings.HasPrefix(got[i], string(fsck.ProtectionWrong)+" "+want[i])
	}
	if !ok {
		t.Errorf("found %q, want %q", got, want)
	}
}

// flip changes the lowest bit of the byte at off of the image.
func flip(t *testing.T, fs disk.FS, off int64) {
	t.Helper()
	file, err := fs.Open(path, disk.ReadWrite, 0)
	if err != nil {
		t.Fatal(err)
	}
	var b [1]byte
	if _, err := file.ReadAt(b[:], off); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := file.WriteAt(b[:], off); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}
