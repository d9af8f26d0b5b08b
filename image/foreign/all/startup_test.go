package all_test

import (
	"path/filepath"
	"strings"
	"testing"

	"zimg/image/foreign"
)

// What the originals check when they start, condition by condition: one field of a good file is
// changed, and the check says what the original would do about it. Where decoding is
// impossible then, the error says it.
func TestStartup(t *testing.T) {
	for _, c := range []struct {
		fixture, file string
		off           int
		value         string // as in a fixture
		verdict       foreign.Verdict
		want          string // part of the problem's text, or of the error
	}{
		{"zone-file", "disk.zones", 4, "u32:2", foreign.Wiped, "QEMU would reset all zones"},
		{"zone-file", "disk.zones", 4096, "03", foreign.Wiped, "condition 9"},
		{"zone-file", "disk.zones", 4104, "u64:5", foreign.Wiped, "condition 10"},
		{"zone-file", "disk.zones", 4200, "u64:9", foreign.Wiped, "condition 11"},
		{"zone-file", "disk.zones", 4296, "u64:17", foreign.Wiped, "condition 12"},
		{"zone-file", "disk.zones", 4208, "u64:14", foreign.Wiped, "condition 13"},
		{"zone-file", "disk.zones", 4208, "u64:7", foreign.Wiped, "condition 13"},
		{"zone-file", "disk.zones", 4120, "u64:8", foreign.Wiped, "condition 14"},
		{"zone-file", "disk.zones", 4185, "50", foreign.Wiped, "condition 15"},
		{"zone-file", "disk.zones", 48, "u32:1", foreign.Wiped, "condition 16"},
		{"zone-file", "disk.zones", 64, "u32:1", foreign.Wiped, "condition 17"},
		{"zone-file", "disk.zones", 80, "u32:2", foreign.Wiped, "condition 18"},
		{"zone-file", "disk.zones", 96, "u32:0", foreign.Wiped, "condition 19"},
		{"zone-file", "disk.zones", 72, "u32:2", foreign.Odd, "entry 0 is zone 2, which is Empty"},
		{"zone-file", "disk.zones", 4256, "u32:0", foreign.Odd, "does not end with its tail"},
		{"zone-file", "disk.zones", 4248, "u64:8", foreign.Odd, "w_ptr"},
		{"zone-file", "disk.zones", 105, "01", foreign.Odd, "dirty"},
		{"zone-file", "disk.zones", 4256, "u32:1", foreign.Odd, "does not end with its tail"},
		{"zone-file", "disk.zones", 4344, "u32:1", foreign.Odd, "has list links"},
		{"zone-file-v3", "disk.zones", 4185, "20", foreign.Refused, "up to series v3 aborts"},
		{"zone-file-v3", "disk.zones", 4185, "20 00 00 00 00 00 00 06 00 00 00 00 00 00 00 08 00 00 00 00 00 00 00 08 00 00 00 00 00 00 00", foreign.Wiped, "leaves it in its list"},
		{"zone-file-v3", "disk.zones", 64, "u32:1", foreign.Wiped, "condition 17 fails and QEMU resets all zones: up to series v3"},
		{"zone-file-v3", "disk.zones", 4256, "u32:1", foreign.Odd, "does not point back"},
		{"pstate", "disk.pstate", 4, "u32:2", foreign.Refused, "version is 2"},
		{"pstate", "disk.pstate", 8, "u64:12800", foreign.Refused, "length of the data device"},
		{"pstate", "disk.pstate", 4164, "60", foreign.Refused, "zone state; QEMU refuses"},
		{"pstate", "disk.pstate", 4096, "0f 00 01", foreign.Changed, "QEMU makes it Full"},
		{"pstate-32bit", "disk.pstate", 4096, "ff 01", foreign.Odd, "the bitmap has"},
		{"pstate", "disk.pstate", 17, "00", foreign.Odd, "command set"},
		{"pstate", "disk.pstate", 18, "01", foreign.Odd, "reserved bytes of the header"},
		{"pstate", "disk.pstate", 4096, "4f", foreign.Odd, "written up to 7, above the capacity"},
		{"pstate", "disk.pstate", 4107, "u64:5", foreign.Odd, "a capacity of 5 blocks"},
		{"pstate-32bit", "disk.pstate", 4096, "ef", foreign.Odd, "block 4, below the write pointer"},
		{"pstate-32bit", "disk.pstate", 5144, "u64:0", foreign.Changed, "QEMU makes it Empty"},
		{"pstate-v0", "disk.zoneinfo", 1, "40", foreign.Changed, "as finished by the controller"},
		{"pstate-footer", "disk.pstate", 4351, "01", foreign.Odd, "the footer is not"},
		{"pstate-footer", "disk.pstate", 260, "u32:2", foreign.Refused, "QEMU refuses to start"},
		{"pstate-footer", "disk.pstate", 65, "70", foreign.Refused, "zone state; QEMU refuses"},
		{"pstate-footer", "disk.pstate", 66, "80", foreign.Odd, "overlap"},
		{"zoned-raw", "disk", 16904, "u64:0xffffffff90000000", foreign.Odd, "32 bits"},
		{"zoned-raw", "disk", 40, "00", foreign.Odd, "without zones"},
		{"zoned-raw", "disk", 20, "u32:1", foreign.Odd, "max_open_zones"},
		{"zoned-raw", "disk", 32, "u64:16920", foreign.Refused, "device size 16920 in a file of 16928"},
		{"zoned-raw", "disk", 4, "u32:4608", foreign.Odd, "overlap the data of the last zone"},
		{"zoned-raw", "disk", 4, "u32:2 u64:4096 u64:8192", foreign.Refused, "earliest variant"},
		{"zoned-raw-b", "disk", 45, "u32:2 u32:3", foreign.Odd, "max_open_zones"},
		{"zoned-raw-b", "disk", 0, "u64:9000", foreign.Refused, "device size 9000"},
		{"zoned-raw", "disk", 16912, "u64:0xe000000000002e00", foreign.Odd, "write pointer of a Full zone"},
		{"zoned-raw", "disk", 16896, "u64:0x1000000000000000", foreign.Odd, "without their mark"},
		{"zoned-raw", "disk", 8, "u32:9", foreign.Refused, "adds up"},
		{"qcow2", "disk", 136, "be32:4", foreign.Refused, "arithmetic"},
		{"qcow2", "disk", 24, "be64:16384", foreign.Refused, "QEMU refuses the image"},
		{"qcow2", "disk", 148, "be32:3000", foreign.Refused, "max_append_bytes"},
		{"qcow2", "disk", 79, "00", foreign.Odd, "feature bit 5"},
		{"qcow2", "disk", 131078, "00 00", foreign.Odd, "no refcount"},
		{"qcow2", "disk", 196616, "u64:0x0800000000001000", foreign.Odd, "mark of a conventional zone"},
		{"qcow2", "disk", 196616, "u64:0x5000", foreign.Odd, "QEMU takes for Full"},
		{"qcow2", "disk", 196616, "u64:0x4000000000001200", foreign.Odd, "QEMU takes for Full"},
		{"qcow2", "disk", 196624, "u64:0x1000", foreign.Odd, "without a write pointer"},
		{"qcow2", "disk", 112, "00", foreign.Refused, "zoned is 0"},
		{"qcow2", "disk", 116, "be64:0", foreign.Refused, "zone_size is 0"},
		{"qcow2", "disk", 124, "be64:8192", foreign.Refused, "zone_capacity is 8192"},
		{"qcow2", "disk", 132, "be32:3", foreign.Refused, "conventional_zones is 3"},
		{"qcow2", "disk", 140, "be32:4", foreign.Refused, "limits that do not fit"},
		{"qcow2", "disk", 144, "be32:3", foreign.Refused, "limits that do not fit"},
		{"qcow2", "disk", 140, "be32:0", foreign.Refused, "limits that do not fit"},
		{"qcow2-v5", "disk", 136, "be32:4", foreign.Odd, "QEMU cuts them"},
		{"qcow2", "disk", 160, "be64:0x30008", foreign.Odd, "not on a cluster"},
		{"qcow2", "disk", 160, "be64:0", foreign.Odd, "overlap the header"},
		{"qcow2", "disk", 160, "be64:0x10000", foreign.Odd, "overlap the reference count table"},
		{"qcow2", "disk", 40, "be64:0x30000", foreign.Odd, "overlap the L1 table"},
		{"qcow2-small", "disk", 1544, "be64:0x8000000000000800", foreign.Odd, "data above the write pointer"},
		{"qcow2", "disk", 36, "be32:0", foreign.Refused, "l1_size"},
		{"qcow2", "disk", 36, "be32:0x400001", foreign.Refused, "l1_size"},
		{"qcow2", "disk", 56, "be32:0", foreign.Refused, "reference count table"},
		{"qcow2", "disk", 72, "be64:0x21", foreign.Odd, "dirty"},
		{"qcow2", "disk", 72, "be64:0x22", foreign.Refused, "no corrupt bit"},
		{"qcow2", "disk", 65536, "be64:0x7fffffff0000", foreign.Odd, "cannot be read"},
		{"qcow2-v3", "disk", 79, "20", foreign.Refused, "does not know"},
		{"qcow2-small", "disk", 1032, "u64:512", foreign.Odd, "without a write pointer"},
		{"qcow2-small", "disk", 1536, "be64:0x8000000000000400", foreign.Odd, "on top of the write pointers"},
		{"zbd-dump", "disk_zone_info.dump", 296, "u32:4", foreign.Changed, "does not set this state"},
		{"zbd-dump", "disk_zone_info.dump", 280, "u64:4096 u32:0 u32:2 u32:4", foreign.Refused, "fails at this zone"},
		{"zbd-dump", "disk_zone_info.dump", 88, "u32:2", foreign.Refused, "host-managed"},
		{"tcmu-file-zbc", "disk", 4, "u32:5", foreign.Wiped, "tcmu-runner would reset all zones"},
		{"tcmu-file-zbc", "disk", 24, "u32:5", foreign.Wiped, "tcmu-runner would reset all zones"},
		{"tcmu-file-zbc", "disk", 28, "u32:4", foreign.Wiped, "tcmu-runner would reset all zones"},
		{"tcmu-file-zbc", "disk", 8, "u64:31", foreign.Wiped, "data area"},
		{"tcmu-file-zbc", "disk", 32, "u32:9", foreign.Wiped, "nr_open_zones; tcmu-runner resets"},
		{"tcmu-file-zbc", "disk", 32, "u32:0", foreign.Odd, "refuses every write"},
		{"tcmu-file-zbc", "disk", 136, "03", foreign.Wiped, "zone type; tcmu-runner resets"},
		{"tcmu-file-zbc", "disk", 136, "01 00", foreign.Odd, "differs from the number of conventional zones"},
		{"tcmu-file-zbc", "disk", 120, "u64:9", foreign.Wiped, "zone length; tcmu-runner resets"},
		{"tcmu-file-zbc", "disk", 120, "u64:7", foreign.Odd, "zone length"},
		{"tcmu-file-zbc", "disk", 8, "u64:24 u32:512 u32:8 u32:3", foreign.Wiped, "hosts of no page size"},
		{"tcmu-file-zbc", "disk", 73, "01", foreign.Wiped, "condition of a conventional zone"},
		{"tcmu-file-zbc", "disk", 112, "u64:9", foreign.Wiped, "zone start; tcmu-runner resets"},
		{"tcmu-file-zbc", "disk", 32, "u32:0", foreign.Changed, "tcmu-runner closes it"},
		{"tcmu-file-zbc", "disk", 192, "u64:23", foreign.Odd, "write pointer of a Full zone"},
		{"gzoned", "disk", 12800, "00", foreign.Wiped, "takes all zones for Empty"},
		{"gzoned", "disk", 12820, "u32:4", foreign.Wiped, "takes all zones for Empty"},
		{"gzoned", "disk", 13324, "u32:9", foreign.Wiped, "gzoned resets the zone"},
		{"gzoned-review", "disk", 13336, "u64:7", foreign.Wiped, "gzoned resets the zone"},
		{"gzoned", "disk", 13856, "u32:4096", foreign.Refused, "gzoned ignores the provider"},
		{"gzoned", "disk", 14128, "u32:2", foreign.Refused, "flags (gzoned refuses"},
		{"gzoned", "disk", 13860, "u32:17", foreign.Refused, "ranges (gzoned refuses"},
		{"gzoned", "disk", 13880, "u64:0", foreign.Refused, "range (gzoned refuses"},
		{"gzoned", "disk", 13872, "u64:3", foreign.Refused, "range (gzoned refuses"},
		{"gzoned", "disk", 13840, "u32:2", foreign.Refused, "gzoned ignores the provider"},
		{"gzoned", "disk", 13864, "u64:14848", foreign.Refused, "gzoned ignores the provider"},
		{"gzoned", "disk", 13856, "u32:3 u32:4 u64:5", foreign.Refused, "no known layout has its sector size and length"},
		{"libzbc-fake", "disk.meta", 20, "u32:0", foreign.Odd, "counter of open zones"},
		{"libzbc-fake", "disk.meta", 0, "u64:32768", foreign.Refused, "libzbc ignores the metadata"},
		{"libzbc-fake", "disk.meta", 161, "05", foreign.Refused, "inactive"},
	} {
		name := c.fixture + ": " + c.want
		x := readFixture(t, filepath.Join("../../../testdata/foreign", c.fixture+".txt"))
		b, err := parseBytes(c.value)
		if err != nil {
			t.Fatal(name, err)
		}
		copy(x.files[c.file][c.off:], b)
		fsys, path := x.place()
		in := &foreign.Input{FS: fsys, Path: path, Geometry: x.geometry, Format: formatOf(c.fixture)}
		found := false
		note := func(p foreign.Problem) error {
			found = found || p.Verdict == c.verdict && strings.Contains(p.Text, c.want) && p.File != ""
			return nil
		}
		d, err := in.Format.Decode(in)
		if err == nil {
			for _, p := range d.Problems {
				_ = note(p)
			}
			err = d.Walk(note)
			for z, zerr := range d.Contents[0].Zones.All(0, d.Contents[0].NS.ZoneCount) {
				if err == nil && zerr != nil {
					_, err = z, zerr
				}
			}
		}
		if !found && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: not found (%v)", name, err)
		}
		_ = in.Close()
	}
}

// Directories: what the drivers refuse.
func TestStartupOfDirectories(t *testing.T) {
	for _, c := range []struct {
		fixture string
		change  func(files map[string][]byte)
		want    string
	}{
		{"zloop", func(f map[string][]byte) { delete(f, "disk/seq-000002") }, "zone 2 is missing"},
		{"zloop", func(f map[string][]byte) { delete(f, "disk/seq-000001"); delete(f, "disk/seq-000002") }, "zone 1 is missing"},
		{"zloop", func(f map[string][]byte) { f["disk/seq-99999999999999"] = nil }, "zone 5 is missing"},
		{"zloop", func(f map[string][]byte) { f["disk/cnv-000001"] = make([]byte, 4096) }, "two files for zone 1"},
		{"zloop", func(f map[string][]byte) { f["disk/cnv-000005"] = make([]byte, 4096) }, "after a sequential one"},
		{"zloop", func(f map[string][]byte) { f["disk/seq-000001"] = make([]byte, 3500) }, "a zone has 3072; the driver rejects the device"},
		{"zloop", func(f map[string][]byte) { f["disk/seq-000001"] = make([]byte, 1000) }, "truncate -s 512"},
		{"zloop", func(f map[string][]byte) { f["disk/cnv-000000"] = make([]byte, 512) }, "length of a conventional zone's file; zloop warns and uses it"},
		{"rublk", func(f map[string][]byte) { f["disk/superblock"] = []byte("3 1 2 2 2\n") }, "zone_nr_conv is not"},
		{"rublk", func(f map[string][]byte) { f["disk/superblock"] = []byte("4 1 1 2 2\n") }, "give 4 zones, but there are 3 files"},
		{"rublk", func(f map[string][]byte) {
			f["disk/superblock.json"] = []byte(`{"size":3145728,"zone_size":1048576,"zone_capacity":1048576,"zone_nr_conv":1,"base":"/elsewhere"}`)
		}, "base is not the path of the directory"},
		{"rublk", func(f map[string][]byte) { f["disk/superblock.json"] = []byte(`{"size":`) }, "unexpected end of JSON"},
	} {
		x := readFixture(t, filepath.Join("../../../testdata/foreign", c.fixture+".txt"))
		c.change(x.files)
		fsys, path := x.place()
		in := &foreign.Input{FS: fsys, Path: path, Geometry: x.geometry, Format: formatOf(c.fixture)}
		d, err := in.Format.Decode(in)
		text := ""
		if err != nil {
			text = err.Error()
		} else {
			for _, p := range d.Problems {
				text += p.Text + " " + p.Want + "\n"
			}
		}
		if !strings.Contains(text, c.want) {
			t.Errorf("%s: no %q in %q", c.fixture, c.want, text)
		}
	}
}
