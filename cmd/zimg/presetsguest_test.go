//go:build linux

package main

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Every preset of --like serves what it is for: the file system is made, mounted, filled with a file of 20 MB and
// checked, and it is all there after the zones were saved and restored. Linux 6.1 has no zoned XFS and the guest
// no ZenFS: of these presets the zones and the plain namespace are what their programs ask for.
func TestPresetsInGuest(t *testing.T) {
	if testing.Short() {
		t.Skip("boots two guests")
	}
	dir := t.TempDir()
	names := []string{"btrfs", "f2fs", "zonefs", "xfs", "zenfs", "zn540"}
	if got := slices.Sorted(slices.Values(names)); !slices.Equal(got, likeNames()) {
		t.Fatalf("presets %q, tested are %q", likeNames(), got)
	}
	var images []string
	for _, name := range names {
		path := filepath.Join(dir, name+".zimg")
		zimg(t, "create", "-q", "--like", name, path)
		images = append(images, path)
	}
	boot := func(script string) string {
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
		defer cancel()
		res, err := runner(t, slices.Concat([]string{"-q"}, images)...).Run(ctx, []string{"-m", "1G"}, `set -e
modprobe btrfs; modprobe f2fs; modprobe zonefs; namespaces
btrfs=/dev/drive0n1 f2fs=/dev/drive1n1 plain=/dev/drive1n2 zonefs=/dev/drive2n1
mkdir -p /b /f /z
`+script)
		if err != nil || res.Status != 0 {
			t.Fatalf("guest: status %d, %v\n%s\n%s", res.Status, err, res.Output, res.Stderr)
		}
		return res.Output
	}
	out := boot(`head -c 20000000 /dev/urandom >/tmp/r; sum=$(sha256sum </tmp/r)
mkfs.btrfs -q -O zoned -d single -m single $btrfs; mount $btrfs /b; cp /tmp/r /b/r; umount /b
btrfs check --readonly $btrfs >/tmp/said 2>&1 || { cat /tmp/said; exit 1; }
mkfs.f2fs -q -f -m -c $f2fs $plain; mount $plain /f; cp /tmp/r /f/r; umount /f
fsck.f2fs $plain >/tmp/said 2>&1 || { cat /tmp/said; exit 1; }
# zonefs of Linux 6.1.192 takes no direct write, so what seq/0 has is written to its zone, the second one.
mkzonefs $zonefs; disk=$(readlink -f $zonefs)
dd if=/tmp/r of=$disk bs=4096 seek=$(($(cat /sys/class/block/${disk##*/}/queue/chunk_sectors) / 8)) count=100 oflag=direct 2>/dev/null
mount -t zonefs $zonefs /z; stat -c %s /z/seq/0 | grep -x 409600; umount /z
for d in 3 4 5; do echo "zones $(blkzone report /dev/drive${d}n1 | wc -l)"; done
echo "plain $(blockdev --getsize64 /dev/drive3n2)"
# ZenFS writes with direct I/O from a zone's start on, in as many zones as are active
i=0; while [ $i -lt 14 ]; do dd if=/tmp/r of=/dev/drive5n1 bs=4096 count=1 seek=$((i * 524288)) oflag=direct 2>/dev/null; i=$((i + 1)); done
dd if=/tmp/r of=/dev/drive4n1 bs=4096 count=10 oflag=direct 2>/dev/null
echo "## sums"; echo $sum; head -c 409600 /tmp/r | sha256sum
`)
	for _, want := range []string{"zones 32\nzones 32\nzones 905\n", "plain 536870912\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("not %q in\n%s", want, out)
		}
	}
	again := boot(`mount $btrfs /b; mount $plain /f; mount -t zonefs $zonefs /z
cmp /b/r /f/r
echo "## sums"; sha256sum </b/r; sha256sum </z/seq/0
umount /b; umount /f
blkzone report /dev/drive5n1 -c 15 | grep -c '(cl)' | grep -x 14
`)
	if got, want := strings.Fields(section(t, again, "sums")), strings.Fields(section(t, out, "sums")); !slices.Equal(got[:min(4, len(got))], want) {
		t.Errorf("sums %q after a restart, %q before it", got, want)
	}
	for _, path := range images {
		zimg(t, "check", path)
	}
}
