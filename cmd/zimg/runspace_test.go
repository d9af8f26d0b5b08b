//go:build linux

package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"zimg/image/disk"
)

// used is the space that a file takes on the disk, in bytes.
func used(t *testing.T, path string) int64 {
	t.Helper()
	file, err := disk.OS.Open(path, disk.ReadOnly, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	n, err := file.AllocatedBytes()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// memoryFolder is a folder on a tmpfs.
func memoryFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "zimg-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// A reset in the guest gives the zone's space back to the host, as with QEMU alone: on a disk, on a tmpfs, and in
// an image with a sidecar.
func TestRunResetGivesSpaceBack(t *testing.T) {
	script := `
d=/dev/nvme0n1
dd if=/dev/urandom of=$d bs=1M count=20 oflag=direct 2>/dev/null
for z in 2 3 4 5 6 7; do dd if=/dev/urandom of=$d bs=4096 count=4 seek=$((z*4096)) oflag=direct conv=notrunc 2>/dev/null; done
for z in 0 1 2 3 4 5 6; do blkzone reset -o $((z*32768)) -c 1 $d; done
dd if=/dev/urandom of=$d bs=4096 count=1 oflag=direct 2>/dev/null
`
	for _, c := range []struct{ name, layout, dir string }{
		{"disk", "trailing", t.TempDir()}, {"sidecar", "sidecar", t.TempDir()}, {"tmpfs", "trailing", memoryFolder(t)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var bytes [2]int64
			for i := range bytes {
				path := filepath.Join(c.dir, fmt.Sprintf("%s%d.zimg", c.name, i))
				zimg(t, "create", "-q", "--zones", "8", "--zone-size", "16M", "--layout", c.layout, path)
				if i == 0 {
					boot(t, path, script)
				} else {
					runBoot(t, path, script)
				}
				bytes[i] = used(t, path)
			}
			if bytes[1] > bytes[0]+1<<20 {
				t.Errorf("%d bytes are allocated after zimg run, %d with QEMU alone", bytes[1], bytes[0])
			}
			report := zimg(t, "report", "-o", "csv", filepath.Join(c.dir, c.name+"1.zimg"))
			if got := strings.Count(strings.ToLower(report), "empty"); got != 6 {
				t.Errorf("%d zones are Empty, want 6:\n%s", got, report)
			}
		})
	}
}

// An image that takes more space than its data (its space was reserved, or a reset did not give it back) shrinks when its
// zones are reset, those too that are Empty already.
func TestResetGivesSpaceOfEmptyZonesBack(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, dir string }{{"disk", t.TempDir()}, {"tmpfs", memoryFolder(t)}} {
		path := filepath.Join(c.dir, "d.zimg")
		zimg(t, "create", "-q", "--zones", "8", "--zone-size", "1M", "--preallocation", "falloc", path)
		if n := used(t, path); n < 8<<20 {
			t.Fatalf("%s: %d bytes are allocated, want 8 MiB", c.name, n)
		}
		data, sum := randomFile(t, 300<<10)
		zimg(t, "write", "--zone", "3", path, data)
		if out := zimg(t, "zone", "reset", path, "0-1"); out != "0 zones changed.\n" {
			t.Errorf("%s: %s", c.name, out)
		}
		if n := used(t, path); n < 6<<20 || n > 6<<20+128<<10 {
			t.Errorf("%s: %d bytes are allocated after the reset of two Empty zones, want 6 MiB", c.name, n)
		}
		for _, zones := range []string{"0-2", "4-7"} {
			zimg(t, "zone", "reset", path, zones)
		}
		if n := used(t, path); n > 1<<20+128<<10 {
			t.Errorf("%s: %d bytes are allocated with one zone that is not Empty", c.name, n)
		}
		if got := fmt.Sprintf("%x", sha256.Sum256([]byte(zimg(t, "read", "--zone", "3", path)))); got != sum {
			t.Errorf("%s: the data of zone 3 has changed", c.name)
		}
		zimg(t, "zone", "reset", path, "all")
		if n := used(t, path); n > 128<<10 {
			t.Errorf("%s: %d bytes are allocated, all zones are Empty", c.name, n)
		}
		zimg(t, "check", "--data", path)
	}
}

// A disk that has room for what the guest writes, though not for its zones, is enough, as it is for QEMU alone: resets do not
// fail, and what was reset can be written again. The disk is a tmpfs of 24 MiB, the image has 256 MiB of zones, and the
// guest writes 40 MiB in all.
func TestRunOnSmallDisk(t *testing.T) {
	t.Parallel()
	bin, err := program()
	if err != nil {
		t.Fatal(err)
	}
	own := []string{"unshare", "-m"}
	if os.Geteuid() != 0 {
		own = append(own, "-r")
	}
	if out, err := exec.Command(own[0], append(own[1:], "true")...).CombinedOutput(); err != nil {
		t.Skipf("a mount namespace is not allowed here: %v, %s", err, out)
	}
	g := builtGuest(t)
	g.Command = append(own, "sh", "-c", `
mount -t tmpfs -o size=24M small "$2" || exit 90
"$1" create -q --zones 16 --zone-size 16M "$2/d.zimg" || exit 91
zimg=$1 dir=$2; shift 2
"$zimg" run "$dir/d.zimg" -- qemu-system-x86_64 "$@"; status=$?
"$zimg" check --data "$dir/d.zimg" >&2 || exit 92
"$zimg" report -o csv "$dir/d.zimg" >&2
exit $status`, "sh", bin, t.TempDir())
	res, err := g.Run(t.Context(), nil, `
d=/dev/nvme0n1
round=0; while [ $round -lt 5 ]; do
	for z in 0 1 2 3 4 5 6 7; do
		dd if=/dev/urandom of=$d bs=64K count=16 seek=$((z * 256)) oflag=direct conv=notrunc 2>/tmp/dd || { cat /tmp/dd; exit 1; }
	done
	blkzone reset $d || exit 2
	round=$((round + 1))
done
dd if=/dev/urandom of=$d bs=1M count=8 oflag=direct 2>/tmp/dd || { cat /tmp/dd; exit 3; }
dmesg | grep -i 'i/o error' && exit 4
exit 0
`)
	if err != nil || res.Status != 0 {
		t.Fatalf("status %d, %v\n%s\n%s", res.Status, err, res.Output, res.Stderr)
	}
	if strings.Contains(res.Stderr, "No space left") || !strings.Contains(res.Stderr, "1,0,seq-write-required,closed,0,4096,4096,2048,2048") {
		t.Errorf("%s", res.Stderr)
	}
}
