package all_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"zimg/image/imagetest"
	"zimg/image/transfer"

	"zimg/fsck"
	"zimg/image"
	"zimg/image/disk"
	"zimg/image/foreign"
	"zimg/layout"
)

// tcmuHandler is tcmu-runner's handler file_zbc: a library that wants nothing but what
// testdata/tcmu.c has. The package is not installed, for that would start a service; it is fetched once.
func tcmuHandler(t *testing.T) string {
	t.Helper()
	imagetest.NeedsPrograms(t, "tcmu-runner")
	const cache = "../../../.cache"
	find := func(root string) string {
		found, _ := filepath.Glob(filepath.Join(root, "usr/lib/*/tcmu-runner/handler_file_zbc.so"))
		if len(found) == 0 {
			return ""
		}
		path, err := filepath.Abs(found[0])
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, root := range []string{"/", cache + "/tcmu-runner"} {
		if path := find(root); path != "" {
			return path
		}
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(cache, "tmp-")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	run := exec.Command("sh", "-ec", "get() { apt-get download -q tcmu-runner; }; get || { apt-get update -q; get; }; dpkg-deb -x tcmu-runner_*.deb root")
	run.Dir = dir
	if out, err := run.CombinedOutput(); err != nil {
		t.Fatalf("the package tcmu-runner: %v: %s", err, out)
	}
	if err := os.Rename(filepath.Join(dir, "root"), cache+"/tcmu-runner"); err != nil && !errors.Is(err, fs.ErrExist) {
		t.Fatal(err)
	}
	path := find(cache + "/tcmu-runner")
	if path == "" {
		t.Fatal("the package tcmu-runner has no handler_file_zbc.so")
	}
	return path
}

// tcmu starts the handler on the file of config, and returns what it says.
func tcmu(t *testing.T) func(config string, size int64, writes ...layout.LBA) string {
	t.Helper()
	handler := tcmuHandler(t)
	bin := compiled(t, "testdata/tcmu.c", "-ldl")
	return func(config string, size int64, writes ...layout.LBA) string {
		args := []string{handler, config, fmt.Sprint(size)}
		for _, w := range writes {
			args = append(args, fmt.Sprint(w))
		}
		return said(t, bin, args...)
	}
}

// states are the zones of c as the C programs print them.
func states(t *testing.T, c *foreign.Content) string {
	t.Helper()
	var b strings.Builder
	var i uint64
	for z, err := range c.Zones.All(0, c.NS.ZoneCount) {
		if err != nil {
			t.Fatal(err)
		}
		wp := uint64(z.Written)
		if z.Type == layout.Conventional {
			wp = 1<<64 - 1
		}
		fmt.Fprintf(&b, "zone %d type %d condition %d reset %d length %d start %d wp %d\n", i, z.Type, z.State, z.Attrs&layout.RZR/layout.RZR, c.NS.ZoneSize, z.Start, wp)
		i++
	}
	return b.String()
}

// exported makes a file with zones in every state at path.
func exported(t *testing.T, path string, f *foreign.Format, limit uint32) *foreign.Content {
	t.Helper()
	n := layout.Namespace{ID: 1, CSI: layout.ZNS, BlockBits: 12, ZoneSize: 256, ZoneCap: 256, ZoneCount: 7, Blocks: 7 * 256, MAR: layout.ZeroBased(limit), MOR: layout.ZeroBased(limit)}
	z := []layout.Zone{
		foreign.ConventionalZone(&n, 0), imagetest.Sequential(&n, 1, layout.Closed, 256+3), imagetest.Sequential(&n, 2, layout.Full, 3*256), n.EmptyZone(3),
		imagetest.Sequential(&n, 4, layout.ReadOnly, 4*256+2), imagetest.Sequential(&n, 5, layout.Offline, 5*256), n.EmptyZone(6),
	}
	z[1].Attrs = layout.RZR
	c := &foreign.Content{NS: &n, Zones: &layout.ZoneSlice{Table: z}}
	own := path + ".zimg"
	err := image.Create(own, image.CreateOptions{Namespaces: []image.NamespaceSpec{{Namespace: n}}, Zones: []layout.Zones{c.Zones}, Force: true, Fill: func(data []disk.File, _ *layout.Plan) error {
		_, err := data[0].WriteAt(bytes.Repeat([]byte("d"), 8192), 256*4096)
		return err
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := transfer.Copy(own, path, transfer.Options{To: f, Force: true}); err != nil {
		t.Fatal(err)
	}
	return c
}

// tcmu-runner's own code takes our files as they are, and can write to them; what it makes of a file with a
// field changed is what our check says; and we read what it makes.
func TestTcmuHandler(t *testing.T) {
	run := tcmu(t)
	f := formatOf("tcmu-file-zbc")
	path := filepath.Join(t.TempDir(), "disk")
	const size = 7 << 20
	for _, limit := range []uint32{0, 3, 100} {
		c := exported(t, path, f, limit)
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := run("zbc/"+path, size), states(t, c); got != want {
			t.Errorf("max-open %d: the handler says\n%swant\n%s", limit, got, want)
		}
		if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
			t.Errorf("max-open %d: the handler has changed the file (%v)", limit, err)
		}
		if got := run("zbc/"+path, size, 256+3, 3*256); !strings.HasSuffix(got, "write 259: 0000\nwrite 768: 0000\n") {
			t.Errorf("max-open %d: %s", limit, got)
		}
	}

	for _, c := range []struct {
		off   int64
		value string
	}{
		{0, "u32:0x555A4244"},
		{4, "u32:5"},
		{8, "u64:1791"},
		{16, "u32:1024"},
		{20, "u32:255"},
		{20, "u32:128"},
		{24, "u32:8"},
		{28, "u32:7"},
		{28, "u32:6"},
		{32, "u32:8"},
		{32, "u32:7"},
		{32, "u32:0"},
		{36, "u32:9 u32:9"}, // header
		{48 + 24, "02"},
		{48 + 25, "01"},
		{48 + 16, "u64:5"}, // zone 0
		{112 + 24, "00"},
		{112 + 24, "01"},
		{112 + 24, "01 00"},
		{112 + 24, "03"},
		{112 + 24, "04"},
		{112, "u64:257"},
		{112 + 8, "u64:257"},
		{112 + 8, "u64:255"},
		{112 + 16, "u64:9999"},
		{112 + 25, "02"},
		{112 + 25, "07"},
		{112 + 27, "ff"}, // zone 1
	} {
		exported(t, path, f, 3)
		patch(t, path, c.off, c.value)
		wiped, err := resets(path, f)
		wiped = wiped || err != nil
		got := run("zbc/"+path, size)
		if really := !strings.Contains(got, fmt.Sprintf("zone 2 type 2 condition %d ", layout.Full)); wiped != really {
			t.Errorf("%s at %d: our check says wiped: %v (%v); the handler's zones are\n%s", c.value, c.off, wiped, err, got)
		}
	}

	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	// Five zones are written and two may be open: the handler closes the others.
	run("zbc/lba-4096/zsize-1/conv-1/open-2@"+path, size, 256, 257, 2*256, 3*256, 4*256, 5*256)
	d, closer, err := transfer.Open(path, f, transfer.Options{}, false)
	if err != nil {
		t.Fatal(err)
	}
	if n := d.Contents[0].NS; n.MaxOpen() != 2 || n.MaxActive() != 0 {
		t.Errorf("max open %d, max active %d, want 2 and no limit", n.MaxOpen(), n.MaxActive())
	}
	if r, err := fsck.CheckForeign(path, func() (*foreign.Decoded, error) { return d, nil }, fsck.Options{}); err != nil || r.Errors > 0 || r.Warnings > 0 {
		t.Errorf("check of what the handler made: %v, %+v", err, r)
	}
	zones := states(t, d.Contents[0])
	if err := errors.Join(closer(), transfer.Copy(path, path+".back", transfer.Options{From: f})); err != nil {
		t.Fatal(err)
	}
	if got := strings.ReplaceAll(zones, fmt.Sprintf("condition %d", layout.ImplicitlyOpened), fmt.Sprintf("condition %d", layout.Closed)); got != run("zbc/"+path, size) {
		t.Errorf("of a file that it made the handler does not say\n%s", got)
	}
	if r, err := fsck.Check(path+".back", fsck.Options{Data: fsck.DataAlways}); err != nil || r.Errors > 0 || r.Warnings > 0 {
		t.Errorf("check of the import: %v, %+v", err, r)
	}
	b := make([]byte, 8192)
	back, err := os.Open(path + ".back")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := back.ReadAt(b, 256*4096); err != nil || string(b) != strings.Repeat("w", 8192) {
		t.Errorf("%v, %q", err, b[:16])
	}
	_ = back.Close()
}

// patch writes value, as in a fixture, into a file.
func patch(t *testing.T, path string, off int64, value string) {
	t.Helper()
	b, err := parseBytes(value)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt(b, off); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}
