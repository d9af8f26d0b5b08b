//go:build linux

package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Linux sees zones that are Read Only or Offline as such. A Read Only one can be read, and nothing else; an Offline one
// refuses everything. And a zoned btrfs whose zone becomes Read Only while it is written does as on a real drive: writes fail,
// the errors reach the log, and everything that was synced before can be read.
func TestServeFailingZones(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a.zimg"), filepath.Join(dir, "b.zimg")
	zimg(t, "create", "--zones", "8", "--zone-size", "1M", "--block-size", "4096", a)
	data, want := randomFile(t, 64*1024)
	zimg(t, "write", "--zone", "2", a, data)
	zimg(t, "write", "--zone", "3", a, data)
	zimg(t, "zone", "read-only", a, "2")
	zimg(t, "zone", "offline", a, "3")
	reported := zimg(t, "report", "--output", "blkzone", a)
	zimg(t, "create", "--like", "btrfs", "--zones", "40", b)
	s := startServing(t, a, b)
	nqns := s.printedNQNs(2)
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	vm, err := builtGuest(t).Start(ctx, network, "set -e\n"+connect(s.port, nqns[0])+connectMore(s.port, nqns[1])+`
until [ -b /dev/drive1n1 ]; do usleep 10000; namespaces; done
a=/dev/drive0n1; b=/dev/drive1n1
refused() { if "$@" >/tmp/out 2>&1; then echo "not refused: $*"; cat /tmp/out; exit 1; fi; }
echo "## before"; blkzone report $a
echo "## sum"; dd if=$a bs=64K skip=32 count=1 iflag=direct 2>/dev/null | sha256sum | cut -d' ' -f1
echo "## end"
refused dd if=/dev/zero of=$a bs=4K seek=528 count=1 oflag=direct conv=notrunc # zone 2 at its write pointer
refused blkzone reset -o 4096 -l 2048 $a
refused blkzone finish -o 4096 -l 2048 $a
refused dd if=$a of=/tmp/x bs=4K skip=768 count=1 iflag=direct # zone 3
refused dd if=/dev/zero of=$a bs=4K seek=784 count=1 oflag=direct conv=notrunc
refused blkzone reset -o 6144 -l 2048 $a
blkzone reset $a # all that can be
nvme zns offline-zone -s 512 $a >/dev/null
echo "## after"; blkzone report $a; echo "## end"

modprobe btrfs
mkfs.btrfs -q -O zoned -d single -m single $b
mkdir /b; mount -o commit=300 $b /b
yes before | head -c 3000000 >/b/before; sync; echo synced
until blkzone report $b | grep -q 'zcond:13(ro)'; do usleep 10000; done
dmesg -c >/dev/null
yes after | head -c 3000000 >/b/after || true
sync || true
echo "## log"; dmesg; echo "## end"
echo 3 >/proc/sys/vm/drop_caches
yes before | head -c 3000000 | cmp - /b/before
umount /b
echo all is well
`)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := vm.WaitLine(ctx, "synced"); err != nil {
		t.Fatal(err)
	}
	// The zone that the next data goes to is the one that holds the file: it has the most in it of those that are open.
	victim := -1
	zones := zonesOf(t, b)
	for i, z := range zones {
		if z.State == "implicitly-opened" && (victim < 0 || z.Written > zones[victim].Written) {
			victim = i
		}
	}
	if victim < 0 {
		t.Fatalf("no open zone: %+v", zones)
	}
	before := zones[victim].Written
	zimg(t, "zone", "read-only", b, fmt.Sprint(victim))
	res, err := vm.Wait()
	if err != nil || res.Status != 0 || !strings.Contains(res.Output, "all is well") {
		t.Fatalf("guest: status %d, %v\n%s\n%s", res.Status, err, res.Output, res.Stderr)
	}
	if got := withoutWP(section(t, res.Output, "before")); got != reported {
		t.Errorf("Read Only and Offline zones: %s", firstDifference(got, reported))
	}
	if got, want := withoutWP(section(t, res.Output, "after")), zimg(t, "report", "--output", "blkzone", a); got != want {
		t.Errorf("after nvme zns offline-zone: %s", firstDifference(got, want))
	}
	log := section(t, res.Output, "log")
	t.Logf("zone %d of btrfs, Linux said\n%s", victim, log)
	if !strings.Contains(log, "error") {
		t.Errorf("nothing was said of the failed writes")
	}
	if got := strings.TrimSpace(section(t, res.Output, "sum")); got != want {
		t.Errorf("the Read Only zone reads as %s, want %s", got, want)
	}
	if z := zonesOf(t, b)[victim]; z.State != "read-only" || z.Written != before {
		t.Errorf("the zone that became Read Only with %d blocks: %+v", before, z)
	}
	if code := s.end(syscall.SIGTERM); code != 0 {
		t.Fatalf("exit %d\n%s", code, s)
	}
	zimg(t, "check", "--data", a)
	zimg(t, "check", "--data", b)
}
