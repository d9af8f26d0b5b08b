//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// What the process that serves an image refuses is said by the command that asked for it, and changes nothing.
func TestServeRefusals(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "d.zimg")
	zimg(t, "create", "--ns", "zones=4,zone-size=1M,descr-ext-size=64", path)
	s := startServing(t, "-q", path)
	pid := s.cmd.Process.Pid
	for _, c := range []struct {
		args string
		code int
		want string // after the name of the image if it begins with a colon
	}{
		{"fault add --lba 1 --zone 2 --status busy IMAGE", 64, "--lba and --zone cannot be used together"},
		{"fault add --zone 0,2 --status busy IMAGE", 64, `invalid zones "0,2" for a fault: use one zone, one range or all`},
		{"fault add --lba 5-4 --status busy IMAGE", 64, `invalid LBA "5-4": use a number, or a range such as 8-15`},
		{"fault add --lba 5-4000 --status busy IMAGE", 1, "namespace 1 has LBAs 0 to 1023; there is no LBA 4000"},
		{"fault add --status wrong IMAGE", 1, `: invalid status "wrong": must be one of busy, guard-check, internal-error, interrupted, ` +
			"unrecovered-read, write-fault, or a status field in hexadecimal from 0x1 to 0x7fff"},
		{"fault add --op nap --status busy IMAGE", 1, `: invalid operation "nap": must be one of read, write, zone`},
		{"fault add --delay 300h IMAGE", 1, ": invalid delay 300h0m0s: must be from 0 to 1h0m0s"},
		{"fault add --delay 3s --count=-1 IMAGE", 1, ": invalid count -1: must be 1 or more, or 0 for no limit"},
		{"fault clear IMAGE 7", 1, ": there is no fault 7"},
		{"power-cut IMAGE", 1, ": the power cannot be cut at once: the drive does not record its unflushed writes\n" +
			"zimg: hint: choose a later point with --at, or serve the image with --power-cut request"},
		{"zone set-ext --text x IMAGE 1", 1, fmt.Sprintf(": set-ext is not possible while the image is in use by pid %d\n"+
			"zimg: hint: a host can set extensions: nvme zns set-zone-desc", pid)},
	} {
		want := c.want
		if strings.HasPrefix(want, ":") {
			want = path + want
		}
		_, errs, code := zimgStatus(strings.Fields(strings.ReplaceAll(c.args, "IMAGE", path))...)
		if code != c.code || !strings.HasPrefix(errs, "zimg: "+want+"\n") {
			t.Errorf("%s: exit status %d, want %d\n%swant %s", c.args, code, c.code, errs, want)
		}
	}
	zimg(t, "zone", "offline", path, "2")
	want := fmt.Sprintf("zimg: %s: namespace 1 zone 2 (Offline): Invalid Zone State Transition: "+
		"an Offline zone cannot change its state; 2 zones were changed before that\n", path)
	if _, errs, code := zimgStatus("zone", "read-only", path, "0-3"); code != 1 || errs != want {
		t.Errorf("exit status %d, %swant %s", code, errs, want)
	}
	if err := os.Remove(path + ".zctl"); err != nil {
		t.Fatal(err)
	}
	want = fmt.Sprintf("zimg: %s: in use by pid %d, which cannot be controlled: %s.zctl: nobody answers at the control socket\n"+
		"zimg: hint: end that process, or be the user that it runs as: ps -o user,args -p %d\n", path, pid, path, pid)
	if _, errs, code := zimgStatus("fault", "list", path); code != 1 || errs != want {
		t.Errorf("exit status %d, %swant %s", code, errs, want)
	}
	if code := s.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit status %d\n%s", code, s)
	}
}
