//go:build unix

package image_test

import (
	"os"
	"path/filepath"
	"testing"

	"zimg/image"
	"zimg/image/imagetest"
	"zimg/layout"
)

// An image that only its owner may read has snapshots that only its owner may, and stays so when it
// is replaced, converted or resized.
func TestPermissions(t *testing.T) {
	name := filepath.Join(t.TempDir(), "disk.zimg")
	s := imagetest.Standard(layout.Trailing)
	s.Namespaces = s.Namespaces[:2]
	if err := s.Create(nil, name); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, 0o600); err != nil {
		t.Fatal(err)
	}
	want := func(step, file string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", step, err)
		}
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got&0o077 != 0 {
			t.Errorf("%s: %s has mode %v", step, file, got)
		}
	}
	o := image.ConvertOptions{}
	want("take", name+".zsnap/a.zimg", image.TakeSnapshot(name, "a", o))
	want("apply", name, image.ApplySnapshot(name, "a", o))
	o.Layout = layout.Sidecar
	want("convert in place", name+image.SidecarSuffix, image.ConvertInPlace(name, o))
	want("apply to a pair", name+image.SidecarSuffix, image.ApplySnapshot(name, "a", image.ConvertOptions{}))
	want("apply to a pair", name, nil)
	want("resize", name+image.SidecarSuffix, image.Resize(name, image.ResizeOptions{Namespace: 2, Zones: 120}))
	want("convert", name+".copy", image.Convert(name, name+".copy", image.ConvertOptions{Layout: layout.Trailing}))
}
