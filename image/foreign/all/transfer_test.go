package all_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"zimg/image"
	"zimg/image/compare"
	"zimg/image/disk"
	"zimg/image/foreign"
	"zimg/image/foreign/all"
	"zimg/image/imagetest"
	"zimg/image/transfer"
	"zimg/layout"
)

// small is an image that every format can hold, once its Full zone is written to the end.
func small(t *testing.T, fsys disk.FS, path string) *layout.Namespace {
	t.Helper()
	n := layout.Namespace{
		ID: 1, CSI: layout.ZNS, BlockBits: 12, ZoneSize: 256, ZoneCap: 256, ZoneCount: 3, Blocks: 3 * 256, MAR: layout.NoLimit, MOR: layout.NoLimit,
	}
	z := &layout.ZoneSlice{Table: []layout.Zone{
		imagetest.Sequential(&n, 0, layout.Full, 256), imagetest.Sequential(&n, 1, layout.Closed, 256+2), n.EmptyZone(2),
	}}
	err := image.Create(path, image.CreateOptions{
		FS: fsys, Namespaces: []image.NamespaceSpec{{Namespace: n}}, Zones: []layout.Zones{z},
		Fill: func(data []disk.File, _ *layout.Plan) error {
			for _, b := range []int64{0, 255, 256, 257} {
				if _, err := data[0].WriteAt(bytes.Repeat([]byte{byte(b + 1)}, 4096), b*4096); err != nil {
					return err
				}
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &n
}

// contents are the files of fsys.
func contents(t *testing.T, fsys *imagetest.MemFS) map[string][]byte {
	t.Helper()
	m := map[string][]byte{}
	for _, name := range fsys.Names() {
		b, err := fsys.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		m[name] = b
	}
	return m
}

// Whichever call fails, on the way out or on the way back: the error is returned, the source is as
// it was, and what is there is the whole result or nothing.
func TestTransferFails(t *testing.T) {
	t.Parallel()
	for _, f := range all.Formats {
		if f.Encode == nil || f.Shape == foreign.Device {
			continue
		}
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			for _, back := range []bool{false, true} {
				for n := 1; ; n++ {
					if !imagetest.Sampled(n, 1) {
						continue
					}
					mem := imagetest.NewMemFS()
					ns := small(t, mem, "/a")
					src, dst := "/a", "/out/0"
					o := transfer.Options{FS: mem, To: f, Geometry: ns, Lossy: f.Holds.NoZones}
					if back {
						if err := transfer.Copy(src, dst, o); err != nil {
							t.Fatal(err)
						}
						src, dst, o.From, o.To = dst, "/b", f, nil
					}
					before := contents(t, mem)
					faults := imagetest.NewFaultFS(mem)
					faults.FailAt(n, errors.New("made to fail"))
					o.FS = faults
					err := transfer.Copy(src, dst, o)
					hit := faults.Hit()
					after := contents(t, mem)
					for name, b := range before {
						if !bytes.Equal(after[name], b) {
							t.Fatalf("%s fails: %s has changed", hit, name)
						}
						delete(after, name)
					}
					if hit == "" {
						if err != nil {
							t.Fatal(err)
						}
						break
					}
					if err == nil && len(after) == 0 {
						t.Fatalf("%s fails: neither an error nor a result", hit)
					}
					for name := range after {
						if strings.HasSuffix(name, ".tmp") && !strings.HasPrefix(hit, "remove") {
							t.Fatalf("%s fails: %s is left", hit, name)
						}
					}
				}
			}
		})
	}
}

// The power fails while a pair takes the place of another by force: it is the old one, the new one, or
// has no second file; never does one speak of the other's data.
func TestTransferOverCut(t *testing.T) {
	t.Parallel()
	for _, f := range all.Formats {
		if f.Encode == nil || f.Shape != foreign.TwoFiles {
			continue
		}
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			start := func() (*imagetest.MemFS, func() error) {
				mem := imagetest.NewMemFS()
				ns := small(t, mem, "/a")
				empty := image.CreateOptions{FS: mem, Namespaces: []image.NamespaceSpec{{Namespace: *ns}}}
				if err := image.Create("/e", empty); err != nil {
					t.Fatal(err)
				}
				o := transfer.Options{FS: mem, To: f, Force: true}
				if err := transfer.Copy("/e", "/d", o); err != nil {
					t.Fatal(err)
				}
				return mem, func() error { return transfer.Copy("/a", "/d", o) }
			}
			mem, run := start()
			was, first := contents(t, mem), mem.Ops()
			if err := run(); err != nil {
				t.Fatal(err)
			}
			is, steps := contents(t, mem), mem.Ops()-first
			second := "/d" + f.Suffix
			gone := 0
			for n := 1; n <= steps; n++ {
				if !imagetest.Sampled(n, steps) {
					continue
				}
				mem, run := start()
				mem.CrashAt(mem.Ops() + n)
				if err := run(); err == nil && n < steps {
					t.Fatalf("cut at %d of %d: nobody noticed", n, steps)
				}
				for name, after := range mem.CrashImages(8) {
					got := contents(t, after)
					same := func(other map[string][]byte) bool {
						return bytes.Equal(got["/d"], other["/d"]) && bytes.Equal(got[second], other[second])
					}
					if got[second] == nil {
						gone++
					} else if !same(was) && !same(is) {
						t.Fatalf("cut at %d of %d (%s): the one's data, and the other's zones", n, steps, name)
					}
				}
			}
			if gone == 0 && !testing.Short() {
				t.Error("the cuts have not met the change")
			}
		})
	}
}

// Nothing that exists is overwritten, a source never, and what cannot be held is named.
func TestTransferRefuses(t *testing.T) {
	mem := imagetest.NewMemFS()
	n := small(t, mem, "/a")
	qcow, err := foreign.Find(all.Formats, "qcow2")
	if err != nil {
		t.Fatal(err)
	}
	mem.WriteFile("/there", []byte("there"))
	for _, c := range []struct {
		dst  string
		o    transfer.Options
		want error
	}{
		{"/there", transfer.Options{To: qcow}, image.ErrExists},
		{"/q", transfer.Options{To: qcow, NS: 2}, layout.ErrRange},
		{"/raw", transfer.Options{To: formatOf("raw")}, transfer.ErrLossy},
		{"/q", transfer.Options{To: formatOf("libzbc-fake")}, foreign.ErrUnsupported},
	} {
		c.o.FS = mem
		if err := transfer.Copy("/a", c.dst, c.o); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.dst, err, c.want)
		}
	}
	if err := transfer.Copy("/a", "/a", transfer.Options{FS: mem, To: qcow, Force: true}); err == nil {
		t.Error("the source was overwritten")
	}
	if err := transfer.Copy("/a", "/there", transfer.Options{FS: mem, To: qcow, Force: true}); err != nil {
		t.Error(err)
	}
	// Between two foreign formats, at once.
	if err := transfer.Copy("/there", "/z", transfer.Options{FS: mem, From: qcow, To: formatOf("zone-file"), Geometry: n}); err != nil {
		t.Error(err)
	}
	if err := transfer.Copy("/z", "/b", transfer.Options{FS: mem, From: formatOf("zone-file")}); err != nil {
		t.Error(err)
	}
	a, err := image.Open("/a", image.Options{FS: mem})
	if err != nil {
		t.Fatal(err)
	}
	b, err := image.Open("/b", image.Options{FS: mem})
	if err != nil {
		t.Fatal(err)
	}
	if err := compare.Sides(compare.SideOf(a), compare.SideOf(b), compare.Options{Report: func(d compare.Difference) bool { t.Errorf("%+v", d); return true }}); err != nil {
		t.Fatal(err)
	}
}

// A foreignPair is a file with its data in place, and a second file or sidecar, to be turned into the other in place.
func foreignPair(t *testing.T, f *foreign.Format, release bool) (mem *imagetest.MemFS, o transfer.Options) {
	t.Helper()
	mem = imagetest.NewMemFS()
	ns := small(t, mem, "/a")
	if err := transfer.Copy("/a", "/d", transfer.Options{FS: mem, To: f}); err != nil {
		t.Fatal(err)
	}
	o = transfer.Options{FS: mem, From: f, Geometry: ns}
	if release {
		if err := transfer.InPlace("/d", o); err != nil {
			t.Fatal(err)
		}
		if err := mem.Remove("/d.zones"); err != nil {
			t.Fatal(err)
		}
		if err := mem.SyncDir("/d"); err != nil {
			t.Fatal(err)
		}
		o.From, o.To = nil, f
	}
	return mem, o
}

// checkInPlace wants the data below write pointers and the foreign file to be as they were, and our sidecar to be whole or
// not there; and the other way round, one of the two to describe the data in full.
func checkInPlace(t *testing.T, what string, mem *imagetest.MemFS, f *foreign.Format, release bool, before map[string][]byte) (ours bool) {
	t.Helper()
	after := contents(t, mem)
	if !bytes.Equal(after["/d"], before["/d"]) {
		t.Fatalf("%s: the data has changed", what)
	}
	ours, theirs := after["/d.zmeta"] != nil, after["/d.zones"] != nil
	if !release && (!theirs || !bytes.Equal(after["/d.zones"], before["/d.zones"])) || !ours && !theirs {
		t.Fatalf("%s: %v, %v", what, ours, theirs)
	}
	if ours {
		im, err := image.Open("/d", image.Options{FS: mem})
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		_ = im.Close()
	}
	if theirs {
		d, closer, err := transfer.Open("/d", f, transfer.Options{FS: mem}, false)
		if err != nil || d.Contents[0].CheckSound("/d") != nil {
			t.Fatalf("%s: %v", what, err)
		}
		_ = closer()
	}
	return ours
}

// In place, whichever call fails.
func TestTransferInPlaceFails(t *testing.T) {
	t.Parallel()
	f := formatOf("zone-file")
	for _, release := range []bool{false, true} {
		for n := 1; ; n++ {
			if !imagetest.Sampled(n, 1) {
				continue
			}
			mem, o := foreignPair(t, f, release)
			before := contents(t, mem)
			faults := imagetest.NewFaultFS(mem)
			faults.FailAt(n, errors.New("made to fail"))
			o.FS = faults
			err := transfer.InPlace("/d", o)
			hit := faults.Hit()
			ours := checkInPlace(t, hit+" fails", mem, f, release, before)
			if hit == "" {
				if err != nil || ours == release {
					t.Fatalf("%v; ours %v", err, ours)
				}
				break
			}
		}
	}
}

// In place, whenever the power fails.
func TestTransferInPlaceCut(t *testing.T) {
	t.Parallel()
	f := formatOf("zone-file")
	states := 0
	for _, release := range []bool{false, true} {
		clean, o := foreignPair(t, f, release)
		before, first := contents(t, clean), clean.Ops()
		if err := transfer.InPlace("/d", o); err != nil {
			t.Fatal(err)
		}
		steps := clean.Ops() - first
		seen := map[bool]int{}
		for n := 1; n <= steps; n++ {
			if !imagetest.Sampled(n, steps) {
				continue
			}
			mem, o := foreignPair(t, f, release)
			mem.CrashAt(mem.Ops() + n)
			if err := transfer.InPlace("/d", o); !errors.Is(err, imagetest.ErrCrashed) && n < steps {
				t.Fatalf("cut at %d of %d: %v", n, steps, err)
			}
			for name, after := range mem.CrashImages(8) {
				seen[checkInPlace(t, fmt.Sprintf("cut at %d of %d (%s)", n, steps, name), after, f, release, before)]++
				states++
			}
		}
		if seen[true] == 0 || seen[false] == 0 {
			t.Errorf("ours is there %d times, and not %d times: the cuts have not met the change", seen[true], seen[false])
		}
	}
	t.Logf("%d states", states)
}
