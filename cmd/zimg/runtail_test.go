//go:build linux

package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"zimg/cmd/internal/report"
)

// zonesOf are the zones of the first namespace of an image, as report shows them.
func zonesOf(t *testing.T, path string) []report.ZoneView {
	t.Helper()
	var r struct {
		Namespaces []struct{ Zones []report.ZoneView }
	}
	if err := json.Unmarshal([]byte(zimg(t, "report", "--output", "json", path)), &r); err != nil {
		t.Fatal(err)
	}
	return r.Namespaces[0].Zones
}

// Space that is reserved, or that a zone had before its reset, counts as data to the file system once somebody reads it. A
// recovery must not take it for something written: the zone below has one block.
func TestRunKilledAfterReadingBeyond(t *testing.T) {
	t.Parallel()
	for _, preallocation := range []string{"off", "falloc"} {
		t.Run(preallocation, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "d.zimg")
			zimg(t, "create", "-q", "--zones", "8", "--zone-size", "16M", "--preallocation", preallocation, path)
			vm, err := runner(t, path).Start(t.Context(), nil, `
d=/dev/nvme0n1
dd if=/dev/urandom of=$d bs=4096 count=1 oflag=direct 2>/dev/null
blkzone reset -o 0 -c 1 $d
dd if=$d of=/dev/null bs=4096 count=1 skip=700 2>/dev/null
dd if=/dev/urandom of=$d bs=4096 count=1 oflag=direct 2>/dev/null
echo written; sleep 1000
`)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := vm.WaitLine(t.Context(), "written"); err != nil {
				t.Fatal(err)
			}
			if err := vm.Kill(); err != nil {
				t.Fatal(err)
			}
			res, _ := vm.Wait()
			if written := zonesOf(t, path)[0].Written; written != 1 {
				t.Errorf("zone 0 is written to %d blocks, want 1\n%s", written, res.Stderr)
			}
			zimg(t, "check", "--data", path)
		})
	}
}

// QEMU has no Read Only zones: a guest that resets one takes its data away. That is said after the run.
func TestRunResetOfReadOnly(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "d.zimg")
	zimg(t, "create", "-q", "--zones", "8", "--zone-size", "1M", path)
	zimg(t, "zone", "finish", path, "2-3")
	runBoot(t, path, "dd if=/dev/urandom of=/dev/nvme0n1 bs=4096 count=16 oflag=direct 2>/dev/null")
	zimg(t, "zone", "read-only", path, "0")
	res, err := runner(t, "--allow-lost-faults", path).Run(t.Context(), nil, "blkzone reset -o 0 -c 1 /dev/nvme0n1")
	if err != nil || !strings.Contains(res.Stderr, "the guest has reset Read Only zones") || !strings.Contains(res.Stderr, "namespace 1 zone 0") {
		t.Errorf("%v\n%s", err, res.Stderr)
	}
	if got := zonesOf(t, path)[0].State; got != "read-only" {
		t.Errorf("zone 0 is %s", got)
	}
}
