package image_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"zimg/image"
	"zimg/image/disk"
	"zimg/layout"
)

// pairSpec makes an image of two data files in dir, called by its sidecar.
func pairSpec(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "m.zimg")
	n := layout.Namespace{CSI: layout.NVM, BlockBits: 12, Blocks: 256}
	err := image.Create(path, image.CreateOptions{Layout: layout.Sidecar, Namespaces: []image.NamespaceSpec{
		{Namespace: n, File: filepath.Join(dir, "a")}, {Namespace: n, File: filepath.Join(dir, "b")},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// A data file that the user did not name is a regular file beside its sidecar.
func TestDataFileIsBesideSidecar(t *testing.T) {
	t.Parallel()
	for name, replace := range map[string]func(path, elsewhere string) error{
		"a link to another folder": func(path, elsewhere string) error { return os.Symlink(elsewhere, path) },
		"a folder":                 func(path, _ string) error { return os.Mkdir(path, 0o777) },
		"a link to a device":       func(path, _ string) error { return os.Symlink(os.DevNull, path) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := pairSpec(t, dir)
			elsewhere := filepath.Join(t.TempDir(), "victim")
			if err := os.Rename(filepath.Join(dir, "b"), elsewhere); err != nil {
				t.Fatal(err)
			}
			if err := replace(filepath.Join(dir, "b"), elsewhere); err != nil {
				t.Fatal(err)
			}
			{
				open := path
				im, err := image.Open(open, image.Options{})
				if err == nil {
					_ = im.Close()
				}
				if !errors.Is(err, disk.ErrNotOwn) {
					t.Errorf("open %s: %v", open, err)
				}
			}
		})
	}
}

// create refuses what no reader would find again.
func TestCreateDataFilesElsewhere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n := layout.Namespace{CSI: layout.NVM, BlockBits: 12, Blocks: 256}
	for name, files := range map[string][2]string{
		"another folder":      {filepath.Join(dir, "other", "a"), filepath.Join(dir, "b")},
		"a control character": {filepath.Join(dir, "a\nb"), filepath.Join(dir, "b")},
		"not UTF-8":           {filepath.Join(dir, "a\xff"), filepath.Join(dir, "b")},
		"a backslash":         {filepath.Join(dir, `a\b`), filepath.Join(dir, "b")},
	} {
		err := image.Create(filepath.Join(dir, "m.zimg"), image.CreateOptions{Layout: layout.Sidecar, Namespaces: []image.NamespaceSpec{
			{Namespace: n, File: files[0]}, {Namespace: n, File: files[1]},
		}})
		var bad *layout.NameError
		if !errors.Is(err, layout.ErrGeometry) && !errors.As(err, &bad) {
			t.Errorf("%s: %v", name, err)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("files are left: %v, %v", left, err)
	}
	// With one data file the name is only a hint, and any name will do.
	odd := filepath.Join(dir, "odd\x01name\xff.zimg")
	if err := image.Create(odd, image.CreateOptions{Layout: layout.Sidecar, Namespaces: []image.NamespaceSpec{{Namespace: n}}}); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{odd, odd + image.SidecarSuffix} {
		im, err := image.Open(p, image.Options{})
		if err != nil {
			t.Fatalf("%s: %v", strings.ToValidUTF8(p, "?"), err)
		}
		if err := im.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
