//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"zimg/image/drive/tcp/host"
)

// While an image is served its zones are shown as they are, and changes of zones, faults and snapshots are those of the
// live drive, as its host sees it.
func TestServeControl(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), strings.Repeat("long", 55), "d.zimg")
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	zimg(t, "create", "--zones", "8", "--zone-size", "1M", "--block-size", "4096", path)
	s := startServing(t, "-q", "--nqn", serveNQN, "--fault", "zone=7,op=write,status=write-fault,count=1", path)
	c, err := connectHost(s, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	data, read := bytes.Repeat([]byte("zimg"), 1024), make([]byte, 4096)
	do := func(op uint8, lba uint64, dw13 uint32, want uint16) {
		t.Helper()
		var out, in []byte
		switch op {
		case 1:
			out = data
		case 2:
			in = read
		}
		cpl, err := c.IO[0].Do(zoneCommand(op, lba, 0, dw13), out, in)
		if err != nil {
			t.Fatal(err)
		}
		if got := statusField(cpl); got != want {
			t.Errorf("command %#x at LBA %d: status %#x, want %#x", op, lba, got, want)
		}
	}
	zone := func(z int, want string) {
		t.Helper()
		got := strings.TrimSpace(zimg(t, "report", "-o", "csv", "--zone", fmt.Sprint(z), path))
		if !strings.Contains(got, want) {
			t.Errorf("zone %d: %s, want %s", z, got, want)
		}
	}
	const write, readOp, manage = 1, 2, 0x79
	do(write, 0, 0, 0)
	zone(0, "implicitly-opened")
	if out := zimg(t, "info", path); !strings.Contains(out, "1 Implicitly Opened") {
		t.Errorf("info: %s", out)
	}
	if out := zimg(t, "dump", path); !strings.Contains(out, `"written": 1`) {
		t.Errorf("dump: %s", out)
	}
	zimg(t, "map", path)

	zimg(t, "zone", "finish", path, "0")
	do(write, 1, 0, 0x41B9)
	zone(0, "full")
	zimg(t, "zone", "reset", path, "0")
	do(write, 0, 0, 0)
	zimg(t, "zone", "offline", path, "2")
	do(readOp, 512, 0, 0x41BB)
	zimg(t, "zone", "read-only", path, "3")
	do(write, 768, 0, 0x41BA)
	zimg(t, "zone", "set-wp", "--written", "4", path, "4")
	do(write, 1024, 0, 0x41BC)
	do(write, 1028, 0, 0)
	if out := zimg(t, "zone", "finish", path, "all"); out != "2 zones changed.\n" { // of the host's and set-wp's
		t.Errorf("finish all: %s", out)
	}
	if _, errs, code := zimgStatus("zone", "open", path, "4-5"); code != 1 || !strings.Contains(errs, "zone 4") {
		t.Errorf("a full zone is opened: %d, %s", code, errs)
	}
	if _, errs, code := zimgStatus("zone", "set-ext", "--text", "x", path, "5"); code != 1 || !strings.Contains(errs, "pid") {
		t.Errorf("set-ext: %d, %s", code, errs)
	}

	do(write, 1792, 0, 0x4280) // --fault, once
	do(write, 1792, 0, 0)
	zimg(t, "fault", "add", "--zone", "0", "--op", "read", "--status", "unrecovered-read", path)
	zimg(t, "fault", "add", "--lba", "1280-1281", "--op", "zone", "--status", "busy", "--count", "1", path)
	do(readOp, 0, 0, 0x4281)
	do(readOp, 0, 0, 0x4281)
	do(readOp, 1792, 0, 0)
	if string(read) != string(data) {
		t.Errorf("read %.20q", read)
	}
	out := zimg(t, "fault", "list", "-o", "json", path)
	if err := checkSchema("fault-list", out); err != nil {
		t.Error(err)
	}
	if strings.Count(out, `"id"`) != 2 {
		t.Errorf("faults: %s", out)
	}
	do(manage, 1280, 3, 0x82)
	do(manage, 1280, 3, 0)
	zone(5, "explicitly-opened")
	zimg(t, "fault", "clear", path)
	do(readOp, 0, 0, 0)
	for _, args := range [][]string{
		{"fault", "add", "--status", "nonsense", path}, {"fault", "add", "--lba", "99999", "--status", "busy", path}, {"fault", "clear", path, "7"},
	} {
		if _, errs, code := zimgStatus(args...); code != 1 {
			t.Errorf("%v: exit %d: %s", args[:3], code, errs)
		}
	}

	zimg(t, "snapshot", "-c", "now", path)
	do(write, 1793, 0, 0)
	snapshot := path + ".zsnap/now.zimg"
	zimg(t, "check", "--data", snapshot)
	if out := zimg(t, "read", "--lba", "1792", "--count", "1", snapshot); out != string(data) {
		t.Errorf("the snapshot has %.20q", out)
	}
	if out := zimg(t, "report", "-o", "csv", "--zone", "7", snapshot); !strings.Contains(out, "1793") {
		t.Errorf("the snapshot's zone 7: %s", out)
	}
	c.Close()
	if code := s.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit %d\n%s", code, s)
	}
	if _, err := os.Lstat(path + ".zctl"); !os.IsNotExist(err) {
		t.Errorf("the socket is left: %v", err)
	}
	zimg(t, "check", "--data", path)
	if _, errs, code := zimgStatus("fault", "list", path); code != 1 || !strings.Contains(errs, "not being served") {
		t.Errorf("fault list: %d, %s", code, errs)
	}
}

// statusField is the status of a completion without the phase bit.
func statusField(c host.Completion) uint16 { return uint16(c.Status) }

// After a service was killed its zones are shown as it left them, with a warning, although no flush has committed them.
func TestServeKilledShowsZones(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "d.zimg")
	zimg(t, "create", "--zones", "8", "--zone-size", "1M", "--block-size", "4096", path)
	s := startServing(t, "-q", "--nqn", serveNQN, path)
	c, err := connectHost(s, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	data := bytes.Repeat([]byte("zimg"), 2048)
	if cpl, err := c.IO[0].Do(zoneCommand(1, 512, 1, 0), data, nil); err != nil || cpl.Status != 0 {
		t.Fatalf("%+v, %v", cpl, err)
	}
	s.end(syscall.SIGKILL)
	for _, c := range []struct{ args, want string }{
		{"report -o csv --zone 2", "implicitly-opened,512,256,256,514,2"},
		{"info", "1 Implicitly Opened"},
		{"read --lba 512 --count 2", string(data)},
	} {
		out, errs, code := zimgStatus(append(strings.Fields(c.args), path)...)
		if code != 0 || !strings.Contains(out, c.want) || !strings.Contains(errs, "was killed; these are the zones that it left") {
			t.Errorf("%s: exit %d\n%.200s%s", c.args, code, out, errs)
		}
	}
}
