//go:build unix

package image_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"zimg/image"
	"zimg/image/disk"
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

// A snapshot that is as long as the data area of a pair would be taken for that while its sidecar is beside it: it
// is applied in another way, also where the pair is damaged.
func TestSnapshotAsLongAsData(t *testing.T) {
	n := layout.Namespace{ID: 1, CSI: layout.ZNS, BlockBits: 12, Blocks: 4, ZoneCount: 4, ZoneSize: 1, ZoneCap: 1, MAR: layout.NoLimit, MOR: layout.NoLimit}
	for _, cut := range []int64{0, 1} {
		fs := imagetest.NewMemFS()
		s := imagetest.Spec{Layout: layout.Sidecar, UUID: [16]byte{1}, Namespaces: []imagetest.SpecNamespace{{Namespace: n}}}
		if err := s.Create(fs, path); err != nil {
			t.Fatal(err)
		}
		o := image.ConvertOptions{FS: fs}
		if err := image.TakeSnapshot(path, "s", o); err != nil {
			t.Fatal(err)
		}
		info, err := fs.Stat(path + ".zsnap/s.zimg")
		if err != nil {
			t.Fatal(err)
		}
		length := info.Size()
		if err := image.Resize(path, image.ResizeOptions{Options: image.Options{FS: fs}, Zones: uint64(length >> n.BlockBits)}); err != nil {
			t.Fatal(err)
		}
		file, err := fs.Open(path, disk.ReadWrite, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(file.Truncate(length-cut), file.Close()); err != nil {
			t.Fatal(err)
		}
		if err := image.ApplySnapshot(path, "s", o); err != nil {
			t.Fatalf("%d bytes short: %v", cut, err)
		}
		im, err := image.Open(path, image.Options{FS: fs})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Equal(im); err != nil || im.Header().Kind != layout.Sidecar {
			t.Errorf("%d bytes short: %v, layout %v", cut, err, im.Header().Kind)
		}
		if err := im.Close(); err != nil {
			t.Error(err)
		}
	}
}
