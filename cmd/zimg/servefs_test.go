//go:build linux

package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Zoned file systems live through the death of the target and through its end while they are written: btrfs on one image,
// f2fs on another with its plain namespace. Linux connects again by itself, everything that was synced is there, and
// their checkers find nothing.
func TestServeFileSystems(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a.zimg"), filepath.Join(dir, "b.zimg")
	zimg(t, "create", "--like", "btrfs", "--zones", "40", a)
	zimg(t, "create", "--ns", "zones=200,zone-size=2M,block-size=4096", "--ns", "type=nvm,size=128M,block-size=4096", b)
	s := startServing(t, a, b)
	nqns := s.printedNQNs(2)
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	vm, err := builtGuest(t).Start(ctx, network, "set -e\n"+connect(s.port, nqns[0])+connectMore(s.port, nqns[1])+`
until [ -b /dev/drive0n1 ] && [ -b /dev/drive1n1 ] && [ -b /dev/drive1n2 ]; do usleep 10000; namespaces; done
modprobe btrfs; modprobe f2fs
mkfs.btrfs -q -O zoned -d single -m single /dev/drive0n1
mkfs.f2fs -q -f -m -c /dev/drive1n1 /dev/drive1n2
mkdir /b /f; mount /dev/drive0n1 /b; mount -t f2fs /dev/drive1n2 /f
n=0; while [ $n -lt 12 ]; do
	n=$((n + 1))
	for d in /b /f; do yes "file $n of $d" | head -c 100000 >$d/file.$n; done
	sync; echo "synced $n"
done
verify() {
	i=0; while [ $i -lt 12 ]; do
		i=$((i + 1))
		for d in /b /f; do yes "file $i of $d" | head -c 100000 | cmp - $d/file.$i; done
	done
}
verify
umount /b; umount /f
btrfs check --readonly /dev/drive0n1 >/tmp/check 2>&1 || { cat /tmp/check; exit 1; }
fsck.f2fs --dry-run /dev/drive1n2 >/tmp/check 2>&1 || { cat /tmp/check; exit 1; }
mount /dev/drive0n1 /b; mount -t f2fs /dev/drive1n2 /f
verify
umount /b; umount /f
echo all is well
`)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		line string
		sig  os.Signal
	}{{"synced 2", syscall.SIGKILL}, {"synced 5", syscall.SIGTERM}, {"synced 8", syscall.SIGKILL}} {
		if _, err := vm.WaitLine(ctx, c.line); err != nil {
			t.Fatal(err)
		}
		s.restart(c.sig)
	}
	res, err := vm.Wait()
	if err != nil || res.Status != 0 || !strings.Contains(res.Output, "all is well") {
		t.Fatalf("guest: status %d, %v\n%s\n%s", res.Status, err, res.Output, res.Stderr)
	}
	if code := s.end(syscall.SIGTERM); code != 0 {
		t.Fatalf("exit %d\n%s", code, s)
	}
	zimg(t, "check", "--data", a)
	zimg(t, "check", "--data", b)
}
