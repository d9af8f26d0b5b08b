package fsck_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"zimg/fsck"
	"zimg/image"
	"zimg/image/disk"
	"zimg/image/imagetest"
	"zimg/image/live"
	"zimg/layout"
)

var (
	oneBoot     = [16]byte{1, 1}
	anotherBoot = [16]byte{2, 2}
)

// Written blocks of the zones that an owner who died had changed: as answered, and as of the last flush.
var (
	asAnswered = map[uint64]layout.LBA{0: 2, 1: 12, 4: 0}
	asFlushed  = map[uint64]layout.LBA{0: 0, 1: 9, 4: 96}
)

// liveName is the live file of the image that served makes.
func liveName(kind layout.Kind) string {
	if kind == layout.Sidecar {
		return servedPath + image.SidecarSuffix + live.Suffix
	}
	return servedPath + live.Suffix
}

// A record that cannot be believed costs its own zone what only the record knew, and nobody else anything; and not
// before somebody allows it.
func TestDamagedLiveRecord(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		zone    uint64
		word    int
		written map[uint64]layout.LBA
	}{
		{1, 0, asAnswered}, // the data says how far it is written
		{0, 0, asAnswered},
		{4, 0, map[uint64]layout.LBA{0: 2, 1: 12, 4: 96}}, // it was reset, which no data says
		{1, 2, asAnswered},
		{1, 8, asAnswered}, // reach
	} {
		for _, kind := range []layout.Kind{layout.Trailing, layout.Sidecar} {
			t.Run(fmt.Sprintf("zone %d word %d, %v", tt.zone, tt.word, kind), func(t *testing.T) {
				t.Parallel()
				fs := served(t, kind, oneBoot)
				name := liveName(kind)
				b, err := fs.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				for half := range 2 { // both, so that there is no older one
					b[8192+192*int(tt.zone)+8*tt.word+32*half%64+3] ^= 0x40
				}
				fs.WriteFile(name, b)
				damaged := files(t, fs)
				var codes []fsck.Code
				o := fsck.Options{FS: fs, BootID: oneBoot, Found: func(f fsck.Finding) {
					codes = append(codes, f.Code)
					if f.Code == fsck.LiveRecordDamaged && (f.Zone != tt.zone || f.File != name || f.Off != 8192+192*int64(tt.zone)) {
						t.Errorf("found at %s: %+v", f.Place(), f)
					}
				}}
				want := []fsck.Code{fsck.LiveRecordDamaged, fsck.DriveDied}
				if r, err := fsck.Check(servedPath, o); err != nil || !slices.Equal(codes, want) || !r.NeedsAll {
					t.Fatalf("found %v, %+v, %v", codes, r, err)
				}
				o.Mode = fsck.Safe
				if r, err := fsck.Repair(servedPath, o); err != nil || r.Changed || r.Errors != 1 || r.ExitCode() != 2 {
					t.Fatalf("a safe repair gives something up: %+v, %v", r, err)
				}
				if !same(damaged, files(t, fs)) {
					t.Fatal("something was changed")
				}
				o.Mode = fsck.All
				if r, err := fsck.Repair(servedPath, o); err != nil || r.After == nil || r.After.Errors+r.After.Warnings > 0 {
					t.Fatalf("%+v, %v", r, err)
				}
				compareServed(t, fs, tt.written)
				r, err := fsck.Repair(servedPath, fsck.Options{FS: fs, BootID: oneBoot, Mode: fsck.All, Data: fsck.DataAlways})
				if err != nil || r.Changed || r.Errors+r.Warnings > 0 {
					t.Errorf("a second repair: %+v, %v", r, err)
				}
				if err := fsck.Undo(servedPath, fsck.Options{FS: fs}, false); err != nil {
					t.Fatal(err)
				}
				codes = nil
				if _, err := fsck.Check(servedPath, o); err != nil || !slices.Equal(codes, want) {
					t.Errorf("after the repair was undone: %v, %v", codes, err)
				}
			})
		}
	}
}

// Zones of the slots that make no sense are no reason to discard the data of others.
func TestServedWithDamagedSlots(t *testing.T) {
	t.Parallel()
	fs := served(t, layout.Trailing, oneBoot)
	im, err := image.OpenUnclean(servedPath, image.Options{FS: fs, Write: true})
	if err != nil {
		t.Fatal(err)
	}
	n := im.Namespaces()[0]
	z, err := n.Zone(7)
	if err != nil {
		t.Fatal(err)
	}
	z.Written = 0
	if err := errors.Join(n.SetZone(7, z), im.BeginSession(im.Header().Session), im.Close()); err != nil {
		t.Fatal(err)
	}
	before := make([]byte, 9*512)
	readZone(t, fs, 1, before)
	if _, err := fsck.Repair(servedPath, fsck.Options{FS: fs, BootID: anotherBoot, Mode: fsck.All}); err != nil {
		t.Fatal(err)
	}
	after := make([]byte, len(before))
	readZone(t, fs, 1, after)
	if !bytes.Equal(before, after) {
		t.Error("the data of zone 1 is gone")
	}
	compareServed(t, fs, asFlushed)
	fs = served(t, layout.Trailing, oneBoot)
	if im, err = image.OpenUnclean(servedPath, image.Options{FS: fs, Write: true}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = im.Close() }()
	if err := im.Namespaces()[0].SetZone(7, z); err != nil {
		t.Fatal(err)
	}
	ops := fs.Ops()
	if _, err := live.Open(im, live.Options{BootID: anotherBoot}); !errors.Is(err, layout.ErrDamaged) || fs.Ops() != ops {
		t.Errorf("a drive is served from such zones: %v, %d operations", err, fs.Ops()-ops)
	}
}

// readZone reads the first len(b) bytes of zone i of namespace 1.
func readZone(t *testing.T, fs disk.FS, i uint64, b []byte) {
	t.Helper()
	im, err := image.OpenUnclean(servedPath, image.Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = im.Close() }()
	n := im.Namespaces()[0]
	if _, err := n.ReadAt(b, int64(n.ByteOff(n.EmptyZone(i).Start))); err != nil {
		t.Fatal(err)
	}
}

// The repair of an image that was being served is itself cut short, at every operation: by a kill, and by a power
// failure, after which the computer has another boot id. The next repair brings the zones that were answered, or after a
// power failure those of the last flush.
func TestServedRepairInterrupted(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name           string
		repair, after  [16]byte // boot id of the repair, and of the next one
		power          bool
		want, orElseBe map[uint64]layout.LBA
	}{
		{"process died, repair killed", oneBoot, oneBoot, false, asAnswered, nil},
		{"process died, power failed in the repair", oneBoot, anotherBoot, true, asAnswered, asFlushed},
		{"power failed, repair killed", anotherBoot, anotherBoot, false, asFlushed, nil},
		{"power failed, and again in the repair", anotherBoot, [16]byte{3}, true, asFlushed, nil},
	} {
		for _, kind := range []layout.Kind{layout.Trailing, layout.Sidecar} {
			t.Run(tt.name+", "+kind.String(), func(t *testing.T) {
				t.Parallel()
				states := 0
				check := func(what string, fs *imagetest.MemFS) {
					t.Helper()
					states++
					r, err := fsck.Repair(servedPath, fsck.Options{FS: fs, Mode: fsck.Safe, BootID: tt.after})
					if err != nil || r.ExitCode() != 0 {
						t.Fatalf("%s: %+v, %v", what, r, err)
					}
					want := tt.want
					if tt.orElseBe != nil && writtenServed(t, fs, 1) == tt.orElseBe[1] {
						want = tt.orElseBe
					}
					compareServed(t, fs, want)
					again, err := fsck.Repair(servedPath, fsck.Options{FS: fs, Mode: fsck.Safe, BootID: tt.after, Data: fsck.DataAlways})
					if err != nil || again.Changed || again.Errors+again.Warnings > 0 {
						t.Fatalf("%s: a second repair: %+v, %v", what, again, err)
					}
				}
				step := 1
				if testing.Short() {
					step = 11
				}
				for n := 1; !t.Failed(); n += step {
					under := served(t, kind, oneBoot)
					o := fsck.Options{FS: under, Mode: fsck.Safe, BootID: tt.repair}
					if !tt.power {
						faulty := imagetest.NewFaultFS(under)
						faulty.FailFrom(n, errKilled)
						o.FS = faulty
						if _, err := fsck.Repair(servedPath, o); err == nil {
							break
						}
						check(fmt.Sprintf("killed at call %d (%s)", n, faulty.Hit()), under)
						continue
					}
					under.CrashAt(under.Ops() + n)
					if _, err := fsck.Repair(servedPath, o); err == nil {
						break
					}
					for policy, fs := range under.CrashImages(4) {
						check(fmt.Sprintf("operation %d, %s", n, policy), fs)
					}
				}
				t.Logf("%d states", states)
			})
		}
	}
}

var errKilled = errors.New("killed")

// writtenServed is how many blocks of zone i are written.
func writtenServed(t *testing.T, fs disk.FS, i uint64) layout.LBA {
	t.Helper()
	im, err := image.Open(servedPath, image.Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = im.Close() }()
	z, err := im.Namespaces()[0].Zone(i)
	if err != nil {
		t.Fatal(err)
	}
	return z.Written - z.Start
}
