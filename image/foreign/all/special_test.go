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
