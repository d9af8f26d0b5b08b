package fsck_test

import (
	"bytes"
	"slices"
	"testing"

	"zimg/fsck"
	"zimg/image"
	"zimg/image/disk"
	"zimg/image/imagetest"
	"zimg/image/live"
	"zimg/layout"
)

// servedCodes are the findings about an image that was being served; TestServedImage has each.
var servedCodes = []fsck.Code{fsck.DriveDied, fsck.DrivePower, fsck.LiveFileLost, fsck.LiveRecordDamaged}

const servedPath = "/d/served.zimg"

// served is an image that was being served when its owner died: after a flush zone 0 was written, zone 1 was
// written on, zone 4 reset, and a write beyond the write pointer of zone 1 was under way.
func served(t *testing.T, kind layout.Kind, boot [16]byte) *imagetest.MemFS {
	t.Helper()
	fs := imagetest.NewMemFS()
	s := imagetest.Standard(kind)
	if err := s.Create(fs, servedPath); err != nil {
		t.Fatal(err)
	}
	im, err := image.Open(servedPath, image.Options{FS: fs, Write: true})
	if err != nil {
		t.Fatal(err)
	}
	st, err := live.Open(im, live.Options{BootID: boot})
	if err != nil {
		t.Fatal(err)
	}
	n := st.Namespace(1)
	write := func(i uint64, blocks layout.LBA) {
		t.Helper()
		z, err := n.Zone(i)
		if err != nil {
			t.Fatal(err)
		}
		if err := n.WriteData(bytes.Repeat([]byte{'n'}, int(blocks)*512), z.WP); err != nil {
			t.Fatal(err)
		}
		z.State, z.WP = layout.ImplicitlyOpened, z.WP+blocks
		z.Written = z.WP
		if err := n.SetZone(i, z); err != nil {
			t.Fatal(err)
		}
	}
	write(1, 1)
	if err := st.Flush(); err != nil {
		t.Fatal(err)
	}
	write(0, 2)
	write(1, 3)
	if err := n.SetZone(4, n.EmptyZone(4)); err != nil {
		t.Fatal(err)
	}
	if err := n.WriteData(make([]byte, 512), n.EmptyZone(1).Start+12); err != nil {
		t.Fatal(err)
	}
	st.Abandon()
	if err := im.Close(); err != nil {
		t.Fatal(err)
	}
	return fs
}

func TestServedImage(t *testing.T) {
	t.Parallel()
	other := [16]byte{7, 7}
	for _, tt := range []struct {
		name    string
		boot    [16]byte
		remove  bool
		mode    fsck.Mode
		code    fsck.Code
		written map[uint64]layout.LBA // after the repair, blocks from the start of the zone
	}{
		{"process died", disk.BootID(), false, fsck.Safe, fsck.DriveDied, map[uint64]layout.LBA{0: 2, 1: 12, 4: 0}},
		{"power failed", other, false, fsck.Safe, fsck.DrivePower, map[uint64]layout.LBA{0: 0, 1: 9, 4: 96}},
		{"power failed, live file gone", other, true, fsck.Safe, fsck.DrivePower, map[uint64]layout.LBA{0: 0, 1: 9, 4: 96}},
		{"live file gone", disk.BootID(), true, fsck.All, fsck.LiveFileLost, map[uint64]layout.LBA{0: 0, 1: 9, 4: 96}},
	} {
		for _, kind := range []layout.Kind{layout.Trailing, layout.Sidecar} {
			t.Run(tt.name+", "+kind.String(), func(t *testing.T) {
				t.Parallel()
				fs := served(t, kind, tt.boot)
				liveFile := servedPath + live.Suffix
				if kind == layout.Sidecar {
					liveFile = servedPath + image.SidecarSuffix + live.Suffix
				}
				if tt.remove {
					if err := fs.Remove(liveFile); err != nil {
						t.Fatal(err)
					}
				}
				ops := fs.Ops()
				var codes []fsck.Code
				o := fsck.Options{FS: fs, Found: func(f fsck.Finding) { codes = append(codes, f.Code) }}
				if _, err := fsck.Check(servedPath, o); err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(codes, []fsck.Code{tt.code}) || fs.Ops() != ops {
					t.Fatalf("found %v with %d operations on the disk", codes, fs.Ops()-ops)
				}
				if tt.code == fsck.LiveFileLost {
					r, err := fsck.Repair(servedPath, fsck.Options{FS: fs, Mode: fsck.Safe})
					if err != nil || r.Errors == 0 || r.Changed {
						t.Fatalf("a safe repair gives up what was not flushed: %+v, %v", r, err)
					}
				}
				r, err := fsck.Repair(servedPath, fsck.Options{FS: fs, Mode: tt.mode})
				if err != nil {
					t.Fatal(err)
				}
				if a := r.After; a == nil || a.Errors+a.Warnings+a.Notes > 0 {
					t.Errorf("after the repair: %+v", a)
				}
				if slices.Contains(fs.Names(), liveFile) {
					t.Error("the live file is still there")
				}
				compareServed(t, fs, tt.written)
				r, err = fsck.Check(servedPath, fsck.Options{FS: fs, Data: fsck.DataAlways})
				if err != nil || r.Errors+r.Warnings+r.Notes > 0 {
					t.Errorf("checked with the data: %+v, %v", r, err)
				}
				if err := fsck.Undo(servedPath, fsck.Options{FS: fs}, false); err != nil {
					t.Fatal(err)
				}
				codes = nil
				if _, err := fsck.Check(servedPath, o); err != nil || !slices.Equal(codes, []fsck.Code{tt.code}) {
					t.Errorf("after the repair was undone: %v, %v", codes, err)
				}
				if _, err := fsck.Repair(servedPath, fsck.Options{FS: fs, Mode: tt.mode}); err != nil {
					t.Fatal(err)
				}
				compareServed(t, fs, tt.written)
			})
		}
	}
}

// compareServed opens the image as everybody does and compares how far zones are written.
func compareServed(t *testing.T, fs disk.FS, written map[uint64]layout.LBA) {
	t.Helper()
	im, err := image.Open(servedPath, image.Options{FS: fs, Write: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = im.Close() }()
	n, err := im.Namespace(1)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range written {
		z, err := n.Zone(i)
		if err != nil {
			t.Fatal(err)
		}
		if z.Written-z.Start != want || z.State.Open() {
			t.Errorf("zone %d: %+v, want %d blocks written", i, z, want)
		}
		b := make([]byte, 512)
		if _, err := n.ReadAt(b, int64(n.ByteOff(z.Written))); err != nil || !bytes.Equal(b, make([]byte, 512)) {
			t.Errorf("zone %d: data beyond its write pointer (%v)", i, err)
		}
	}
}
