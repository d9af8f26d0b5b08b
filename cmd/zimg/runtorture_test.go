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

// tortures are file systems that are killed over and over. Each boot of a guest checks the file system and the files whose
// sync it has seen, from $first to $last, and then writes more, while somebody reads the raw device. A file is known by
// its number: verify and put check and write file $n, and the last 20 are kept.
var tortures = []struct {
	name   string
	create []string
	script string
}{
	{"btrfs", []string{"--like", "btrfs", "--zones", "64"}, `
modprobe btrfs
if [ $last = 0 ]; then mkfs.btrfs -q -f -O zoned -d single -m single $d || exit 1
else
	mount $d /mnt && umount /mnt || { dmesg | tail -20; blkzone report $d | head -4; exit 1; } # replays the tree log
	btrfs check --readonly $d >/tmp/check 2>&1 || { cat /tmp/check; exit 1; }
fi
mount $d /mnt || exit 1
` + tortureFiles},
	{"f2fs", []string{"--ns", "zones=64,zone-size=2M", "--ns", "type=nvm,size=64M"}, `
modprobe f2fs
if [ $last = 0 ]; then mkfs.f2fs -q -m -f -c $d /dev/drive0n2 >/tmp/mkfs 2>&1 || { cat /tmp/mkfs; exit 1; }
else
	mount -t f2fs /dev/drive0n2 /mnt && umount /mnt || { dmesg | tail -20; exit 1; }
	fsck.f2fs --dry-run -d 0 /dev/drive0n2 >/tmp/check 2>&1 || { cat /tmp/check; exit 1; }
fi
mount -t f2fs /dev/drive0n2 /mnt || exit 1
` + tortureFiles},
	// zonefs of Linux 6.1.192 takes no synchronous write, with QEMU alone as well: it looks for the place of a zone append
	// where the kernel does not say it. Files are zones: of a whole number of blocks, written without the page cache, and made anew by a reset. The
	// line that gives a file up must have left the serial port before that.
	{"zonefs", []string{"--zones", "32", "--zone-size", "1M"}, `
case $(uname -r) in 6.1.*) echo "zonefs of this kernel is broken"; exit 1 ;; esac
modprobe zonefs
if [ $last = 0 ]; then mkzonefs $d || exit 1; fi
mount -t zonefs $d /mnt || { dmesg | tail -20; blkzone report $d | head -4; exit 1; }
content() { yes "file $n" | head -c $((n * 7919 % 200000 / 4096 * 4096 + 4096)); }
verify() { content | cmp - /mnt/seq/$((n % 20)); }
put() {
	echo "removing $((n - 20))"; stty -F /dev/ttyS0 -opost
	content | dd of=/mnt/seq/$((n % 20)) bs=4K iflag=fullblock oflag=direct conv=fsync 2>/tmp/dd || { cat /tmp/dd; exit 1; }
}
`},
}

// tortureFiles writes the files of ordinary file systems.
const tortureFiles = `
content() { yes "file $n" | head -c $((n * 7919 % 200000)); }
verify() { content | cmp - /mnt/file.$n; }
put() { content >/mnt/file.$n; sync; echo "removing $((n - 20))"; rm -f /mnt/file.$((n - 20)); }
`

const tortureLoop = `
n=$first; while [ $n -le $last ]; do
	verify || exit 1
	n=$((n + 1))
done
echo "verified"
(while :; do for s in 0 1 2 3 5 7 9 16 40; do dd if=$d of=/dev/null bs=1M skip=$s count=2 2>/dev/null; done; done) &
n=$last; while :; do
	n=$((n + 1)); put; echo "synced $n"
done
`

// Every file system mounts and checks clean, and every synced byte is there, however often QEMU is killed.
func TestRunTorture(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("boots many guests")
	}
	seed := imagetest.Seed(t)
	for k, c := range tortures {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, uint64(k)))
			path := filepath.Join(t.TempDir(), "d.zimg")
			zimg(t, append(append([]string{"create", "-q"}, c.create...), path)...)
			first, last, files := 1, 0, 0
			for round := range kills(t, 2) {
				head := fmt.Sprintf("d=/dev/drive0n1; first=%d; last=%d\n", first, last)
				out, stderr := tortured(t, random, path, last, head+c.script+tortureLoop)
				if strings.Contains(out, "zonefs of this kernel is broken") {
					t.Skip("zonefs of Linux 6.1 has a fault; Debian 13 has Linux 6.12")
				}
				if !strings.Contains(out, "verified\n") {
					t.Fatalf("round %d, files %d to %d:\n%s\n%s", round, first, last, out, stderr)
				}
				t.Logf("round %d: files %d to %d are there", round, first, last)
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

// moment lets a random time below limit pass, so that whatever is under way at its end is under way: it is no wait for
// something.
func moment(ctx context.Context, random *rand.Rand, limit time.Duration) {
	select {
	case <-time.After(time.Duration(random.Int64N(int64(limit)))):
	case <-ctx.Done():
	}
}

// tortured boots a guest and kills QEMU at a random moment after the script has verified what is there: up to a second and
// a half after up to five more files than last were synced, however fast the host is. It returns what the script
// printed, and zimg's messages with the whole console.
func tortured(t *testing.T, random *rand.Rand, path string, last int, script string) (out, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	vm, err := runner(t, path).Start(ctx, nil, script)
	if err != nil {
		t.Fatal(err)
	}
	line := "verified"
	if more := random.IntN(6); more > 0 {
		line = fmt.Sprintf("synced %d", last+more)
	}
	if _, err := vm.WaitLine(ctx, line); err != nil {
		cancel()
		res, _ := vm.Wait()
		if res.Status == 1 && !strings.Contains(res.Output, "verified\n") { // for the caller to say what it was doing
			return res.Output, res.Stderr
		}
		t.Fatalf("%v\n%s\n%s", err, res.Console, res.Stderr)
	}
	moment(ctx, random, 1500*time.Millisecond)
	if err := vm.Kill(); err != nil {
		t.Fatal(err)
	}
	res, _ := vm.Wait()
	return res.Output, res.Stderr + "\n" + res.Console
}
