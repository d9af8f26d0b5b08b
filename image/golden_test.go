package image_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"testing"

	"zimg/image"
	"zimg/image/imagetest"
	"zimg/layout"
)

// The golden images of version 1 were written once and are never written again:
// whatever a later zimg writes, it must read these.
const goldenDir = "../testdata/golden"

// golden returns a file of testdata/golden.
func golden(t testing.TB, name string) []byte {
	t.Helper()
	file, err := os.Open(filepath.Join(goldenDir, name+".gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	r, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// goldenImages are the files of the golden images, by name, with what they are called in testdata.
var goldenImages = map[layout.Kind]map[string]string{
	layout.Trailing: {path: "trailing-v1.zimg"},
	layout.Sidecar:  {path: "sidecar-v1.zimg", path + image.SidecarSuffix: "sidecar-v1.zimg.zmeta"},
}

func TestGolden(t *testing.T) {
	t.Parallel()
	for kind, files := range goldenImages {
		t.Run(kind.String(), func(t *testing.T) {
			fs := imagetest.NewMemFS()
			for name, file := range files {
				fs.WriteFile(name, golden(t, file))
			}
			s := imagetest.Standard(kind)
			same := func() {
				t.Helper()
				im, err := image.Open(path, image.Options{FS: fs})
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = im.Close() }()
				if err := s.Equal(im); err != nil {
					t.Error(err)
				}
				if h := im.Header(); h.Label != s.Label || h.UUID != s.UUID || h.Kind != kind {
					t.Errorf("header: %+v", h)
				}
				b := make([]byte, 95*512)
				if _, err := im.Namespaces()[0].ReadAt(b, 3*128*512); err != nil || !bytes.Equal(b, bytes.Repeat([]byte{'c'}, len(b))) {
					t.Errorf("the data of zone 3 is not what was written (%v)", err)
				}
			}
			same()
			// There and back in place.
			for _, kind := range []layout.Kind{layout.Trailing + layout.Sidecar - kind, kind} {
				if err := image.ConvertInPlace(path, image.ConvertOptions{FS: fs, Layout: kind}); err != nil {
					t.Fatal(err)
				}
			}
			same()
		})
	}
}

// Every prefix of a golden image is refused.
func TestGoldenPrefixes(t *testing.T) {
	t.Parallel()
	whole := golden(t, "sidecar-v1.zimg.zmeta")
	data := golden(t, "sidecar-v1.zimg")
	refused := func(n int, name string, fs *imagetest.MemFS) {
		t.Helper()
		im, err := image.Open(path, image.Options{FS: fs})
		if err == nil {
			_ = im.Close()
			t.Errorf("%s of %d bytes opens", name, n)
		}
	}
	for n := 0; n < len(whole); n++ {
		if n%layout.BlockLen > 1 && n%layout.BlockLen < layout.BlockLen-1 && n%37 != 0 || !imagetest.Sampled(n+1, len(whole)) {
			continue
		}
		fs := imagetest.NewMemFS()
		fs.WriteFile(path, data)
		fs.WriteFile(path+image.SidecarSuffix, whole[:n])
		refused(n, "a sidecar", fs)
	}
	trailing := golden(t, "trailing-v1.zimg")
	for n := 0; n < len(trailing); n++ {
		if n%layout.BlockLen > 1 && n%layout.BlockLen < layout.BlockLen-1 || n < len(trailing)-1<<17 && n%(1<<18) > 1 ||
			!imagetest.Sampled(n+1, len(trailing)) {
			continue
		}
		fs := imagetest.NewMemFS()
		fs.WriteFile(path, trailing[:n])
		refused(n, "a trailing image", fs)
	}
}

// Arbitrary changes to a sidecar: no panic, and what opens can be read or says
// why not.
func FuzzOpen(f *testing.F) {
	whole := golden(f, "sidecar-v1.zimg.zmeta")
	f.Add(uint32(0), []byte{0}, uint32(0))
	f.Add(uint32(60), []byte{255, 255, 255, 255}, uint32(4096))
	f.Add(uint32(len(whole)-4096), []byte("xx"), uint32(1))
	f.Fuzz(func(t *testing.T, off uint32, change []byte, cut uint32) {
		b := bytes.Clone(whole)
		copy(b[int(off)%len(b):], change)
		b = b[:len(b)-int(cut)%len(b)]
		fs := imagetest.NewMemFS()
		fs.WriteFile(path, make([]byte, 3<<20+1<<20))
		fs.WriteFile(path+image.SidecarSuffix, b)
		im, err := image.Open(path, image.Options{FS: fs})
		if err != nil {
			return
		}
		defer func() { _ = im.Close() }()
		_, _ = imagetest.Zones(im)
	})
}
