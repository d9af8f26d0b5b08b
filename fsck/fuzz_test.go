package fsck_test

import (
	"testing"

	"zimg/fsck"
	"zimg/image/imagetest"
	"zimg/layout"
)

// An undo file of whatever bytes, with a checksum that is right: it changes no
// file but those of its image, and what it refuses it leaves alone.
func FuzzUndo(f *testing.F) {
	uuid := [16]byte{0x5a, 1, 2, 3, 4, 5, 0x46, 7, 0x88, 9, 10, 11, 12, 13, 14, 15}
	fs, _ := standard(f, layout.Sidecar)
	meta := files(f, fs)[metaName(layout.Sidecar)]
	locOff := int64(len(meta)) - layout.LocatorLen
	for _, r := range []undoRec{
		{kind: 1, file: 1, data: "bytes"}, {kind: 1, file: 2, at: 4096, data: "bytes"}, {kind: 2, file: 1, at: 4096}, {kind: 3, file: 3, name: ".zjournal", mode: 0o600, data: "{}"},
	} {
		b := undoBytes(2, uuid, 0, locOff, r)
		f.Add(b[:len(b)-4])
	}
	data := make([]byte, 9<<20)
	f.Fuzz(func(t *testing.T, undo []byte) {
		disk := imagetest.NewMemFS()
		disk.WriteFile(path, data)
		disk.WriteFile(metaName(layout.Sidecar), meta)
		disk.WriteFile("/d/victim", []byte("precious"))
		disk.WriteFile(path+fsck.UndoSuffix, sealUndo(append([]byte(nil), undo...)))
		_ = fsck.Undo(path, fsck.Options{FS: disk}, true)
		if b, err := disk.ReadFile("/d/victim"); err != nil || string(b) != "precious" {
			t.Errorf("another file has changed: %q, %v", b, err)
		}
		for _, name := range disk.Names() {
			switch name {
			case path, metaName(layout.Sidecar), "/d/victim", path + fsck.UndoSuffix, path + ".zjournal", path + ".ztrace":
			default:
				t.Errorf("a file %s was made", name)
			}
		}
	})
}
