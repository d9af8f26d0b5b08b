package dump_test

import (
	"bytes"
	"testing"

	"zimg/image"
	"zimg/image/dump"
	"zimg/image/imagetest"
	"zimg/layout"
)

// A dump of whatever text: it is refused, or its zones are those of an image.
func FuzzDump(f *testing.F) {
	s := imagetest.Standard(layout.Trailing)
	fsys := imagetest.NewMemFS()
	if err := s.Create(fsys, "/disk"); err != nil {
		f.Fatal(err)
	}
	im, err := image.Open("/disk", image.Options{FS: fsys})
	if err != nil {
		f.Fatal(err)
	}
	var text bytes.Buffer
	if err := dump.Write(&text, im); err != nil {
		f.Fatal(err)
	}
	if err := im.Close(); err != nil {
		f.Fatal(err)
	}
	f.Add(text.Bytes())
	f.Add([]byte(`{"format":"zimg-dump","version":1,"label":"x","namespaces":[]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		im, err := image.Open("/disk", image.Options{FS: fsys})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = im.Close() }()
		before, err := imagetest.Zones(im)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := dump.Read(bytes.NewReader(text), im); err == nil {
			return
		}
		if after, err := imagetest.Zones(im); err != nil || after != before {
			t.Errorf("a refused dump has changed zones: %v", err)
		}
	})
}
