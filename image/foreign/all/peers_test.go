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

	"zimg/image"
	"zimg/image/foreign"
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

// resets tells whether our check says that the original resets zones; or why it cannot check.
func resets(path string, f *foreign.Format) (bool, error) {
	d, closer, err := image.OpenForeign(path, f, image.TransferOptions{}, false)
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
// takes or leaves as our check says; and we read what gzoned create makes.
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
		{meta + 32, "u32:0"},
		{meta + 36, "u32:512"},
		{meta + 40, "u64:4096"},
		{meta + 48, "u32:17"},
		{meta + 52, "u64:7"},
		{meta + 60, "u64:0"},
		{meta + 60, "u64:8"},
		{meta + 308, "u32:1"},
		{meta + 308, "u32:2"},
		{meta + 312, "u32:99"},
		{table, "00"},
		{table + 16, "u32:2"},
		{table + 20, "u32:6"},
		{table + 4096 + 16 + 8, "u64:255"},
		{table + 4096 + 16 + 8, "u64:513"},
		{table + 4096 + 16, "01"},
	} {
		exported(t, path, f, 3)
		patch(t, path, x.off, x.value)
		bad, err := resets(path, f)
		got := said(t, bin, "gzoned-taste", path, "4096")
		if (bad || err != nil) != (got != states(t, c)) {
			t.Errorf("%s at %d: our check says bad: %v (%v); gzoned finds\n%s", x.value, x.off-meta, bad, err, got)
		}
	}

	for _, sector := range []int64{512, 4096} {
		if err := os.WriteFile(path, make([]byte, 64<<20), 0o666); err != nil {
			t.Fatal(err)
		}
		said(t, bin, "gzoned-create", path, fmt.Sprint(sector), fmt.Sprint(8<<20), "2")
		d, closer, err := image.OpenForeign(path, f, image.TransferOptions{}, false)
		if err != nil {
			t.Fatal(err)
		}
		checkProblems(t, d, nil)
		if n := d.Contents[0].NS; n.ZoneCount != 7 || n.BlockSize() != sector {
			t.Errorf("%d zones, blocks of %d", n.ZoneCount, n.BlockSize())
		}
		if got, want := states(t, d.Contents[0]), said(t, bin, "gzoned-taste", path, fmt.Sprint(sector)); got != want {
			t.Errorf("we find\n%sgzoned finds\n%s", got, want)
		}
		_ = closer()
	}
}

// zloop, as its description has it, adds the device that an export's line describes.
func TestZloopAdds(t *testing.T) {
	bin := compiled(t, "testdata/peers.c")
	dir := t.TempDir()
	n := layout.Namespace{ID: 1, CSI: layout.ZNS, BlockBits: 12, ZoneSize: 512, ZoneCap: 256, ZoneCount: 5, Blocks: 5 * 512, MAR: layout.NoLimit, MOR: layout.NoLimit}
	c := &foreign.Content{NS: &n, Zones: &layout.ZoneSlice{Table: []layout.Zone{
		foreign.ConventionalZone(&n, 0), foreign.Sequential(&n, 1, layout.Closed, 512+3), foreign.Sequential(&n, 2, layout.Full, 2*512+256), n.EmptyZone(3), n.EmptyZone(4),
	}}}
	own := filepath.Join(dir, "own")
	if err := image.Create(own, image.CreateOptions{Namespaces: []image.NamespaceSpec{{Namespace: n}}, Zones: []layout.Zones{c.Zones}}); err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&lines, format+"\n", args...) }
	if err := image.Transfer(own, filepath.Join(dir, "7"), image.TransferOptions{To: formatOf("zloop"), Say: say}); err != nil {
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
