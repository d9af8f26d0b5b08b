package image_test

import (
	"errors"
	"strings"
	"testing"

	"zimg/image"
	"zimg/image/disk"
	"zimg/image/imagetest"
	"zimg/layout"
)

const path = "/d/disk.zimg"

// operation is something that changes an image, or makes one.
type operation struct {
	name   string
	layout layout.Kind // of the image before; 0 for none
	run    func(fs disk.FS) error
}

// change opens the image for writing, and commits what fn does.
func change(fn func(im *image.Image) error) func(fs disk.FS) error {
	return func(fs disk.FS) (err error) {
		im, err := image.Open(path, image.Options{FS: fs, Write: true})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, im.Close()) }()
		if err := fn(im); err != nil {
			return err
		}
		return im.Commit()
	}
}

func closeZone(im *image.Image, k int, i uint64, written layout.LBA) error {
	n := im.Namespaces()[k]
	z, err := n.Zone(i)
	if err != nil {
		return err
	}
	z.State, z.WP, z.Written = layout.Closed, z.Start+written, z.Start+written
	return n.SetZone(i, z)
}

func operations() []operation {
	var ops []operation
	for _, kind := range []layout.Kind{layout.Trailing, layout.Sidecar} {
		other := layout.Trailing + layout.Sidecar - kind
		ops = append(ops,
			operation{"create " + kind.String(), 0, func(fs disk.FS) error {
				s := imagetest.Standard(kind)
				return s.Create(fs, path)
			}},
			operation{"commit zones, " + kind.String(), kind, change(func(im *image.Image) error {
				for _, c := range []struct {
					k int
					i uint64
				}{{0, 0}, {0, 9}, {1, 50}, {1, 80}} {
					if err := closeZone(im, c.k, c.i, 3); err != nil {
						return err
					}
				}
				return im.Namespaces()[0].SetExtension(8, []byte("another extension"))
			})},
			operation{"label, " + kind.String(), kind, change(func(im *image.Image) error { return im.SetLabel("other") })},
			operation{"convert in place from " + kind.String(), kind, func(fs disk.FS) error {
				return image.ConvertInPlace(path, image.ConvertOptions{FS: fs, Layout: other})
			}},
		)
	}
	return ops
}

// before makes the file system that an operation starts from, with no operation
// pending.
func (o *operation) before(t *testing.T) *imagetest.MemFS {
	t.Helper()
	fs := imagetest.NewMemFS()
	if o.layout != 0 {
		s := imagetest.Standard(o.layout)
		if err := s.Create(fs, path); err != nil {
			t.Fatal(err)
		}
	}
	return fs
}

// zones opens the image and describes it; "" if there is none.
func zones(t *testing.T, fs disk.FS) string {
	t.Helper()
	im, err := image.Open(path, image.Options{FS: fs})
	if err != nil {
		if strings.Contains(err.Error(), "not exist") || errors.Is(err, layout.ErrNotImage) {
			return ""
		}
		t.Fatalf("the image does not open: %v", err)
	}
	defer func() {
		if err := im.Close(); err != nil {
			t.Error(err)
		}
	}()
	text, err := imagetest.Zones(im)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// The power fails after every single operation on the disk: the image is as before, or as after.
func TestPowerCut(t *testing.T) {
	total := 0
	for _, op := range operations() {
		t.Run(op.name, func(t *testing.T) {
			clean := op.before(t)
			was := zones(t, clean)
			start := clean.Ops()
			if err := op.run(clean); err != nil {
				t.Fatal(err)
			}
			is := zones(t, clean)
			if strings.HasPrefix(op.name, "convert") {
				if is != was {
					t.Fatal("a conversion has changed the zones")
				}
			} else if is == was {
				t.Fatal("the operation changes nothing")
			}
			steps := clean.Ops() - start
			seen := map[bool]int{}
			for n := 1; n <= steps; n++ {
				fs := op.before(t)
				fs.CrashAt(fs.Ops() + n)
				if err := op.run(fs); !errors.Is(err, imagetest.ErrCrashed) && n < steps {
					t.Fatalf("cut at %d of %d: %v", n, steps, err)
				}
				for name, after := range fs.CrashImages(8) {
					got := zones(t, after)
					if got != was && got != is {
						t.Fatalf("cut at %d of %d (%s): neither before nor after:\n%s", n, steps, name, got)
					}
					seen[got == is]++
					total++
				}
			}
			if seen[true] == 0 || seen[false] == 0 && was != is {
				t.Errorf("before %d times, after %d times: the cuts have not met the operation", seen[false], seen[true])
			}
		})
	}
	t.Logf("%d states", total)
}
