package image_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
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
	before func(fs disk.FS, kind layout.Kind) error // makes the image; nil for the standard one
	result string                                   // the image that is changed, if it is not the one at path
}

// pair is an image of two small namespaces; the second can be resized.
func pair(fs disk.FS, kind layout.Kind) error {
	n := layout.Namespace{CSI: layout.ZNS, BlockBits: 9, Blocks: 6 * 32, ZoneCount: 6, ZoneSize: 32, ZoneCap: 32, MAR: layout.NoLimit, MOR: layout.NoLimit, ZDES: 1}
	a, b := n, n
	a.ID, b.ID = 1, 2
	s := imagetest.Spec{Layout: kind, Label: "pair", UUID: [16]byte{1, 2}, Namespaces: []imagetest.SpecNamespace{
		{Namespace: a, Zones: map[uint64]imagetest.SpecZone{5: {State: layout.Full, Written: 32, Fill: 'a'}}},
		{Namespace: b, Zones: map[uint64]imagetest.SpecZone{
			0: {State: layout.Closed, Written: 3, Fill: 'b', Attrs: layout.ZDEV, Ext: "extension"},
			2: {State: layout.Full, Written: 32, Fill: 'c'},
		}},
	}}
	return s.Create(fs, path)
}

// snapped is a pair with a snapshot, changed since.
func snapped(fs disk.FS, kind layout.Kind) error {
	if err := pair(fs, kind); err != nil {
		return err
	}
	if err := image.TakeSnapshot(path, "s", image.ConvertOptions{FS: fs}); err != nil {
		return err
	}
	if err := image.Resize(path, image.ResizeOptions{Options: image.Options{FS: fs}, Namespace: 2, Zones: 9}); err != nil {
		return err
	}
	return change(func(im *image.Image) error {
		if _, err := im.Namespaces()[1].WriteAt(make([]byte, 512), 0); err != nil {
			return err
		}
		return errors.Join(closeZone(im, 1, 4, 0), im.SyncData())
	})(fs)
}

// renew makes an image that is no smaller than a pair, so that the metadata of a pair would fit it.
func renew(fs disk.FS, name string, kind layout.Kind) error {
	n := layout.Namespace{ID: 1, CSI: layout.ZNS, BlockBits: 9, Blocks: 80 * 32, ZoneCount: 80, ZoneSize: 32, ZoneCap: 32, MAR: layout.NoLimit, MOR: layout.NoLimit}
	zones := &layout.ZoneSlice{}
	for i := range n.ZoneCount {
		zones.Table = append(zones.Table, n.EmptyZone(i))
	}
	z := &zones.Table[1]
	z.State, z.WP, z.Written = layout.Closed, z.Start+1, z.Start+1
	return image.Create(name, image.CreateOptions{
		FS: fs, Layout: kind, UUID: [16]byte{3}, Force: true,
		Namespaces: []image.NamespaceSpec{{Namespace: n}}, Zones: []layout.Zones{zones},
		Fill: func(data []disk.File, _ *layout.Plan) error {
			_, err := data[0].WriteAt(bytes.Repeat([]byte{'d'}, 512), 32*512)
			return err
		},
	})
}

func resize(zones uint64) func(fs disk.FS) error {
	return func(fs disk.FS) error {
		return image.Resize(path, image.ResizeOptions{Options: image.Options{FS: fs}, Namespace: 2, Zones: zones, Shrink: true})
	}
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
			operation{name: "create " + kind.String(), run: func(fs disk.FS) error {
				s := imagetest.Standard(kind)
				return s.Create(fs, path)
			}},
			operation{name: "commit zones, " + kind.String(), layout: kind, run: change(func(im *image.Image) error {
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
			operation{name: "label, " + kind.String(), layout: kind, run: change(func(im *image.Image) error { return im.SetLabel("other") })},
			operation{name: "convert in place from " + kind.String(), layout: kind, run: func(fs disk.FS) error {
				return image.ConvertInPlace(path, image.ConvertOptions{FS: fs, Layout: other})
			}},
			operation{name: "grow, " + kind.String(), layout: kind, before: pair, run: resize(70)},
			operation{name: "shrink, " + kind.String(), layout: kind, before: pair, run: resize(3)},
			operation{name: "take a snapshot, " + kind.String(), layout: kind, before: pair, result: path + ".zsnap/s.zimg", run: func(fs disk.FS) error {
				return image.TakeSnapshot(path, "s", image.ConvertOptions{FS: fs})
			}},
			operation{name: "apply a snapshot, " + kind.String(), layout: kind, before: snapped, run: func(fs disk.FS) error {
				return image.ApplySnapshot(path, "s", image.ConvertOptions{FS: fs})
			}},
			operation{name: "create over another, " + kind.String(), layout: kind, before: pair, run: func(fs disk.FS) error {
				return renew(fs, path, kind)
			}},
			operation{name: "replace by a conversion, " + kind.String(), layout: kind, before: func(fs disk.FS, kind layout.Kind) error {
				return errors.Join(pair(fs, kind), renew(fs, "/d/source", kind))
			}, run: func(fs disk.FS) error {
				return image.Convert("/d/source", path, image.ConvertOptions{FS: fs, Layout: kind, Force: true})
			}},
		)
	}
	return ops
}

// zonesOnly is what zones returns, without the layout.
func zonesOnly(text string) string {
	_, zones, _ := strings.Cut(text, " ")
	return zones
}

// start makes the file system that an operation starts from, with no operation
// pending.
func (o *operation) start(t *testing.T) *imagetest.MemFS {
	t.Helper()
	fs := imagetest.NewMemFS()
	if o.layout == 0 {
		return fs
	}
	s := imagetest.Standard(o.layout)
	create := s.Create
	if o.before != nil {
		create = func(fs disk.FS, _ string) error { return o.before(fs, o.layout) }
	}
	if err := create(fs, path); err != nil {
		t.Fatal(err)
	}
	return fs
}

// zones opens the image that the operation changes and describes it, small data with it; "" if there
// is none.
func (o *operation) zones(t *testing.T, fs disk.FS) string {
	t.Helper()
	name := path
	if o.result != "" {
		name = o.result
	}
	im, err := image.Open(name, image.Options{FS: fs})
	if err != nil {
		if strings.Contains(err.Error(), "not exist") || errors.Is(err, layout.ErrNotImage) {
			return ""
		}
		t.Fatalf("the image does not open: %v", err)
	}
	if im.Header().Compat&layout.Moving != 0 { // a reader can live with that, and the next writer goes on
		before, err := imagetest.Zones(im)
		if err := errors.Join(err, im.Close()); err != nil {
			t.Fatal(err)
		}
		if im, err = image.Open(name, image.Options{FS: fs, Write: true}); err != nil {
			t.Fatalf("the image does not open for writing: %v", err)
		}
		if after, err := imagetest.Zones(im); err != nil || after != before {
			t.Fatalf("moving the metadata back changes the zones: %v", err)
		}
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
	text = im.Header().Kind.String() + " " + text
	for _, n := range im.Namespaces() {
		if size := int64(n.Size()); o.before != nil {
			sum := sha256.New()
			if _, err := io.Copy(sum, io.NewSectionReader(n, 0, size)); err != nil {
				t.Fatal(err)
			}
			text += fmt.Sprintf("%d %x\n", n.ID, sum.Sum(nil))
		}
	}
	return text
}

// The power fails after every single operation on the disk: the image is as before, or as after.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	var total atomic.Int64
	t.Cleanup(func() { t.Logf("%d states", total.Load()) })
	for _, op := range operations() {
		t.Run(op.name, func(t *testing.T) {
			t.Parallel()
			clean := op.start(t)
			was := op.zones(t, clean)
			start := clean.Ops()
			if err := op.run(clean); err != nil {
				t.Fatal(err)
			}
			is := op.zones(t, clean)
			if strings.HasPrefix(op.name, "convert") {
				if zonesOnly(is) != zonesOnly(was) {
					t.Fatal("a conversion has changed the zones")
				}
			} else if is == was {
				t.Fatal("the operation changes nothing")
			}
			steps := clean.Ops() - start
			seen := map[bool]int{}
			for n := 1; n <= steps; n++ {
				if !imagetest.Sampled(n, steps) {
					continue
				}
				fs := op.start(t)
				fs.CrashAt(fs.Ops() + n)
				if err := op.run(fs); !errors.Is(err, imagetest.ErrCrashed) && n < steps {
					t.Fatalf("cut at %d of %d: %v", n, steps, err)
				}
				for name, after := range fs.CrashImages(8) {
					got := op.zones(t, after)
					if got != was && got != is {
						t.Fatalf("cut at %d of %d (%s): neither before nor after:\n%s", n, steps, name, got)
					}
					seen[got == is]++
					total.Add(1)
				}
			}
			if seen[true] == 0 || seen[false] == 0 && was != is {
				t.Errorf("before %d times, after %d times: the cuts have not met the operation", seen[false], seen[true])
			}
		})
	}
}
