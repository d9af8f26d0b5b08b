package image_test

import (
	"bytes"
	"errors"
	"testing"

	"zimg/image"
	"zimg/image/disk"
	"zimg/image/imagetest"
	"zimg/layout"
)

// A sidecar that somebody has in use is not replaced, also by force.
func TestSidecarInUse(t *testing.T) {
	fs := imagetest.NewMemFS()
	if err := pair(fs, layout.Trailing); err != nil {
		t.Fatal(err)
	}
	if err := image.Convert(path, "/d/busy", image.ConvertOptions{FS: fs, Layout: layout.Sidecar}); err != nil {
		t.Fatal(err)
	}
	busy, err := image.Open("/d/busy", image.Options{FS: fs, Write: true})
	if err != nil {
		t.Fatal(err)
	}
	before, err := fs.ReadFile("/d/busy.zmeta")
	if err != nil {
		t.Fatal(err)
	}
	err = image.ConvertInPlace(path, image.ConvertOptions{FS: fs, Layout: layout.Sidecar, Sidecar: "/d/busy.zmeta", Force: true})
	if !errors.Is(err, disk.ErrLocked) {
		t.Errorf("%v, want %v", err, disk.ErrLocked)
	}
	after, err := fs.ReadFile("/d/busy.zmeta")
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("it has changed (%v)", err)
	}
	if err := busy.Close(); err != nil {
		t.Error(err)
	}
}
