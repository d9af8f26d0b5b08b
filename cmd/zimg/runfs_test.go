//go:build linux

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zimg/image/imagetest"
)

// A zoned file system lives through boots: made in the first, used in all that
// follow, checked each time.
func TestRunBtrfs(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "d.zimg")
	zimg(t, "create", "--like", "btrfs", "--zones", "40", path)
	script := func(n int) string {
		return fmt.Sprintf(`
n=%d; d=/dev/nvme0n1
modprobe btrfs
if [ $n = 1 ]; then mkfs.btrfs -q -O zoned -d single -m single $d; fi
btrfs check --readonly $d >/tmp/check 2>&1 || { cat /tmp/check; exit 1; }
mount $d /mnt
cd /mnt
i=1; while [ $i -lt $n ]; do sha256sum -c sum.$i; i=$((i + 1)); done
dd if=/dev/urandom of=file.$n bs=64K count=40 2>/dev/null
[ $n -lt 3 ] || rm file.1.copy 2>/dev/null || true
cp file.$n file.$n.copy
sha256sum file.$n > sum.$n
cd /; umount /mnt
btrfs check --readonly $d >/tmp/check 2>&1 || { cat /tmp/check; exit 1; }
echo boot $n is fine
`, n)
	}
	for n := 1; n <= 5; n++ {
		out := runBoot(t, path, script(n))
		if want := fmt.Sprintf("boot %d is fine", n); !strings.Contains(out, want) || strings.Count(out, ": OK") != n-1 {
			t.Fatalf("boot %d:\n%s", n, out)
		}
		if out, errs, code := zimgStatus("check", "--data", path); code != 0 {
			t.Fatalf("boot %d: check: exit %d\n%s%s", n, code, out, errs)
		}
	}
}

// QEMU is killed while files are written and synced: the file system mounts and
// checks clean, and every file that was synced is there.
func TestRunBtrfsKilled(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "d.zimg")
	zimg(t, "create", "--like", "btrfs", "--zones", "40", path)
	vm, err := runner(t, path).Start(t.Context(), nil, `
d=/dev/nvme0n1
modprobe btrfs; mkfs.btrfs -q -O zoned -d single -m single $d; mount $d /mnt; cd /mnt
n=0; while :; do
	n=$((n + 1)); yes "file $n" | head -c 100000 >file.$n; sync; echo "synced $n"
done
`)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if _, err := vm.WaitLine(ctx, "synced 3"); err != nil {
		t.Fatal(err)
	}
	moment(ctx, rand.New(rand.NewPCG(imagetest.Seed(t), 0)), 3*time.Second)
	if err := vm.Kill(); err != nil {
		t.Fatal(err)
	}
	res, _ := vm.Wait()
	last := strings.LastIndex(res.Output, "synced ")
	var n int
	if _, err := fmt.Sscanf(res.Output[last:], "synced %d\n", &n); err != nil {
		t.Fatal(err)
	}
	n-- // the last line may be torn
	out := runBoot(t, path, fmt.Sprintf(`
d=/dev/nvme0n1
modprobe btrfs
mount $d /mnt # replays the tree log, if there is one
cd /mnt; n=1; while [ $n -le %d ]; do
	yes "file $n" | head -c 100000 | cmp - file.$n; n=$((n + 1))
done
cd /; umount /mnt
btrfs check --readonly $d 2>&1 || exit 1
echo all files are there
`, n))
	if !strings.Contains(out, "all files are there") {
		t.Fatal(out)
	}
	t.Logf("%d files", n)
}
