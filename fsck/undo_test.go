package fsck_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"zimg/fsck"
	"zimg/image"
	"zimg/layout"
)

// An undo record as bytes, from docs/FORMAT.md.
type undoRec struct {
	kind, file uint32
	name       string
	mode       uint32
	at         int64
	data       string
}

func (r undoRec) encode() []byte {
	b := make([]byte, 32)
	binary.LittleEndian.PutUint32(b, r.kind)
	binary.LittleEndian.PutUint32(b[4:], r.file)
	binary.LittleEndian.PutUint32(b[8:], uint32(len(r.name)))
	binary.LittleEndian.PutUint32(b[12:], r.mode)
	binary.LittleEndian.PutUint64(b[16:], uint64(r.at))
	binary.LittleEndian.PutUint64(b[24:], uint64(len(r.data)))
	return append(append(b, r.name...), r.data...)
}

// undoBytes is an undo file for an image of the given place, UUID and metadata.
func undoBytes(place uint32, uuid [16]byte, metaOff, locOff int64, records ...undoRec) []byte {
	b := make([]byte, 64)
	copy(b, "\x89ZIMU\r\n\x1a")
	binary.LittleEndian.PutUint32(b[8:], 1)
	binary.LittleEndian.PutUint32(b[12:], place)
	copy(b[16:], uuid[:])
	binary.LittleEndian.PutUint64(b[32:], 1<<40) // newer than any commit
	binary.LittleEndian.PutUint64(b[40:], uint64(metaOff))
	binary.LittleEndian.PutUint64(b[48:], uint64(locOff))
	for _, r := range records {
		b = append(b, r.encode()...)
	}
	return sealUndo(append(b, make([]byte, 32)...))
}

func sealUndo(b []byte) []byte { return binary.LittleEndian.AppendUint32(b, layout.Checksum(b)) }

// An undo file is data from a stranger: it reaches no file but those of its
// image, and what is not as a repair writes it is refused as a whole.
func TestUndoRefusesWhatNoRepairWrites(t *testing.T) {
	t.Parallel()
	const trailing, zmeta = 1, 2
	uuid := [16]byte{0x5a, 1, 2, 3, 4, 5, 0x46, 7, 0x88, 9, 10, 11, 12, 13, 14, 15} // imagetest.Standard's
	long := string(bytes.Repeat([]byte("n"), 300))
	for name, rec := range map[string]undoRec{
		"a removed file with a path":          {kind: 3, file: 3, name: "/../victim", data: "x"},
		"a removed file with another suffix":  {kind: 3, file: 3, name: "", data: "x"},
		"a removed file that is the image":    {kind: 3, file: 1, data: "x"},
		"a removed file at an offset":         {kind: 3, file: 3, name: ".zmeta", at: 1, data: "x"},
		"a removed file with the set-uid bit": {kind: 3, file: 3, name: ".zmeta", mode: 0o4755, data: "x"},
		"a range of a file beside":            {kind: 1, file: 3, name: ".zjournal", data: "x"},
		"a range of a data file with a path":  {kind: 1, file: 2, name: "../victim", data: "x"},
		"a range of another data file":        {kind: 1, file: 2, name: "victim", data: "x"},
		"a length of another data file":       {kind: 2, file: 2, name: "victim"},
		"a length with bytes":                 {kind: 2, file: 1, data: "x"},
		"a long name":                         {kind: 1, file: 2, name: long, data: "x"},
		"an unknown type":                     {kind: 9, file: 1, data: "x"},
		"an unknown file":                     {kind: 1, file: 7, data: "x"},
		"a negative offset":                   {kind: 1, file: 1, at: -1, data: "x"},
		"a name for the metadata":             {kind: 1, file: 1, name: "victim", data: "x"},
	} {
		for _, kind := range []layout.Kind{layout.Trailing, layout.Sidecar} {
			t.Run(name+" "+kind.String(), func(t *testing.T) {
				t.Parallel()
				disk, _ := standard(t, kind)
				disk.WriteFile("/d/victim", []byte("precious"))
				place, metaOff := uint32(trailing), int64(metaArea(t, disk))
				if kind == layout.Sidecar {
					place = zmeta
				}
				locOff := int64(len(files(t, disk)[metaName(kind)])) - layout.LocatorLen
				disk.WriteFile(path+fsck.UndoSuffix, undoBytes(place, uuid, metaOff, locOff, rec))
				before := files(t, disk)
				if err := fsck.Undo(path, fsck.Options{FS: disk}, true); !errors.Is(err, fsck.ErrUndo) {
					t.Errorf("undo: %v", err)
				}
				if !same(before, files(t, disk)) {
					t.Error("files have changed")
				}
			})
		}
	}
}

// The file as a whole is refused: another image's, none's, or broken.
func TestUndoRefusesFile(t *testing.T) {
	t.Parallel()
	uuid := [16]byte{0x5a, 1, 2, 3, 4, 5, 0x46, 7, 0x88, 9, 10, 11, 12, 13, 14, 15}
	rec := undoRec{kind: 1, file: 1, data: "x"}
	disk, _ := standard(t, layout.Trailing)
	metaOff := int64(metaArea(t, disk))
	locOff := int64(len(files(t, disk)[path])) - layout.LocatorLen
	good := undoBytes(1, uuid, metaOff, locOff, rec)
	changed := func(off int, v byte) []byte {
		b := bytes.Clone(good[:len(good)-4])
		b[off] = v
		return sealUndo(b)
	}
	texts := map[string]string{
		"newer": "unsupported undo file version 2, want 1", "not one": "not an undo file",
		"metadata in a named file": path + " was repaired with a sidecar given by the user",
	}
	for name, undo := range map[string][]byte{
		"empty":                      {},
		"another image's":            changed(16, 7),
		"newer":                      changed(8, 2),
		"not one":                    changed(1, 'X'),
		"metadata nowhere":           changed(12, 0),
		"metadata in a named file":   changed(12, 3),
		"reserved bytes":             changed(60, 1),
		"a negative metadata offset": changed(47, 0x80),
		"a locator far away":         changed(55, 0x7f),
		"a wrong checksum":           append(bytes.Clone(good[:len(good)-1]), good[len(good)-1]^1),
		"no end record":              sealUndo(bytes.Clone(good[:len(good)-36])),
		"bytes after the end record": sealUndo(append(bytes.Clone(good[:len(good)-4]), 0)),
	} {
		t.Run(name, func(t *testing.T) {
			disk.WriteFile(path+fsck.UndoSuffix, undo)
			before := files(t, disk)
			if err := fsck.Undo(path, fsck.Options{FS: disk}, true); !errors.Is(err, fsck.ErrUndo) || !strings.Contains(err.Error(), texts[name]) {
				t.Errorf("undo: %v, want %s", err, texts[name])
			}
			if !same(before, files(t, disk)) {
				t.Error("files have changed")
			}
		})
	}
	for n := range good { // every prefix, with a sound checksum and without
		for _, b := range [][]byte{good[:n], sealUndo(bytes.Clone(good[:n]))} {
			if len(b) == len(good) {
				continue
			}
			disk.WriteFile(path+fsck.UndoSuffix, b)
			if err := fsck.Undo(path, fsck.Options{FS: disk}, true); !errors.Is(err, fsck.ErrUndo) {
				t.Fatalf("the first %d bytes: %v", n, err)
			}
		}
	}
	disk.WriteFile(path+fsck.UndoSuffix, good)
	if err := disk.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := fsck.Undo(path, fsck.Options{FS: disk}, true); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("undo without an image: %v", err)
	}
	disk.WriteFile(path, bytes.Repeat([]byte("raw data"), 1<<17))
	before := files(t, disk)
	if err := fsck.Undo(path, fsck.Options{FS: disk}, true); !errors.Is(err, fsck.ErrUndo) {
		t.Errorf("undo of a file that is no image: %v", err)
	}
	if !same(before, files(t, disk)) {
		t.Error("files have changed")
	}
}

// A file that a repair removed comes back with its mode.
func TestUndoKeepsMode(t *testing.T) {
	t.Parallel()
	disk := build(t, "trailing\nsidecar-leftover")
	name := path + image.SidecarSuffix
	b := files(t, disk)[name]
	if err := disk.Remove(name); err != nil {
		t.Fatal(err)
	}
	f, err := disk.Open(name, 2, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, codes, err := verdict(t, disk, fsck.Options{Mode: fsck.Safe}); err != nil || codes[fsck.SidecarLeftover] != 1 {
		t.Fatalf("repair: %v, %v", codes, err)
	}
	if err := fsck.Undo(path, fsck.Options{FS: disk}, false); err != nil {
		t.Fatal(err)
	}
	info, err := disk.Stat(name)
	if err != nil || info.Mode() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}
