//go:build unix

package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var tortureSeed = flag.Uint64("torture-seed", 0, "seed of the moments at which QEMU is killed; 0 for a new one")

// tortures are file systems that are killed over and over. Each boot of a guest checks the file system and the files whose
// sync it was told of, from $first to $last, and then writes more, while somebody reads the raw device.
var tortures = []struct {
	name   string
	create []string
	script string
}{
	{"btrfs", []string{"--like", "btrfs", "--zones", "64"}, `
modprobe btrfs
if [ $last = 0 ]; then mkfs.btrfs -q -O zoned -d single -m single $d || exit 1
else
	mount $d /mnt && umount /mnt || { dmesg | tail -20; blkzone report $d | head -4; exit 1; } # replays the tree log
	btrfs check --readonly $d >/tmp/check 2>&1 || { cat /tmp/check; exit 1; }
fi
mount $d /mnt || exit 1
`},
	{"f2fs", []string{"--ns", "zones=64,zone-size=2M", "--ns", "type=nvm,size=64M"}, `
modprobe f2fs
if [ $last = 0 ]; then mkfs.f2fs -q -m -f -c $d /dev/nvme0n2 >/tmp/mkfs 2>&1 || { cat /tmp/mkfs; exit 1; }
else
	mount -t f2fs /dev/nvme0n2 /mnt && umount /mnt || { dmesg | tail -20; exit 1; }
	fsck.f2fs --dry-run -d 0 /dev/nvme0n2 >/tmp/check 2>&1 || { cat /tmp/check; exit 1; }
fi
mount -t f2fs /dev/nvme0n2 /mnt || exit 1
`},
}

// files writes and syncs files, each of which is known by its number, and keeps the last 20.
const tortureFiles = `
cd /mnt
n=$first; while [ $n -le $last ]; do
	yes "file $n" | head -c $((n * 7919 % 200000)) | cmp - file.$n || exit 1
	n=$((n + 1))
done
echo "verified"
(while :; do for s in 0 1 2 3 5 7 9 16 40; do dd if=$d of=/dev/null bs=1M skip=$s count=2 2>/dev/null; done; done) &
n=$last; while :; do
	n=$((n + 1)); yes "file $n" | head -c $((n * 7919 % 200000)) >file.$n; sync; echo "synced $n"
	echo "removing $((n - 20))"; rm -f file.$((n - 20))
done
`

// Every file system mounts and checks clean, and every synced byte is there, however often QEMU is killed.
func TestRunTorture(t *testing.T) {
	if testing.Short() {
		t.Skip("boots many guests")
	}
	seed := *tortureSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-torture-seed %d", seed)
	for k, c := range tortures {
		t.Run(c.name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, uint64(k)))
			path := filepath.Join(t.TempDir(), "d.zimg")
			zimg(t, append(append([]string{"create", "-q"}, c.create...), path)...)
			first, last, files := 1, 0, 0
			for round := range kills(t) {
				head := fmt.Sprintf("d=/dev/nvme0n1; first=%d; last=%d\n", first, last)
				out, stderr := tortured(t, random, path, head+c.script+tortureFiles)
				if !strings.Contains(out, "verified\n") {
					t.Fatalf("round %d, files %d to %d:\n%s\n%s", round, first, last, out, stderr)
				}
				files += last - first + 1
				for line := range strings.Lines(out) {
					n := 0
					if _, err := fmt.Sscanf(line, "synced %d\n", &n); err == nil {
						last = n
					}
					if _, err := fmt.Sscanf(line, "removing %d\n", &n); err == nil {
						first = max(first, n+1)
					}
				}
				if out, errs, code := zimgStatus("check", "--data", path); code != 0 {
					t.Fatalf("round %d: check: exit %d\n%s%s", round, code, out, errs)
				}
			}
			t.Logf("%d synced files were there", files)
		})
	}
}

// tortured boots a guest, kills QEMU at a random moment after the script has verified what is there, and returns what it
// printed, and zimg's messages.
func tortured(t *testing.T, random *rand.Rand, path, script string) (out, stderr string) {
	t.Helper()
	vm, err := runner(t, path).Start(t.Context(), nil, script)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	if _, err := vm.WaitLine(ctx, "verified"); err == nil {
		select { // a moment of its own, not a wait for something
		case <-time.After(time.Duration(random.IntN(4000)) * time.Millisecond):
		case <-ctx.Done():
		}
		if err := vm.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	res, _ := vm.Wait()
	return res.Output, res.Stderr
}
