package fsck_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"zimg/fsck"
	"zimg/image"
	"zimg/layout"
)

// The undo file of a repair goes once the image has changed, and not before; one that has data of the guest stays.
func TestDropStaleUndo(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		mode    fsck.Mode
		data    bool
		dropped bool
	}{
		{name: "metadata only", mode: fsck.Safe, dropped: true},
		{name: "data that was discarded", mode: fsck.All, data: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "d.zimg")
			n := image.NamespaceSpec{Namespace: layout.Namespace{
				CSI: layout.ZNS, BlockBits: 9, Blocks: 256, ZoneCount: 4, ZoneSize: 64, ZoneCap: 48, MAR: layout.NoLimit, MOR: layout.NoLimit,
			}}
			if err := image.Create(path, image.CreateOptions{Namespaces: []image.NamespaceSpec{n}}); err != nil {
				t.Fatal(err)
			}
			if tt.data {
				file, err := os.OpenFile(path, os.O_RDWR, 0)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := file.WriteAt(bytes.Repeat([]byte{0x5A}, 512), 50*512); err != nil { // beyond the capacity of zone 0
					t.Fatal(err)
				}
				if err := file.Close(); err != nil {
					t.Fatal(err)
				}
			} else {
				info, err := os.Stat(path)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.Truncate(path, info.Size()-4096); err != nil { // the locator
					t.Fatal(err)
				}
			}
			r, err := fsck.Repair(path, fsck.Options{Mode: tt.mode, Data: fsck.DataAlways})
			if err != nil || r.UndoFile == "" {
				t.Fatalf("%+v, %v", r, err)
			}
			drop := func(want bool) {
				t.Helper()
				dropped, err := fsck.DropStaleUndo(path, fsck.Options{})
				if err != nil || dropped != want {
					t.Fatalf("dropped: %v, %v; want %v", dropped, err, want)
				}
				if _, err := os.Stat(r.UndoFile); (err == nil) == want {
					t.Fatalf("undo file: %v", err)
				}
			}
			drop(false)
			im, err := image.Open(path, image.Options{Write: true})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := im.Namespaces()[0].ChangeZones(image.ZoneChange{Action: image.FinishZones, Zones: []image.ZoneRange{{First: 1, Last: 1}}}); err != nil {
				t.Fatal(err)
			}
			if err := im.Close(); err != nil {
				t.Fatal(err)
			}
			drop(tt.dropped)
		})
	}
}
