package image_test

import (
	"bytes"
	"encoding/json"
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
	for _, kind := range []layout.Kind{layout.Trailing, layout.Sidecar} { // sound ones
		s := imagetest.Standard(kind)
		fsys := imagetest.NewMemFS()
		if err := s.Create(fsys, "/d"); err != nil {
			t.Fatal(err)
		}
		for _, name := range fsys.Names() {
			b, err := fsys.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, kind.String()+filepath.Base(name)), b, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		paths = append(paths, filepath.Join(dir, kind.String()+"d"))
	}
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
