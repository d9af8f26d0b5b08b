package all_test

import (
	"bytes"
	"strings"
	"testing"

	"zimg/image/foreign"
	"zimg/layout"
)

// Geometries that a format cannot have are refused by name.
func TestRestrictions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		format string
		n      layout.Namespace
		want   string
	}{
		{"tcmu-file-zbc", layout.Namespace{BlockBits: 10}, "the block size is 1024 bytes; file_zbc supports 512 and 4096"},
		{"tcmu-file-zbc", layout.Namespace{BlockBits: 12, ZoneSize: 24}, "the zone size is 24 blocks; file_zbc supports powers of two below 2^32"},
		{"tcmu-file-zbc", layout.Namespace{BlockBits: 12, ZoneSize: 16, ZoneCount: 1 << 32}, "it has 4294967296 zones; the format has 32 bits for their number"},
		{"gzoned", layout.Namespace{ZoneCount: 1 << 32}, "it has 4294967296 zones; the format has 32 bits for their number"},
		{"gzoned", layout.Namespace{ZoneCount: 1, ZoneSize: 1 << 32}, "the zone size is 4294967296 blocks; gzoned supports at most "},
		{"zbd-dump", layout.Namespace{BlockBits: 9, ZoneCount: 1 << 32, ZoneSize: 8}, "it has 4294967296 zones of 4096 bytes; the format has 32 bits for each number"},
		{"qcow2", layout.Namespace{BlockBits: 9, ZoneCount: 4, ZoneCap: 2}, "it has 4 zones with a capacity of 1024 bytes; the extension holds at most "},
		{"zone-file", layout.Namespace{BlockBits: 9, ZoneCount: 1 << 32, ZoneSize: 8, ZoneCap: 8}, "it has 4294967296 zones; a zone file can list fewer than 4294967295"},
		{"zloop", layout.Namespace{BlockBits: 9, ZoneCount: 4, ZoneSize: 3072, ZoneCap: 2048}, "the zone size is 1572864 bytes; zloop supports powers of two from 1 MiB to 16 GiB"},
		{"zloop", layout.Namespace{BlockBits: 9, ZoneCount: 4, ZoneSize: 2048, ZoneCap: 1000}, "the zone capacity is 512000 bytes; zloop supports multiples of 1 MiB"},
	} {
		if err := formatOf(c.format).Holds.Restrict(&c.n); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.format, err, c.want)
		}
	}
}

// A namespace that does not fit a format is refused by name.
func TestUnfit(t *testing.T) {
	t.Parallel()
	n := &layout.Namespace{ID: 3, BlockBits: 9, Blocks: 8}
	holds := formatOf("qcow2").Holds
	if _, err := holds.Fit(&foreign.Content{NS: n}, false); err == nil || err.Error() != "namespace 3: it has no zones to export; format raw holds its data" {
		t.Error(err)
	}
	n = &layout.Namespace{ID: 3, CSI: layout.ZNS, BlockBits: 9, Blocks: 32, ZoneCount: 2, ZoneSize: 16, ZoneCap: 12, MOR: layout.NoLimit, MAR: layout.NoLimit}
	other := n.EmptyZone(1)
	other.Cap = 10
	zones := &layout.ZoneSlice{Table: []layout.Zone{n.EmptyZone(0), other}}
	_, err := holds.Fit(&foreign.Content{NS: n, Zones: zones}, false)
	if want := "namespace 3: zone 1 has a capacity of 10 blocks instead of 12, and the format holds only one"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	d := &foreign.Decoded{Contents: []*foreign.Content{{NS: &layout.Namespace{ID: 1}}, {NS: &layout.Namespace{ID: 2}}}}
	if _, err := d.Content(7); err == nil || err.Error() != "there is no namespace 7; namespaces: 1, 2" {
		t.Error(err)
	}
}

// A file of something else, and one that was damaged, are refused by the name of the format.
func TestUndecodable(t *testing.T) {
	t.Parallel()
	replace := func(name string, off int, b ...byte) func(files map[string][]byte) {
		return func(files map[string][]byte) { copy(files[name][off:], b) }
	}
	cut := func(name string, length int) func(files map[string][]byte) {
		return func(files map[string][]byte) { files[name] = files[name][:length] }
	}
	for _, c := range []struct {
		fixture string
		damage  func(files map[string][]byte)
		want    string
	}{
		{"zone-file", replace("disk.zones", 0, 0), "/disk.zones: region at byte 0: there is no zone file header"},
		{"zone-file", cut("disk.zones", 100), "/disk.zones is too short for the format: it has 100 bytes, and needs at least 4096"},
		{"zone-file", cut("disk.zones", 4100), "/disk.zones has room for 0 zones, but /disk has "},
		{"pstate", replace("disk.pstate", 0, 0), "/disk.pstate is not a pstate file: it does not begin with NPS"},
		{"pstate-footer", replace("disk.pstate", 256, 0, 0, 0, 0), "/disk.pstate is not a zns.pstate file: ZNS is not 4096 bytes before its end"},
		{"qcow2", replace("disk", 0, 0), "/disk is not a qcow2 image"},
		{"tcmu-file-zbc", replace("disk", 0, 0), "/disk is not a file_zbc disk: it does not begin with CBZU"},
		{"tcmu-file-zbc", replace("disk", 4, 0, 0, 0, 0), "/disk is a host-aware disk, which may be written anywhere below its write pointers; that is not supported"},
		{"zoned-raw", replace("disk", 0, 0), "/disk is not a zoned raw image: it has no zoned header"},
		{"zoned-raw", replace("disk", 40, 7), "/disk: zone model 7 is not supported; only none and host-managed are"},
		{"gzoned", cut("disk", 4096), "/disk is not a gzoned provider: its last sector does not begin with GEOM::ZONED"},
		{"libzbc-fake", replace("disk.meta", 168+25, 5), "/disk.meta: zone 3 is inactive, which is not supported"},
		{"zloop", func(files map[string][]byte) { delete(files, "disk/seq-000002") }, "/disk: the file of zone 2 is missing"},
		{"zloop", func(files map[string][]byte) { clear(files); files["disk/readme"] = nil }, "/disk has no file seq-000000 or cnv-000000"},
		{"rublk", replace("disk/superblock", 0, []byte("3 0")...), "/disk: invalid geometry: 3 zones of 0 bytes, capacity 0 bytes"},
		{"rublk", replace("disk/superblock", 0, []byte("-3 1 1 2 2")...), "/disk/superblock: invalid size -3 MiB or zone size 1 MiB"},
	} {
		x := readFixture(t, "../../../testdata/foreign/"+c.fixture+".txt")
		for name, b := range x.files {
			x.files[name] = bytes.Clone(b)
		}
		c.damage(x.files)
		fsys, path := x.place()
		in := &foreign.Input{FS: fsys, Path: path, Format: formatOf(c.fixture), Geometry: x.geometry}
		d, err := in.Format.Decode(in)
		if err == nil { // the zones are read when they are wanted
			for _, z := range d.Contents {
				for _, err = range z.Zones.All(0, z.NS.ZoneCount) {
					if err != nil {
						break
					}
				}
			}
		}
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.fixture, err, c.want)
		}
		if err := in.Close(); err != nil {
			t.Error(err)
		}
	}
}
