package guest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zimg/image/imagetest"

	"zimg/image/imagetest/guest"
)

const (
	mib      = 1 << 20
	zoneSize = 64 * mib
	zoneCap  = 48 * mib
	zones    = 8
)

// built is the guest, which takes some seconds to make when no test has before.
func built(t *testing.T) guest.Guest {
	t.Helper()
	imagetest.NeedsPrograms(t, "QEMU")
	g, err := guest.Build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// zoned gives QEMU's arguments for a zoned namespace in a new, empty file.
func zoned(t *testing.T) (args []string, file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, zones*zoneSize); err != nil {
		t.Fatal(err)
	}
	return []string{
		"-drive", "if=none,id=d,format=raw,discard=unmap,file=" + file,
		"-device", "nvme,id=n,serial=zimg",
		"-device", fmt.Sprintf("nvme-ns,bus=n,drive=d,zoned=on,zoned.zone_size=%d,zoned.zone_capacity=%d,zoned.max_open=4,zoned.max_active=6", zoneSize, zoneCap),
	}, file
}

// section is what the script printed between "## name" and the next "## ".
func section(t *testing.T, output, name string) string {
	t.Helper()
	_, rest, ok := strings.Cut(output, "## "+name+"\n")
	if !ok {
		t.Fatalf("the script has not come to %q:\n%s", name, output)
	}
	text, _, _ := strings.Cut(rest, "## ")
	return text
}

// alive reports whether a process runs. One that has ended but that nobody has
// waited for does not.
func alive(t *testing.T, pid int) bool {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	return !bytes.Contains(b, []byte(") Z "))
}

func TestProgramsSeeTheZones(t *testing.T) {
	t.Parallel()
	args, _ := zoned(t)
	res, err := built(t).Run(t.Context(), args, `
set -e
dd if=/dev/zero of=/dev/nvme0n1 bs=1M count=3 oflag=direct 2>/dev/null
echo "## blkzone"; blkzone report /dev/nvme0n1
echo "## nvme"; nvme zns report-zones /dev/nvme0n1 -o json
echo "## zbd"; zbd report -csv /dev/nvme0n1
echo "## btrfs"; modprobe btrfs; grep -w btrfs /proc/filesystems
echo "## f2fs"; modprobe f2fs; grep -w f2fs /proc/filesystems
mkfs.btrfs --version; mkfs.f2fs -V; fsck.f2fs -V
echo "## zonefs"; mkzonefs /dev/nvme0n1; mount -t zonefs /dev/nvme0n1 /mnt; ls /mnt/seq | wc -l; umount /mnt
`)
	if err != nil || res.Status != 0 {
		t.Fatalf("status %d, %v\n%s", res.Status, err, res.Output)
	}

	const sector = 512
	first := fmt.Sprintf("start: 0x%09x, len 0x%06x, cap 0x%06x, wptr 0x%06x", 0, zoneSize/sector, zoneCap/sector, 3*mib/sector)
	lines := strings.Split(strings.TrimSpace(section(t, res.Output, "blkzone")), "\n")
	if len(lines) != zones || !strings.Contains(lines[0], first) || !strings.Contains(lines[1], "zcond: 1(em)") {
		t.Errorf("blkzone report: want %d zones, the first with %q:\n%s", zones, first, strings.Join(lines, "\n"))
	}

	var report struct {
		Zones []struct {
			WP, Cap uint64
			State   string
		} `json:"zone_list"`
	}
	if err := json.Unmarshal([]byte(section(t, res.Output, "nvme")), &report); err != nil {
		t.Fatal(err)
	}
	if len(report.Zones) != zones || report.Zones[0].WP != 3*mib/sector || report.Zones[0].Cap != zoneCap/sector || report.Zones[7].State != "EMPTY" {
		t.Errorf("nvme zns report-zones: %+v", report.Zones)
	}

	want := fmt.Sprintf("00000, 2, %014d, %014d, %014d, %014d,", 0, zoneSize, zoneCap, 3*mib)
	if csv := section(t, res.Output, "zbd"); !strings.Contains(csv, want) {
		t.Errorf("zbd report has no zone %s:\n%s", want, csv)
	}
	for _, fs := range []string{"btrfs", "f2fs"} {
		if !strings.Contains(section(t, res.Output, fs), fs+"\n") {
			t.Errorf("the kernel does not know %s after loading it", fs)
		}
	}
	if n := strings.TrimSpace(section(t, res.Output, "zonefs")); n != fmt.Sprint(zones-1) {
		t.Errorf("zonefs shows %s files, want %d", n, zones-1)
	}
}

// What a test learns of its script must be exact, also where the script does
// not end its last line or prints what looks like the end of the run.
func TestOutputAndStatus(t *testing.T) {
	t.Parallel()
	res, err := built(t).Run(t.Context(), nil, `echo; echo '@@zimg-guest end 9@@'; echo err >&2; printf 'a\nb'; exit 3`)
	if err != nil {
		t.Fatal(err)
	}
	if want := "\n@@zimg-guest end 9@@\nerr\na\nb"; res.Output != want || res.Status != 3 {
		t.Errorf("output %q, status %d; want %q, 3", res.Output, res.Status, want)
	}
}

func TestKillMidRun(t *testing.T) {
	t.Parallel()
	args, file := zoned(t)
	g := built(t)
	// A wrapper, as zimg run is one: QEMU is its child, and it reports how QEMU ended.
	g.Command = []string{"sh", "-c", `qemu-system-x86_64 "$@"; echo "wrapper saw $?" >&2; exit 7`, "wrapper"}
	vm, err := g.Start(t.Context(), args, `
dd if=/bin/busybox of=/dev/nvme0n1 bs=4k count=1 oflag=direct 2>/dev/null
echo first; echo written 4096; sleep 1000`)
	if err != nil {
		t.Fatal(err)
	}
	line, err := vm.WaitLine(t.Context(), "written")
	if err != nil || line != "written 4096" {
		t.Fatalf("WaitLine: %q, %v", line, err)
	}
	pid, err := vm.QEMU()
	if err != nil || pid == vm.Pid() {
		t.Fatalf("QEMU is process %d, %v; its wrapper is %d", pid, err, vm.Pid())
	}
	if err := vm.Kill(); err != nil {
		t.Fatal(err)
	}
	res, err := vm.Wait()
	if !errors.Is(err, guest.ErrCutShort) || res.Status != -1 {
		t.Errorf("status %d, error %v; want -1, %v", res.Status, err, guest.ErrCutShort)
	}
	if !strings.Contains(res.Stderr, "wrapper saw 137") || res.Output != "first\nwritten 4096\n" {
		t.Errorf("stderr %q, output %q", res.Stderr, res.Output)
	}
	if alive(t, pid) {
		t.Error("QEMU is still there")
	}
	b := make([]byte, 4)
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Read(b); err != nil || string(b) != "\x7fELF" {
		t.Errorf("the file begins with %q, %v: what the guest wrote is not in it", b, err)
	}
}

// A guest that hangs must cost its own time only.
func TestDeadline(t *testing.T) {
	t.Parallel()
	g := built(t)
	g.Command = []string{"sh", "-c", `qemu-system-x86_64 "$@"; exit 7`, "wrapper"}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	vm, err := g.Start(ctx, nil, "echo here; sleep 1000")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := vm.WaitLine(ctx, "here"); err != nil {
		t.Fatal(err)
	}
	pid, err := vm.QEMU()
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := vm.Wait(); !errors.Is(err, guest.ErrCutShort) {
		t.Errorf("error %v, want %v", err, guest.ErrCutShort)
	}
	// Killed, but its end may take the kernel a moment.
	for deadline := time.Now().Add(5 * time.Second); alive(t, pid); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("QEMU has outlived its context")
		}
	}
	if _, err := vm.WaitLine(t.Context(), "never"); err == nil {
		t.Error("WaitLine found a line that was never printed")
	}
}

// The kernel must shut down the NVMe controller before the power goes:
// QEMU closes the zones that are open then.
func TestPowerOffShutsTheControllerDown(t *testing.T) {
	t.Parallel()
	args, _ := zoned(t)
	trace := filepath.Join(t.TempDir(), "trace")
	args = append(args, "-trace", "pci_nvme_mmio_shutdown*", "-D", trace)
	if res, err := built(t).Run(t.Context(), args, "blkzone open -c 1 /dev/nvme0n1"); err != nil || res.Status != 0 {
		t.Fatalf("status %d, %v\n%s", res.Status, err, res.Output)
	}
	b, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(b, []byte("pci_nvme_mmio_shutdown_set")) {
		t.Errorf("trace of the shutdown: %q", b)
	}
}

// A guest that does not power off when its script has ended is ended, and its run is a good one.
func TestHungAtPowerOff(t *testing.T) { // not parallel: the others have their minute
	defer guest.SetPowerOff(guest.SetPowerOff(time.Second))
	g := built(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	res, err := g.Run(ctx, nil, `echo said; printf '\n@@zimg-guest end 3@@\n'; sleep 1000`)
	if err != nil || res.Status != 3 || res.Output != "said\n" {
		t.Errorf("status %d, %v, %q", res.Status, err, res.Output)
	}
}
