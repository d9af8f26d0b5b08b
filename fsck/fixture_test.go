package fsck_test

import (
	"bytes"
	"maps"
	"slices"
	"testing"

	"zimg/fsck"
	"zimg/image"
	"zimg/image/imagetest"
	"zimg/layout"
)

const path = "/d/disk.zimg"

// standard is a file system with imagetest.Standard in it; open zones are
// closed, since a crash repair closes them.
func standard(t testing.TB, kind layout.Kind) (*imagetest.MemFS, *imagetest.Spec) {
	t.Helper()
	s := imagetest.Rested(kind)
	fs := imagetest.NewMemFS()
	if err := s.Create(fs, path); err != nil {
		t.Fatal(err)
	}
	return fs, &s
}

// metaName is the file that holds the metadata area.
func metaName(kind layout.Kind) string {
	if kind == layout.Sidecar {
		return path + image.SidecarSuffix
	}
	return path
}

// files are the contents of all files.
func files(t testing.TB, fs *imagetest.MemFS) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for _, name := range fs.Names() {
		b, err := fs.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = b
	}
	return all
}

// diskOf is a file system with the files given.
func diskOf(all map[string][]byte) *imagetest.MemFS {
	fs := imagetest.NewMemFS()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fs.WriteFile(name, bytes.Clone(all[name]))
	}
	return fs
}

// same reports whether two sets of files are equal.
func same(a, b map[string][]byte) bool { return maps.EqualFunc(a, b, bytes.Equal) }

// verdict is what a check found, by code, and whether the image could be read.
func verdict(t testing.TB, fs *imagetest.MemFS, o fsck.Options) (*fsck.Report, map[fsck.Code]int, error) {
	t.Helper()
	codes := map[fsck.Code]int{}
	o.FS = fs
	o.Found = func(f fsck.Finding) {
		codes[f.Code]++
		_ = f.String()
	}
	work := fsck.Check
	if o.Mode != fsck.CheckOnly {
		work = fsck.Repair
	}
	r, err := work(path, o)
	return r, codes, err
}

// sound fails unless the image checks clean and has the zones of s.
func sound(t testing.TB, fs *imagetest.MemFS, s *imagetest.Spec) {
	t.Helper()
	r, codes, err := verdict(t, fs, fsck.Options{})
	if err != nil || r.ExitCode() != 0 {
		t.Fatalf("not sound: %v, %v", codes, err)
	}
	if s == nil {
		return
	}
	im, err := image.Open(path, image.Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = im.Close() }()
	if err := s.Equal(im); err != nil {
		t.Fatal(err)
	}
}
