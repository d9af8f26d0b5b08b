package serve

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"

	"zimg/image"
	"zimg/image/disk"
	"zimg/image/drive"
	"zimg/image/drive/drivetest"
	"zimg/image/imagetest"
	"zimg/layout"
)

// Drives over overlays of one image: each host sees what was in the image and what it has written itself, and the image
// stays as it is, byte for byte.
func TestOverlaidDisks(t *testing.T) {
	t.Parallel()
	for _, kind := range []layout.Kind{layout.Trailing, layout.Sidecar} {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, "golden.zimg")
			n := layout.Namespace{
				CSI: layout.ZNS, BlockBits: 9, Blocks: 8 * 64, ZoneCount: 8, ZoneSize: 64, ZoneCap: 64, MAR: layout.NoLimit, MOR: layout.NoLimit,
			}
			if err := image.Create(path, image.CreateOptions{Layout: kind, Namespaces: []image.NamespaceSpec{{Namespace: n}}}); err != nil {
				t.Fatal(err)
			}
			golden := bytes.Repeat([]byte("golden.."), 9*64) // 9 blocks: a part of an overlay's block
			im, err := image.Open(path, image.Options{Write: true})
			if err != nil {
				t.Fatal(err)
			}
			err = im.Namespaces()[0].Write(bytes.NewReader(golden), 64, image.WriteOptions{})
			if err := errors.Join(err, im.Close()); err != nil {
				t.Fatal(err)
			}
			before := imagetest.Files(t, dir)

			var disks []*Disk
			var hosts []*drivetest.Host
			for range 2 {
				over := disk.NewOverlay(disk.OS, t.TempDir())
				d, err := OpenDisk(t.Context(), Image{Path: path, FS: over, Private: true}, t.Logf)
				if err != nil {
					t.Fatal(err)
				}
				disks = append(disks, d)
				hosts = append(hosts, drivetest.NewHost(t, d.Drive, drive.ControllerOptions{CNTLID: 1}))
			}
			if _, err := image.Open(path, image.Options{Write: true}); !errors.Is(err, disk.ErrLocked) {
				t.Errorf("the image can be changed meanwhile: %v", err)
			}
			for i, h := range hosts {
				own := bytes.Repeat([]byte{byte('a' + i)}, 5*512)
				h.Want(1, drivetest.IO(0x01, 1, 64+9, 5, 0), own, 0)
				if _, b := h.Want(1, drivetest.IO(0x02, 1, 64, 14, 0), nil, 0); !bytes.Equal(b, append(bytes.Clone(golden), own...)) {
					t.Errorf("host %d reads something else", i)
				}
			}
			for i, h := range hosts { // after the other has written
				if _, b := h.Want(1, drivetest.IO(0x02, 1, 64+9, 1, 0), nil, 0); b[0] != byte('a'+i) {
					t.Errorf("host %d reads %q", i, b[0])
				}
			}
			hosts[0].Want(1, drivetest.Cmd(0x79, 1, 64, 0, 0, 4), nil, 0) // reset zone 1
			if _, b := hosts[0].Want(1, drivetest.IO(0x02, 1, 64, 14, 0), nil, 0); bytes.ContainsAny(b, "golden.ab") {
				t.Errorf("after a reset: %q", b[:8])
			}
			if _, b := hosts[1].Want(1, drivetest.IO(0x02, 1, 64, 9, 0), nil, 0); !bytes.Equal(b, golden) {
				t.Error("the reset of one host is seen by the other")
			}
			for i := range disks {
				hosts[i].Shutdown()
				if err := disks[i].Close(); err != nil {
					t.Error(err)
				}
			}
			after := imagetest.Files(t, dir)
			if len(after) != len(before) {
				t.Errorf("%d files, there were %d", len(after), len(before))
			}
			for name, b := range before {
				if !bytes.Equal(after[name], b) {
					t.Errorf("%s has changed", name)
				}
			}
		})
	}
}
