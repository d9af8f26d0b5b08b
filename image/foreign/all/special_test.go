package all_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"zimg/image"
	"zimg/image/disk"
	"zimg/image/foreign"
	"zimg/layout"
)

// A zone file of the series up to v4 holds the zones of several namespaces, a region each; the data
// image is that of the namespace that is asked for.
func TestZoneFileOfSeveralNamespaces(t *testing.T) {
	x := readFixture(t, "../../../testdata/foreign/zone-file.txt")
	one := x.files["disk.zones"]
	two := bytes.Clone(one)
	two[4185] = 0x10 // in namespace 2 zone 1 is Empty
	copy(two[4208:], []byte{8})
	copy(two[4248:], []byte{8})
	x.files["disk.zones"] = append(bytes.Clone(one), two...)
	fsys, path := x.place()
	f := formatOf("zone-file")
	in := &foreign.Input{FS: fsys, Path: path, Pick: 2, Format: f}
	d, err := f.Decode(in)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Content(0); !errors.Is(err, layout.ErrRange) {
		t.Errorf("no namespace named: %v", err)
	}
	for id, want := range map[layout.NSID]layout.ZoneState{1: layout.Closed, 2: layout.Empty} {
		c, err := d.Content(id)
		if err != nil {
			t.Fatal(err)
		}
		z, err := c.Zones.Zone(1)
		if err != nil || z.State != want || (c.Data != nil) != (id == 2) {
			t.Errorf("namespace %d: %v %v, data %v", id, z.State, err, c.Data != nil)
		}
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
}

// A limit that ours cannot have, more open than active, is cut down.
func TestRublkLimits(t *testing.T) {
	x := readFixture(t, "../../../testdata/foreign/rublk.txt")
	x.files["disk/superblock"] = []byte("3 1 1 9 2\n")
	fsys, path := x.place()
	in := &foreign.Input{FS: fsys, Path: path, Format: formatOf("rublk")}
	d, err := in.Format.Decode(in)
	if err != nil {
		t.Fatal(err)
	}
	if n := d.Contents[0].NS; n.MaxOpen() != 2 || n.MaxActive() != 2 {
		t.Errorf("open %d, active %d", n.MaxOpen(), n.MaxActive())
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
}

// What gzoned create makes has no zone table until it is used: all zones are Empty, and nothing is wrong.
func TestGzonedNeverUsed(t *testing.T) {
	x := readFixture(t, "../../../testdata/foreign/gzoned.txt")
	clear(x.files["disk"][12800:13824])
	fsys, path := x.place()
	in := &foreign.Input{FS: fsys, Path: path, Format: formatOf("gzoned")}
	d, err := in.Format.Decode(in)
	if err != nil {
		t.Fatal(err)
	}
	checkProblems(t, d, nil)
	if err := d.Contents[0].CheckSound(); err != nil {
		t.Error(err)
	}
	for i, want := range []layout.ZoneState{layout.NotWP, layout.Empty, layout.Empty} {
		if z, err := d.Contents[0].Zones.Zone(uint64(i)); err != nil || z.State != want {
			t.Errorf("zone %d: %v, %v", i, z.State, err)
		}
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
}

// Compressed clusters are read: qemu-img makes them, and the zoned extension, which it does not know,
// is put back into its result by hand.
func TestQcow2Compressed(t *testing.T) {
	dir := t.TempDir()
	p := func(name string) string { return filepath.Join(dir, name) }
	n := small(t, disk.OS, p("a"))
	qcow := formatOf("qcow2")
	if err := image.Transfer(p("a"), p("q"), image.TransferOptions{To: qcow}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(p("q"))
	if err != nil {
		t.Fatal(err)
	}
	ext := bytes.Clone(b[104 : 104+8+56])
	meta := binary.BigEndian.Uint64(ext[8+48:])
	pointers := bytes.Clone(b[meta : meta+8*n.ZoneCount])
	b[79] &^= 0x20 // the feature bit, that stock qemu-img opens it
	if err := os.WriteFile(p("plain"), b, 0o666); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("qemu-img", "convert", "-c", "-f", "qcow2", "-O", "qcow2", p("plain"), p("packed")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if b, err = os.ReadFile(p("packed")); err != nil {
		t.Fatal(err)
	}
	for len(b)%65536 != 0 {
		b = append(b, 0)
	}
	binary.BigEndian.PutUint64(ext[8+48:], uint64(len(b)))
	at := binary.BigEndian.Uint32(b[100:])
	old := bytes.Clone(b[at : at+512])
	copy(b[at:], ext)
	copy(b[int(at)+len(ext):], old)
	b[79] |= 0x20
	if err := os.WriteFile(p("packed"), append(b, pointers...), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := image.Transfer(p("packed"), p("b"), image.TransferOptions{From: qcow, Geometry: n}); err != nil {
		t.Fatal(err)
	}
	x, err := image.Open(p("a"), image.Options{})
	if err != nil {
		t.Fatal(err)
	}
	y, err := image.Open(p("b"), image.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := image.Compare(x, y, nil, func(d image.Difference) bool { t.Errorf("%+v", d); return true }); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(x.Close(), y.Close()); err != nil {
		t.Fatal(err)
	}
}
