//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// recordRun runs script in a guest with the image at path recorded, and returns the recording. Its last
// flush has to be what the run itself has left, read from QEMU's own zones.
func recordRun(t *testing.T, path, script string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "rec")
	res, err := runner(t, "--record", dir, path).Run(t.Context(), nil, "set -e\n"+script)
	if err != nil || res.Status != 0 {
		t.Fatalf("guest: status %d, %v\n%s\n%s", res.Status, err, res.Output, res.Stderr)
	}
	flushes := regexp.MustCompile(`(\d+) flush(es)?$`).FindStringSubmatch(strings.TrimSpace(zimg(t, "crash", "--list", dir)))
	last := filepath.Join(t.TempDir(), "last.zimg")
	zimg(t, "crash", "--at", "flush:"+flushes[1], dir, last)
	zimg(t, "compare", last, path)
	return dir
}

// number is the first number in the base name of path.
func number(path string) int {
	n, _ := strconv.Atoi(regexp.MustCompile(`\d+`).FindString(filepath.Base(path)))
	return n
}

// A zoned btrfs is cut off after each of its flushes: every image checks sound,
// mounts, is found clean by btrfs check, and has no file with anything else in
// it than was written.
func TestCrashWalkBtrfs(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "d.zimg")
	zimg(t, "create", "-q", "--like", "btrfs", "--zones", "40", path)
	runBoot(t, path, "modprobe btrfs; mkfs.btrfs -q -O zoned -d single -m single /dev/drive0n1 >/dev/null")
	rec := recordRun(t, path, `
modprobe btrfs; mount -t btrfs /dev/drive0n1 /mnt; cd /mnt
n=0; while [ $n -lt 55 ]; do
	n=$((n + 1)); yes "file $n" | head -c 100000 >file.$n; sync
done
cd /; umount /mnt`)
	points := t.TempDir()
	out := zimg(t, "crash", "--every", "flush", "--run", "cp --sparse=always {} "+points, rec)
	images, err := filepath.Glob(filepath.Join(points, "flush-*.zimg"))
	if err != nil || len(images) < 50 || !strings.Contains(out, fmt.Sprintf("%d flush points, 0 failed", len(images))) {
		t.Fatalf("%v, %d images: %s", err, len(images), out)
	}
	slices.SortFunc(images, func(a, b string) int { return number(a) - number(b) })
	for i, image := range images {
		if out, errs, code := zimgStatus("check", "--data", image); code != 0 {
			t.Fatalf("%s: check: exit %d\n%s%s", image, code, out, errs)
		}
		// By way of another format each gets identities of its own: a guest takes equal ones for one drive.
		zimg(t, "convert", "-q", "-O", "zbd-dump", "--force", image, filepath.Join(points, "dump"))
		images[i] = filepath.Join(points, fmt.Sprintf("own-%d.zimg", i+1))
		zimg(t, "convert", "-q", "-f", "zbd-dump", filepath.Join(points, "dump"), images[i])
	}
	const atOnce = 20 // PCI slots
	mounted, seen := 0, ""
	for first := 0; first < len(images); first += atOnce {
		batch := images[first:min(first+atOnce, len(images))]
		res, err := runner(t, batch...).Run(t.Context(), []string{"-m", "768M"}, `
modprobe btrfs
while [ $(ls /dev/nvme*n1 | wc -l) -lt `+strconv.Itoa(len(batch))+` ]; do sleep 0.1; done
for d in $(ls /dev/nvme*n1 | sort -V); do
	btrfs device scan --forget >/dev/null
	if mount -t btrfs $d /mnt; then
		for f in /mnt/file.*; do
			[ -e $f ] || continue
			size=$(stat -c %s $f)
			yes "file ${f##*.}" | head -c $size | cmp - $f || { echo "$d: $f is torn"; exit 1; }
		done
		umount /mnt
		btrfs check --readonly $d >/tmp/check 2>&1 || { cat /tmp/check; exit 1; }
		echo "$d: mounts"
	else
		echo "$d: no file system"; dmesg | tail -5
	fi
done`)
		if err != nil || res.Status != 0 {
			t.Fatalf("guest: status %d, %v\n%s\n%s", res.Status, err, res.Output, res.Stderr)
		}
		seen += res.Output
		mounted += strings.Count(res.Output, ": mounts")
	}
	if mounted != len(images) {
		t.Fatalf("%d of %d flush points mount:\n%s", mounted, len(images), seen)
	}
	t.Logf("%d flush points, %d mounted", len(images), mounted)
}

// An f2fs over two namespaces, one of them zoned, is cut off after each of its flushes: both are as they
// were at one moment, or it would not mount.
func TestCrashWalkF2fs(t *testing.T) {
	t.Parallel()
	bin, err := program()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "d.zimg")
	zimg(t, "create", "-q", "--ns", "type=nvm,size=20M", "--ns", "like=f2fs,zones=32", path)
	runBoot(t, path, "modprobe f2fs; mkfs.f2fs -f -m -c /dev/drive0n2 /dev/drive0n1 >/dev/null")
	rec := recordRun(t, path, `
modprobe f2fs; mount -t f2fs /dev/drive0n1 /mnt; cd /mnt
n=0; while [ $n -lt 2 ]; do
	n=$((n + 1)); yes "file $n" | head -c 100000 >file.$n; sync
done
cd /; umount /mnt`)
	list := zimg(t, "crash", "--list", rec)
	for _, want := range []string{"namespace 1: write", "namespace 2 zone 3: write"} {
		if !strings.Contains(list, want) {
			t.Errorf("no %s:\n%s", want, list)
		}
	}
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte(`
set -e
modprobe f2fs; mount -t f2fs /dev/drive0n1 /mnt
for f in /mnt/file.*; do
	[ -e $f ] || continue
	size=$(stat -c %s $f)
	yes "file ${f##*.}" | head -c $size | cmp - $f
	echo "$size bytes in $f"
done
umount /mnt; fsck.f2fs --dry-run /dev/drive0n1 >/tmp/fsck || { cat /tmp/fsck; exit 1; }
`), 0o666); err != nil {
		t.Fatal(err)
	}
	guest := builtGuest(t).Args(script)
	for i, arg := range guest {
		guest[i] = "'" + arg + "'"
	}
	run := bin + " check -q --data {} && " + bin + " run -q {} -- qemu-system-x86_64 " + strings.Join(guest, " ") + " </dev/null >{}.out && cat {}.out && grep -q 'zimg-guest end 0@@' {}.out"
	out, errs, code := zimgStatus("crash", "--every", "flush", "--run", run, rec)
	if points := regexp.MustCompile(`(\d+) flush points, 0 failed`).FindStringSubmatch(out); code != 0 || points == nil || number(points[0]) < 5 {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	if !strings.Contains(out, "100000 bytes in /mnt/file.2") {
		t.Errorf("the last file is nowhere:\n%s", out)
	}
}

// A program that writes data and then a record of it is caught if it does not flush in
// between, and only then.
func TestCrashFindsMissingFlush(t *testing.T) {
	t.Parallel()
	bin, err := program()
	if err != nil {
		t.Fatal(err)
	}
	for _, flush := range []string{"conv=fsync", ""} {
		path := filepath.Join(t.TempDir(), "d.zimg")
		zimg(t, "create", "-q", "--zones", "4", "--zone-size", "4M", path)
		rec := recordRun(t, path, fmt.Sprintf(`
head -c 65536 /dev/urandom >/tmp/r
i=0; while [ $i -lt 8 ]; do
	dd if=/tmp/r of=/dev/drive0n1 bs=64k count=1 seek=$((64 + i)) oflag=direct %s 2>/dev/null    # data, in zone 1
	dd if=/tmp/r of=/dev/drive0n1 bs=4k count=1 seek=$((2048 + i)) oflag=direct 2>/dev/null  # a record, in zone 2
	i=$((i + 1))
done`, flush))
		// For each record there has to be the data: 16 blocks for one.
		check := bin + ` report --output csv {} | awk -F, '$2==1 { data=$9 } $2==2 { records=$9 } END { exit data < 16*records }'`
		failures := 0
		for seed := range 5 {
			out, errs, code := zimgStatus("crash", "--every", "write", "--unflushed", "torn", "--seed", strconv.Itoa(seed), "--run", check, rec)
			var points, failed int
			if _, err := fmt.Sscanf(out[strings.LastIndex("\n"+strings.TrimSpace(out), "\n"):], "%d write points, %d failed", &points, &failed); err != nil || points < 16 || (code == 0) != (failed == 0) {
				t.Fatalf("exit %d: %s%s", code, out, errs)
			}
			failures += failed
		}
		if (failures == 0) != (flush != "") {
			t.Errorf("%q: %d crash points failed", flush, failures)
		}
		t.Logf("%q: %d crash points failed", flush, failures)
	}
}
