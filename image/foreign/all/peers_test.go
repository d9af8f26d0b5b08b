package all_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"zimg/image/imagetest"
	"zimg/image/transfer"

	"zimg/image"
	"zimg/image/foreign"
	"zimg/image/foreign/gzoned"
	"zimg/layout"
)

// compiled is a C program of testdata.
func compiled(t *testing.T, source string, libs ...string) string {
	t.Helper()
	imagetest.NeedsPrograms(t, "a C compiler")
	bin := filepath.Join(t.TempDir(), "program")
	args := append([]string{"-Wall", "-Wextra", "-Werror", "-rdynamic", "-o", bin, source}, libs...)
	if out, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return bin
}

// resets reports whether our check says that the original resets zones; or why it cannot check.
func resets(path string, f *foreign.Format) (bool, error) {
	d, closer, err := transfer.Open(path, f, transfer.Options{}, false)
	if err != nil {
		return false, err
	}
	found := false
	note := func(p foreign.Problem) error { found = found || p.Verdict == foreign.Wiped; return nil }
	for _, p := range d.Problems {
		_ = note(p)
	}
	return found, errors.Join(d.Walk(note), closer())
}

// said is what a program prints.
func said(t *testing.T, bin string, args ...string) string {
	t.Helper()
	out, err := exec.Command(bin, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// gzoned, as its description has it, finds in our file what was exported; a file with a field changed it
// takes or leaves as our check says.
func TestGzonedTastes(t *testing.T) {
	bin := compiled(t, "testdata/peers.c")
	f := formatOf("gzoned")
	path := filepath.Join(t.TempDir(), "disk")
	c := exported(t, path, f, 3)
	if got, want := said(t, bin, "gzoned-taste", path, "4096"), states(t, c); got != want {
		t.Errorf("gzoned finds\n%swant\n%s", got, want)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	meta, table := info.Size()-4096, info.Size()-3*4096
	for _, x := range []struct {
		off   int64
		value string
	}{
		{meta, "00"},
		{meta + 16, "u32:2"},
		{meta + 24, "u64:0"},
		{meta + 24, "u64:0x200000"},
		{meta + 32, "u32:0"},
		{meta + 32, "u32:512"},
		{meta + 36, "u32:17"},
		{meta + 40, "u64:4096"},
		{meta + 48, "u64:7"},
		{meta + 56, "u64:0"},
		{meta + 56, "u64:8"},
		{meta + 304, "u32:1"},
		{meta + 304, "u32:2"},
		{meta + 308, "u32:99"},
		{table, "00"},
		{table + 16, "u32:2"},
		{table + 20, "u32:6"},
		{table + 4096 + 8 + 4, "u32:257"},
		{table + 4096 + 8 + 4, "u32:0xffffffff"},
		{table + 4096 + 8, "01"},
	} {
		exported(t, path, f, 3)
		patch(t, path, x.off, x.value)
		bad, err := resets(path, f)
		got := said(t, bin, "gzoned-taste", path, "4096")
		if (bad || err != nil) != (got != states(t, c)) {
			t.Errorf("%s at %d: our check says bad: %v (%v); gzoned finds\n%s", x.value, x.off-meta, bad, err, got)
		}
	}
}

// Whatever layout a gzoned made the provider with, its zones are found, with and without a zone table.
func TestGzonedLayouts(t *testing.T) {
	t.Parallel()
	bin := compiled(t, "testdata/peers.c")
	f := formatOf("gzoned")
	path := filepath.Join(t.TempDir(), "disk")
	names := []string{gzoned.Named.Name, gzoned.Review.Name, gzoned.Review.Name, gzoned.Padded.Name, gzoned.Merged.Name}
	for l, name := range names {
		for _, sector := range []int64{512, 4096} {
			// 32 long entries fill a sector of 512 bytes, 64 short ones do; with 512 zones the number of zones is a sector size.
			for _, zones := range []int64{1, 2, 3, 31, 32, 33, 64, 65, 255, 256, 257, 512, 513, 1030} {
				for _, x := range []struct{ conv, limit, table int }{{0, 0, 1}, {1, 3, 1}, {1, 0, 0}, {0, 2, 0}} {
					if err := os.WriteFile(path, nil, 0o666); err != nil {
						t.Fatal(err)
					}
					const zone = 64 << 10
					if err := os.Truncate(path, zones*zone+zone-512*8+sector-512); err != nil {
						t.Fatal(err)
					}
					args := []string{"gzoned-create", path}
					for _, v := range []int64{sector, zone, int64(x.conv), int64(l), int64(x.limit), int64(x.table)} {
						args = append(args, fmt.Sprint(v))
					}
					want := said(t, bin, args...)
					what := strings.Join(args[2:], " ")
					d, closer, err := transfer.Open(path, f, transfer.Options{}, false)
					if err != nil {
						t.Errorf("%s, %d zones: %v", what, zones, err)
						continue
					}
					checkProblems(t, d, nil)
					got := states(t, d.Contents[0])
					if got != want {
						t.Errorf("%s, %d zones: we find\n%.1500swant\n%.1500s", what, zones, got, want)
					}
					fact := d.Facts[1].Value
					if x.conv == 0 && x.limit == 0 && l == 3 {
						name = gzoned.Review.Name // nothing in the metadata distinguishes them, and nothing differs
					}
					if fact != name {
						t.Errorf("%s, %d zones: layout %s, want %s", what, zones, fact, name)
					}
					if limit := d.Contents[0].NS.MaxOpen(); l > 0 && limit != uint64(x.limit) {
						t.Errorf("%s, %d zones: max-open %d, want %d", what, zones, limit, x.limit)
					}
					name = names[l]
					if err := closer(); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
}

// zloop, as its description has it, adds the device that an export's line describes.
func TestZloopAdds(t *testing.T) {
	bin := compiled(t, "testdata/peers.c")
	dir := t.TempDir()
	n := layout.Namespace{ID: 1, CSI: layout.ZNS, BlockBits: 12, ZoneSize: 512, ZoneCap: 256, ZoneCount: 5, Blocks: 5 * 512, MAR: layout.NoLimit, MOR: layout.NoLimit}
	c := &foreign.Content{NS: &n, Zones: &layout.ZoneSlice{Table: []layout.Zone{
		foreign.ConventionalZone(&n, 0), imagetest.Sequential(&n, 1, layout.Closed, 512+3), imagetest.Sequential(&n, 2, layout.Full, 2*512+256), n.EmptyZone(3), n.EmptyZone(4),
	}}}
	own := filepath.Join(dir, "own")
	if err := image.Create(own, image.CreateOptions{Namespaces: []image.NamespaceSpec{{Namespace: n}}, Zones: []layout.Zones{c.Zones}}); err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&lines, format+"\n", args...) }
	if err := transfer.Copy(own, filepath.Join(dir, "7"), transfer.Options{To: formatOf("zloop"), Say: say}); err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`'add id=7,capacity_mb=(\d+),zone_size_mb=(\d+),zone_capacity_mb=(\d+),conv_zones=(\d+),base_dir=(.*)'`).FindStringSubmatch(lines.String())
	if m == nil || m[5] != dir {
		t.Fatalf("no line that adds 7 in %s: %s", dir, lines.String())
	}
	args := append([]string{"zloop-add", filepath.Join(m[5], "7"), "4096"}, m[1:5]...)
	if got, want := said(t, bin, args...), states(t, c); got != want {
		t.Errorf("zloop finds\n%swant\n%s", got, want)
	}
}
