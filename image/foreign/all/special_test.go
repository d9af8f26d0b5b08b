package all_test

import (
	"bytes"
	"errors"
	"testing"

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
	if _, err := d.Content(0); !errors.Is(err, foreign.ErrWhichNamespace) {
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
	if err := d.Contents[0].CheckSound(path); err != nil {
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
