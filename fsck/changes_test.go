package fsck_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"zimg/fsck"
	"zimg/image"
	"zimg/image/disk"
	"zimg/image/dump"
	"zimg/image/imagetest"
	"zimg/layout"
)

// A change is a command that changes zones or data.
type change struct {
	name string
	run  func(im *image.Image) error
}

// changes are all such commands, on an image of changeSpec.
func changes(t *testing.T) []change {
	zones := func(c image.ZoneChange) func(im *image.Image) error {
		return func(im *image.Image) error { _, err := im.Namespaces()[0].ChangeZones(c); return err }
	}
	data := bytes.Repeat([]byte("data"), 40*512/4)
	return []change{
		{"write into two zones", func(im *image.Image) error {
			return im.Namespaces()[0].Write(bytes.NewReader(data), 3*32+5, image.WriteOptions{})
		}},
		{"write with protection information", func(im *image.Image) error {
			return im.Namespaces()[1].Write(bytes.NewReader(data[:512*7]), 0, image.WriteOptions{})
		}},
		{"append", func(im *image.Image) error {
			list, err := im.Namespaces()[0].Append(bytes.NewReader(data[:1000]), 3, image.WriteOptions{Pad: true})
			if err == nil && (len(list) != 1 || list[0] != image.Extent{LBA: 3*32 + 5, Blocks: 2}) {
				t.Errorf("appended to %+v", list)
			}
			return err
		}},
		{"append in several commands", func(im *image.Image) error {
			list, err := im.Namespaces()[2].Append(bytes.NewReader(make([]byte, image.AppendLimit+1024)), 1, image.WriteOptions{})
			if err == nil && (len(list) != 2 || list[1] != image.Extent{LBA: 2048 + 1024, Blocks: 2}) {
				t.Errorf("appended to %+v", list)
			}
			return err
		}},
		{"reset", zones(image.ZoneChange{Action: image.ResetZones, Zones: []image.ZoneRange{{First: 3, Last: 5}}})},
		{"reset all", zones(image.ZoneChange{Action: image.ResetZones, Zones: []image.ZoneRange{{Last: 7}}, All: true})},
		{"finish", zones(image.ZoneChange{Action: image.FinishZones, Zones: []image.ZoneRange{{First: 2, Last: 3}}})},
		{"set-wp down", zones(image.ZoneChange{
			Action: image.SetZoneWP, Zones: []image.ZoneRange{{First: 3, Last: 3}, {First: 5, Last: 5}}, Pointer: image.Pointer{Blocks: 2},
		})},
		{"set-wp up", zones(image.ZoneChange{Action: image.SetZoneWP, Zones: []image.ZoneRange{{First: 1, Last: 1}}, Pointer: image.Pointer{Blocks: 9}})},
		{"set-ext", zones(image.ZoneChange{Action: image.SetZoneExtension, Zones: []image.ZoneRange{{First: 1, Last: 2}}, Extension: []byte("extension")})},
		{"offline", zones(image.ZoneChange{Action: image.OfflineZones, Zones: []image.ZoneRange{{First: 3, Last: 3}}})},
		{"read-only", zones(image.ZoneChange{Action: image.ReadOnlyZones, Zones: []image.ZoneRange{{First: 3, Last: 3}}})},
		{"restore", func(im *image.Image) error {
			var written bytes.Buffer
			if err := dump.Write(&written, im); err != nil {
				return err
			}
			text := strings.Replace(written.String(), `"wp": 101,`+"\n"+`          "written": 5`, `"wp": 97,`+"\n"+`          "written": 1`, 1)
			if text == written.String() {
				return fmt.Errorf("zone 3 is not in the dump:\n%s", text)
			}
			r, err := dump.Read(strings.NewReader(text), im)
			if err != nil {
				return err
			}
			return r.Commit()
		}},
	}
}

// changeSpec is an image with zones to write, to reset and to move, a namespace with
// protection information, and one with large zones.
func changeSpec(kind layout.Kind) *imagetest.Spec {
	n := layout.Namespace{ID: 1, CSI: layout.ZNS, BlockBits: 9, Blocks: 8 * 32, ZoneCount: 8, ZoneSize: 32, ZoneCap: 30, MAR: layout.NoLimit, MOR: layout.NoLimit, ZDES: 1}
	protected, large := n, n
	protected.ID, protected.MS, protected.PI = 2, 8, 1
	large.ID, large.ZoneSize, large.ZoneCap, large.ZoneCount, large.Blocks = 3, 2048, 2048, 2, 4096
	return &imagetest.Spec{Layout: kind, Label: "changes", UUID: [16]byte{7}, Namespaces: []imagetest.SpecNamespace{
		{Namespace: n, Zones: map[uint64]imagetest.SpecZone{
			3: {State: layout.Closed, Written: 5, Fill: 'a'},
			4: {State: layout.Empty},
			5: {State: layout.Full, Written: 30, Fill: 'b'},
			6: {State: layout.Closed, Attrs: layout.ZDEV, Ext: "ext"},
		}},
		{Namespace: protected},
		{Namespace: large},
	}}
}

func startChange(t *testing.T, kind layout.Kind) *imagetest.MemFS {
	t.Helper()
	fs := imagetest.NewMemFS()
	if err := changeSpec(kind).Create(fs, path); err != nil {
		t.Fatal(err)
	}
	return fs
}

func runChange(fs disk.FS, run func(im *image.Image) error) (err error) {
	im, err := image.Open(path, image.Options{FS: fs, Write: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, im.Close()) }()
	return run(im)
}

// stateOf repairs the image if it is not clean, and describes its zones and data.
func stateOf(t *testing.T, fs disk.FS) (text string, repaired bool) {
	t.Helper()
	im, err := image.Open(path, image.Options{FS: fs, Write: true}) // refused unless it is clean
	if err != nil {
		report, err := fsck.Repair(path, fsck.Options{FS: fs, Mode: fsck.Safe})
		if err != nil {
			t.Fatalf("the image cannot be repaired: %v", err)
		}
		if report.ExitCode() > 1 {
			t.Fatalf("the image cannot be repaired without loss: %+v", report)
		}
		repaired = true
		if im, err = image.Open(path, image.Options{FS: fs}); err != nil {
			t.Fatalf("after a repair: %v", err)
		}
	}
	defer func() { _ = im.Close() }()
	if text, err = imagetest.Zones(im); err != nil {
		t.Fatal(err)
	}
	for _, n := range im.Namespaces() {
		sum := sha256.New()
		if _, err := io.Copy(sum, io.NewSectionReader(n, 0, int64(n.Size()))); err != nil {
			t.Fatal(err)
		}
		// Metadata counts only where blocks are written.
		for z, err := range n.All(0, n.ZoneCount) {
			if err != nil {
				t.Fatal(err)
			}
			at, length := n.MetadataOff()+layout.Bytes(z.Start)*layout.Bytes(n.MS), layout.Bytes(z.Written-z.Start)*layout.Bytes(n.MS)
			if _, err := io.Copy(sum, io.NewSectionReader(n.File(), int64(n.DataOff+at), int64(length))); err != nil {
				t.Fatal(err)
			}
		}
		text += fmt.Sprintf("%d %x\n", n.ID, sum.Sum(nil))
	}
	return text, repaired
}

// The power fails after every single operation of every command that changes zones
// or data: a safe repair at most makes the image as it was before, or as it should be.
func TestChangesPowerCut(t *testing.T) {
	t.Parallel()
	var total, repairs atomic.Int64
	t.Cleanup(func() { t.Logf("%d states, %d of them repaired", total.Load(), repairs.Load()) })
	for _, kind := range []layout.Kind{layout.Trailing, layout.Sidecar} {
		for _, c := range changes(t) {
			t.Run(fmt.Sprint(kind, " ", c.name), func(t *testing.T) {
				t.Parallel()
				clean := startChange(t, kind)
				was, _ := stateOf(t, clean)
				start := clean.Ops()
				if err := runChange(clean, c.run); err != nil {
					t.Fatalf("%s: %v", c.name, err)
				}
				steps := clean.Ops() - start
				is, _ := stateOf(t, clean)
				if is == was {
					t.Fatalf("%s changes nothing", c.name)
				}
				seen := map[bool]int{}
				for n := 1; n <= steps; n++ {
					if !imagetest.Sampled(n, steps) {
						continue
					}
					fs := startChange(t, kind)
					fs.CrashAt(fs.Ops() + n)
					if err := runChange(fs, c.run); !errors.Is(err, imagetest.ErrCrashed) && n < steps {
						t.Fatalf("%s: cut at %d of %d: %v", c.name, n, steps, err)
					}
					for name, after := range fs.CrashImages(8) {
						got, repaired := stateOf(t, after)
						if got != was && got != is {
							t.Fatalf("%s: cut at %d of %d (%s): neither before nor after:\n%s\nbefore:\n%s", c.name, n, steps, name, got, was)
						}
						seen[got == is]++
						total.Add(1)
						if repaired {
							repairs.Add(1)
						}
					}
				}
				if seen[true] == 0 || seen[false] == 0 {
					t.Errorf("%s: before %d times, after %d times: the cuts have not met the command", c.name, seen[false], seen[true])
				}
			})
		}
	}
}

// Every single call of the same commands fails in turn: the error says so, and a
// repair at most makes the image as it was or as it should be.
func TestChangesEveryCallFails(t *testing.T) {
	t.Parallel()
	errDisk := errors.New("the disk says no")
	var total, unclean atomic.Int64
	t.Cleanup(func() {
		t.Logf("%d calls failed, after %d of them the image had to be repaired", total.Load(), unclean.Load())
	})
	for _, c := range changes(t) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			clean := startChange(t, layout.Sidecar)
			was, _ := stateOf(t, clean)
			counter := imagetest.NewFaultFS(clean)
			if err := runChange(counter, c.run); err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			is, _ := stateOf(t, clean)
			for n := 1; n <= counter.Calls(); n++ {
				if !imagetest.Sampled(n, counter.Calls()) {
					continue
				}
				under := startChange(t, layout.Sidecar)
				fs := imagetest.NewFaultFS(under)
				fs.FailAt(n, errDisk)
				err := runChange(fs, c.run)
				if err != nil && !errors.Is(err, errDisk) {
					t.Errorf("%s: call %d (%s): %v", c.name, n, fs.Hit(), err)
				}
				got, repaired := stateOf(t, under)
				if err == nil && got != is {
					t.Errorf("%s: call %d (%s) failed, and nobody noticed", c.name, n, fs.Hit())
				}
				if got != was && got != is {
					t.Fatalf("%s: call %d (%s): neither before nor after:\n%s", c.name, n, fs.Hit(), got)
				}
				total.Add(1)
				if repaired {
					unclean.Add(1)
				}
			}
		})
	}
}
