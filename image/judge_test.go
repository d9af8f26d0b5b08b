package image_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"zimg/image"
	"zimg/image/disk"
	"zimg/image/dump"
	"zimg/image/imagetest"
	"zimg/layout"
)

// Commands that change zones, or copy data by them, refuse zones outside the rules
// before anything changes.
func TestUnsoundZones(t *testing.T) {
	t.Parallel()
	const other = "/d/other.zimg"
	open := func(run func(n *image.Namespace) error) func(fs disk.FS) error {
		return func(fs disk.FS) (err error) {
			im, err := image.Open(path, image.Options{FS: fs, Write: true})
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, im.Close()) }()
			return run(im.Namespaces()[1])
		}
	}
	commands := map[string]func(fs disk.FS) error{
		"write": open(func(n *image.Namespace) error {
			return n.Write(bytes.NewReader(make([]byte, 4096)), 50*16+1, image.WriteOptions{})
		}),
		"append": open(func(n *image.Namespace) error {
			_, err := n.Append(bytes.NewReader(make([]byte, 4096)), 50, image.WriteOptions{})
			return err
		}),
		"reset": open(func(n *image.Namespace) error {
			_, err := n.ChangeZones(image.ZoneChange{Action: image.ResetZones, Zones: []image.ZoneRange{{First: 50, Last: 50}}})
			return err
		}),
		"reset all": open(func(n *image.Namespace) error {
			_, err := n.ChangeZones(image.ZoneChange{Action: image.ResetZones, Zones: []image.ZoneRange{{Last: 99}}, All: true})
			return err
		}),
		"restore": open(func(n *image.Namespace) error {
			_, err := dump.Read(strings.NewReader("{}"), n.Image())
			return err
		}),
		"resize": func(fs disk.FS) error {
			return image.Resize(path, image.ResizeOptions{Options: image.Options{FS: fs}, Namespace: 2, Zones: 120})
		},
		"convert": func(fs disk.FS) error { return image.Convert(path, other, image.ConvertOptions{FS: fs}) },
		"convert in place": func(fs disk.FS) error {
			return image.ConvertInPlace(path, image.ConvertOptions{FS: fs, Layout: layout.Sidecar})
		},
	}
	for what, damage := range map[string]func(z *layout.Zone){
		"capacity beyond the zone":    func(z *layout.Zone) { z.Cap = 20 },
		"no capacity":                 func(z *layout.Zone) { z.Cap = 0 },
		"another start":               func(z *layout.Zone) { z.Start = 3 },
		"reserved type":               func(z *layout.Zone) { z.Type = 7 },
		"reserved type bits":          func(z *layout.Zone) { z.Type = 0x12 },
		"reserved attribute":          func(z *layout.Zone) { z.Attrs = 0x10 },
		"reserved attribute info":     func(z *layout.Zone) { z.AttrsInfo = 0xF0 },
		"written beyond the capacity": func(z *layout.Zone) { z.Written = 1 << 40 },
		"write pointer beyond":        func(z *layout.Zone) { z.WP = 1 << 40 },
	} {
		for name, run := range commands {
			t.Run(name+", "+what, func(t *testing.T) {
				t.Parallel()
				fs := imagetest.NewMemFS()
				s := imagetest.Standard(layout.Trailing)
				s.Namespaces = s.Namespaces[:2] // only the last one can be resized
				if err := s.Create(fs, path); err != nil {
					t.Fatal(err)
				}
				if err := change(func(im *image.Image) error {
					n := im.Namespaces()[1]
					z, err := n.Zone(50)
					if err != nil {
						return err
					}
					z.State, z.WP, z.Written = layout.Closed, z.Start+1, z.Start+1
					damage(&z)
					return n.SetZone(50, z)
				})(fs); err != nil {
					t.Fatal(err)
				}
				before, err := fs.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if err := run(fs); !errors.Is(err, layout.ErrDamaged) || !strings.Contains(err.Error(), "namespace 2 zone 50: ") {
					t.Errorf("%v", err)
				}
				after, err := fs.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(before, after) {
					t.Error("refused, and yet the image has changed")
				}
				if names := fs.Names(); len(names) != 1 {
					t.Errorf("files are left: %q", names)
				}
			})
		}
	}
}

// An image whose generation is nearly at its end is not changed any more, and one that
// can just be changed completes the change.
func TestLastGenerations(t *testing.T) {
	t.Parallel()
	for left, want := range map[uint64]error{3: image.ErrWornOut, 0: image.ErrWornOut, 4: nil} {
		fs := imagetest.NewMemFS()
		s := imagetest.Standard(layout.Trailing)
		if err := s.Create(fs, path); err != nil {
			t.Fatal(err)
		}
		setGeneration(t, fs, layout.MaxGeneration-left)
		before, err := fs.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		im, err := image.Open(path, image.Options{FS: fs, Write: true})
		if err != nil {
			t.Fatal(err)
		}
		n := im.Namespaces()[1]
		err = n.Write(bytes.NewReader(make([]byte, 4096)), 16, image.WriteOptions{})
		if !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%d generations left: write: %v", left, err)
		}
		if want != nil {
			if _, err := n.ChangeZones(image.ZoneChange{Action: image.FinishZones, Zones: []image.ZoneRange{{First: 3, Last: 3}}}); !errors.Is(err, want) {
				t.Errorf("%d generations left: finish: %v", left, err)
			}
			if err := im.BeginSession(layout.Session{}); !errors.Is(err, want) {
				t.Errorf("%d generations left: session: %v", left, err)
			}
		}
		if err := im.Close(); err != nil {
			t.Fatal(err)
		}
		after, err := fs.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(before, after) != (want != nil) {
			t.Errorf("%d generations left: changed %v", left, want == nil)
		}
		again, err := image.Open(path, image.Options{FS: fs, Write: true})
		if err != nil {
			t.Fatalf("%d generations left: the image does not open: %v", left, err)
		}
		if z, err := again.Namespaces()[1].Zone(1); err != nil || (z.Written == z.Start+1) != (want == nil) {
			t.Errorf("%d generations left: %+v, %v", left, z, err)
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// setGeneration gives the newer slot of the image generation g, and the other one less.
func setGeneration(t *testing.T, fs *imagetest.MemFS, g uint64) {
	t.Helper()
	im, err := image.Open(path, image.Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	off, length := int64(im.Header().MetaOff), int64(im.Header().SlotLen)
	if err := im.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := fs.Open(path, disk.ReadWrite, 0)
	if err != nil {
		t.Fatal(err)
	}
	var headers [2]*layout.Header
	for i := range headers {
		if headers[i], err = image.ReadHeader(file, off+int64(i)*length); err != nil {
			t.Fatal(err)
		}
	}
	newer := 0
	if headers[1].Generation > headers[0].Generation {
		newer = 1
	}
	headers[newer].Generation, headers[1-newer].Generation = g, g-1
	for i, h := range headers {
		if _, err := file.WriteAt(h.Encode(), off+int64(i)*length); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		t.Fatal(err)
	}
}

// Nothing makes a copy of, or changes as a whole, an image with more active or open zones than its limits allow, or with
// counts that are not those of its zones: no drive could take it.
func TestZonesBeyondLimits(t *testing.T) {
	t.Parallel()
	for what, state := range map[string]layout.ZoneState{"active": layout.Closed, "open": layout.ExplicitlyOpened} {
		fs := imagetest.NewMemFS()
		s := imagetest.Standard(layout.Trailing)
		s.Namespaces = s.Namespaces[1:2]
		s.Namespaces[0].ID, s.Namespaces[0].MAR, s.Namespaces[0].MOR, s.Namespaces[0].Zones = 1, 2, 1, nil
		if err := s.Create(fs, path); err != nil {
			t.Fatal(err)
		}
		most := uint64(3)
		if state.Open() {
			most = 2
		}
		for k := range most + 1 {
			if err := change(func(im *image.Image) error {
				n := im.Namespaces()[0]
				z := n.EmptyZone(20 + k)
				z.State, z.WP, z.Written = state, z.Start+1, z.Start+1
				return n.SetZone(20+k, z)
			})(fs); err != nil {
				t.Fatal(err)
			}
			err := image.Convert(path, "/d/other.zimg", image.ConvertOptions{FS: fs, Force: true})
			if k < most && err != nil {
				t.Errorf("%d %s zones: %v", k+1, what, err)
			}
			if k == most && (!errors.Is(err, layout.ErrDamaged) || !strings.Contains(err.Error(), what+" zones; its limit is")) {
				t.Errorf("%d %s zones: %v", k+1, what, err)
			}
		}
	}
}
