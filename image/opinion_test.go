package image_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"zimg/image"
	"zimg/image/imagetest"
	"zimg/layout"
)

// opinion is what scripts/zimgread.py says of a file.
type opinion struct {
	File, Verdict, Why string
	Rule               int
	Generation         uint64
	Zones              [][10]uint64
}

// ours is what package image says of the same.
func ours(path string) (o opinion, err error) {
	im, err := image.Open(path, image.Options{})
	if err != nil {
		return o, err
	}
	defer func() { _ = im.Close() }()
	o.Generation = im.Header().Generation
	for _, n := range im.Namespaces() {
		if !n.Zoned() {
			continue
		}
		i := uint64(0)
		for z, err := range n.All(0, n.ZoneCount) {
			if err != nil {
				return o, err
			}
			o.Zones = append(o.Zones, [10]uint64{
				uint64(n.ID), i, uint64(z.Type), uint64(z.State), uint64(z.Attrs), uint64(z.AttrsInfo), uint64(z.Cap), uint64(z.Start), uint64(z.WP), uint64(z.Written),
			})
			i++
		}
	}
	return o, nil
}

// A reader that was written from docs/FORMAT.md alone agrees with package image
// on every file: on whether it is refused, and on what is in it.
func TestSecondOpinion(t *testing.T) {
	t.Parallel()
	imagetest.NeedsPrograms(t, "Python")
	dir := t.TempDir()
	list, err := imagetest.Hostile()
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, f := range list {
		if ext := filepath.Ext(f.Name); ext != ".zmeta" && ext != ".zimg" {
			continue
		}
		path, err := f.Unpack(filepath.Join(dir, f.Name))
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	for name, fsys := range soundAndDamaged(t) {
		paths = append(paths, materialize(t, fsys, filepath.Join(dir, name)))
	}
	slices.Sort(paths)
	var stderr bytes.Buffer
	cmd := exec.Command("python3", append([]string{"../scripts/zimgread.py"}, paths...)...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	accepted := 0
	dec := json.NewDecoder(bytes.NewReader(out))
	for _, path := range paths {
		var theirs opinion
		if err := dec.Decode(&theirs); err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(path, dir)
		got, err := ours(path)
		switch {
		case (err == nil) != (theirs.Verdict == "accept"):
			t.Errorf("%s: package image: %v; zimgread.py: %s, rule %d: %s", name, err, theirs.Verdict, theirs.Rule, theirs.Why)
		case err != nil:
		case got.Generation != theirs.Generation || !slices.Equal(got.Zones, theirs.Zones):
			t.Errorf("%s: generation %d and zones\n%v\nzimgread.py: %d\n%v", name, got.Generation, got.Zones, theirs.Generation, theirs.Zones)
		default:
			accepted++
		}
	}
	if accepted < 20 {
		t.Errorf("only %d files of %d are accepted", accepted, len(paths))
	}
	t.Logf("%d files, %d accepted by both, the others refused by both", len(paths), accepted)
}

// soundAndDamaged are the standard images, the golden ones and those of testdata/damage; each is called disk.zimg, or as
// path is.
func soundAndDamaged(t *testing.T) map[string]*imagetest.MemFS {
	t.Helper()
	all := map[string]*imagetest.MemFS{}
	for _, kind := range []layout.Kind{layout.Trailing, layout.Sidecar} {
		s := imagetest.Standard(kind)
		fsys := imagetest.NewMemFS()
		if err := s.Create(fsys, path); err != nil {
			t.Fatal(err)
		}
		all["standard "+kind.String()] = fsys
	}
	for name, files := range goldenImages {
		all["golden "+name.String()] = imagetest.NewMemFS()
		for name2, file := range files {
			all["golden "+name.String()].WriteFile(name2, golden(t, file))
		}
	}
	cases, err := filepath.Glob("../testdata/damage/*/damage.txt")
	if err != nil || len(cases) == 0 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	for _, name := range cases {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		fsys, err := imagetest.Damaged(path, string(text))
		if err != nil {
			t.Fatal(err)
		}
		all["damage "+filepath.Base(filepath.Dir(name))] = fsys
	}
	return all
}

// materialize writes the files of fsys to the new folder dir, with holes, and returns where the image is.
func materialize(t *testing.T, fsys *imagetest.MemFS, dir string) string {
	t.Helper()
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, name := range fsys.Names() {
		b, err := fsys.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		file, err := os.Create(filepath.Join(dir, filepath.Base(name)))
		if err != nil {
			t.Fatal(err)
		}
		zero := make([]byte, 4096)
		for off := 0; off < len(b); off += len(zero) {
			part := b[off:min(off+len(zero), len(b))]
			if bytes.Equal(part, zero[:len(part)]) {
				continue
			}
			if _, err := file.WriteAt(part, int64(off)); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(file.Truncate(int64(len(b))), file.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, filepath.Base(path))
}
