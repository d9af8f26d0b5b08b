//go:build linux

package main

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What the data does not show survives a QEMU that is killed, and a zimg that is killed with it: zeroes that were written,
// resets and finishes, for each of two images in one run, one of them with a name that QEMU takes for a template.
func TestRunKilledKeepsRecords(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"QEMU", "both"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			a, b := filepath.Join(dir, "a%20%d.zimg"), filepath.Join(dir, "b.zimg")
			for i, path := range []string{a, b} {
				zimg(t, "create", "-q", "--zones", "8", "--zone-size", "1M", "--uuid", string(rune('1'+i))+"0000000-0000-4000-8000-000000000000", path)
			}
			log := filepath.Join(dir, "caller.log")
			vm, err := runner(t, a, b).Start(t.Context(), []string{"-D", log, "-d", "guest_errors", "-trace", "pci_nvme_mmio_cfg", "-trace", "pci_nvme_finish*"}, `
a=/dev/drive0n1; b=/dev/drive1n1
dd if=/dev/zero of=$a bs=4096 count=7 oflag=direct 2>/dev/null
dd if=/dev/urandom of=$a bs=4096 count=3 seek=256 oflag=direct conv=notrunc 2>/dev/null
dd if=/dev/urandom of=$b bs=4096 count=5 seek=1280 oflag=direct conv=notrunc 2>/dev/null
dd if=/dev/urandom of=$b bs=4096 count=9 seek=512 oflag=direct conv=notrunc 2>/dev/null
blkzone reset -o 0x1000 -c 1 $b
nvme write-zeroes $b -s 768 -c 3 >/dev/null; nvme flush $b >/dev/null
blkzone finish -o 0x800 -c 1 $a
dd if=/dev/urandom of=$b bs=4096 count=2 seek=1024 oflag=direct conv=notrunc 2>/dev/null
blkzone finish -o 0x2000 -c 1 $b
echo ready; sleep 1000
`)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			if _, err := vm.WaitLine(ctx, "ready"); err != nil {
				t.Fatal(err)
			}
			qemu, err := vm.QEMU()
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range []string{a, b} { // which drive it was is known to zimg only
				for finished := false; !finished; {
					text, err := os.ReadFile(path + ".zjournal")
					finished = err == nil && strings.Contains(string(text), `"finished":true`)
					if ctx.Err() != nil {
						t.Fatalf("%s: the journal does not say that a zone is finished: %s, %v", path, text, err)
					}
				}
			}
			_ = syscall.Kill(qemu, syscall.SIGKILL)
			if way == "both" {
				_ = syscall.Kill(vm.Pid(), syscall.SIGKILL)
			}
			res, _ := vm.Wait()
			if way == "both" {
				for _, path := range []string{a, b} {
					if out, errs, code := zimgStatus("check", "--repair", path); code != 0 {
						t.Fatalf("check --repair: %d\n%s%s", code, out, errs)
					}
				}
			} else if text, err := os.ReadFile(log); err != nil || !strings.Contains(string(text), "pci_nvme_mmio_cfg") || strings.Contains(string(text), "blk_co_pwritev") {
				t.Errorf("the caller's own log: %v\n%.2000s", err, text)
			}
			want := map[string][]string{
				a: {"closed 7", "full 3", "empty 0", "empty 0", "empty 0"},
				b: {"empty 0", "empty 0", "empty 0", "closed 4", "full 2", "closed 5"},
			}
			for path, list := range want {
				for i, z := range zonesOf(t, path)[:len(list)] {
					if got := z.State + " " + strconv.FormatUint(z.Written, 10); got != list[i] {
						t.Errorf("%s zone %d: %s, want %s\n%s", filepath.Base(path), i, got, list[i], res.Stderr)
					}
				}
			}
			left, err := filepath.Glob(filepath.Join(dir, "*.z*"))
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range left {
				if strings.HasSuffix(name, ".ztrace") || strings.Contains(name, ".zjournal") {
					t.Errorf("%s is left", name)
				}
			}
		})
	}
}
