//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"zimg/image/imagetest/guest"
)

// program builds zimg once, for tests that need it as a process of its own.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "zimg-test-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "zimg")
	out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, out)
	}
	return path, err
})

// runner is a guest whose QEMU is started by zimg run.
func runner(t *testing.T, flags ...string) guest.Guest {
	t.Helper()
	g := builtGuest(t)
	zimg, err := program()
	if err != nil {
		t.Fatal(err)
	}
	g.Command = append(append([]string{zimg, "run"}, flags...), "--", "qemu-system-x86_64")
	return g
}

// runBoot boots the guest by zimg run, has it run script and returns what it printed.
func runBoot(t *testing.T, path, script string, qemuArgs ...string) string {
	t.Helper()
	res, err := runner(t, path).Run(t.Context(), qemuArgs, "set -e\n"+script)
	if err != nil || res.Status != 0 {
		t.Fatalf("guest: status %d, %v\n%s\n%s", res.Status, err, res.Output, res.Stderr)
	}
	return res.Output
}

// opened matches the states of open zones in blkzone's report.
var opened = regexp.MustCompile(`zcond: [23]\(o[ie]\)`)

// fullWP matches the write pointer that blkzone before 2.42 prints for a zone that has none.
var fullWP = regexp.MustCompile(`wptr 0x[0-9a-f]+ (reset:\d non-seq:\d, zcond:1[345])`)

// afterPowerUp is a guest's blkzone report as the next boot must see it, in the
// form of blkzone 2.42.
func afterPowerUp(report string) string {
	report = opened.ReplaceAllString(report, "zcond: 4(cl)")
	return withoutWP(report)
}

// withoutWP is a report of any blkzone in the form of blkzone 2.42.
func withoutWP(report string) string { return fullWP.ReplaceAllString(report, "wptr N/A $1") }

// The zones outlive the guest: states, write pointers, extensions and data.
func TestRunKeepsZones(t *testing.T) {
	for _, c := range []struct{ machine, layout string }{{"q35", "trailing"}, {"pc", "sidecar"}} {
		t.Run(c.machine+" "+c.layout, func(t *testing.T) {
			t.Parallel()
			testRunKeepsZones(t, c.machine, c.layout)
		})
	}
}

// firstBoot leaves zones in every state that a guest can leave them in. Zones of
// namespace 1 are 0x800 sectors apart.
const firstBoot = `
dd if=/dev/urandom of=/tmp/r bs=64K count=2 2>/dev/null
put() { dd if=/tmp/r of=$1 bs=64K count=$3 seek=$2 oflag=direct conv=notrunc 2>/dev/null; }
a=/dev/drive0n1
put $a 0 2
nvme zns zone-append $a -s 0x800 -z 65536 -d /tmp/r >/dev/null
put $a 32 1; blkzone finish -o 0x1000 -c 1 $a
nvme zns open-zone $a -s 0x1800 >/dev/null; nvme zns close-zone $a -s 0x1800 >/dev/null
nvme zns open-zone $a -s 0x2000 >/dev/null; put $a 64 1; nvme zns close-zone $a -s 0x2000 >/dev/null
printf 'hello extension' >/tmp/e; dd if=/tmp/e of=/tmp/ext bs=64 conv=sync 2>/dev/null
nvme zns set-zone-desc $a -s 0x2800 -d /tmp/ext >/dev/null
put $a 96 1; blkzone reset -o 0x3000 -c 1 $a
dd if=/dev/urandom of=$a bs=64K count=12 seek=112 oflag=direct conv=notrunc 2>/dev/null
put /dev/drive0n2 0 2
nvme zns open-zone /dev/drive0n2 -s 0x400 >/dev/null
put /dev/drive0n3 16 2
`

// look prints everything that must be there again.
const look = `
a=/dev/drive0n1
for n in 1 2; do echo "## report$n"; blkzone report /dev/drive0n$n; done
echo "## ext"; nvme zns report-zones $a -e -o json -s 0x2800 -d 1 | grep -A6 ext_data
echo "## sums"
for s in 0 16 32 64 112; do dd if=$a bs=64K skip=$s count=2 iflag=direct 2>/dev/null | sha256sum; done
dd if=/dev/drive0n2 bs=64K count=2 iflag=direct 2>/dev/null | sha256sum
dd if=/dev/drive0n3 bs=64K skip=16 count=2 iflag=direct 2>/dev/null | sha256sum
echo "## end"
`

// goOn writes at write pointers, and is refused elsewhere.
const goOn = `
put() { dd if=/tmp/r of=$1 bs=64K count=$3 seek=$2 oflag=direct conv=notrunc 2>/dev/null; }
dd if=/dev/urandom of=/tmp/r bs=64K count=1 2>/dev/null
put /dev/drive0n1 2 1
put /dev/drive0n1 17 1
put /dev/drive0n1 80 1     # the zone with the extension
put /dev/drive0n1 96 1     # the one that was reset
put /dev/drive0n2 2 1
! put /dev/drive0n1 33 1   # finished
! put /dev/drive0n1 67 1   # not at the write pointer
`

// power is what a power-up does to a blkzone report of namespace ns: open zones are
// Closed, and those without data or extension Empty.
func power(report string, ns int) string {
	var b strings.Builder
	for line := range strings.Lines(afterPowerUp(report)) {
		if extended := ns == 1 && strings.Contains(line, "start: 0x000002800"); !extended && strings.Contains(line, "wptr 0x000000 ") {
			line = strings.Replace(line, "zcond: 4(cl)", "zcond: 1(em)", 1)
		}
		b.WriteString(line)
	}
	return b.String()
}

func testRunKeepsZones(t *testing.T, machine, layout string) {
	path := filepath.Join(t.TempDir(), "d.zimg")
	zimg(t, "create", "--layout", layout, "--ns", "zones=16,zone-size=1M,zone-capacity=768K,max-open=4,max-active=6,descr-ext-size=64,block-size=512",
		"--ns", "zones=8,zone-size=4M,zone-capacity=3M", "--ns", "type=nvm,size=8M", path)
	boot := func(script string) string { return runBoot(t, path, script, "-machine", machine) }
	same := func(out string) {
		t.Helper()
		for ns := 1; ns <= 2; ns++ {
			want := power(section(t, out, fmt.Sprintf("report%d", ns)), ns)
			if got := zimg(t, "report", "--output", "blkzone", "--ns", fmt.Sprint(ns), path); got != want {
				t.Errorf("namespace %d: zimg report\n%s\nthe guest's last one, powered up\n%s", ns, got, want)
			}
		}
		if out, errs, code := zimgStatus("check", "--data", path); code != 0 {
			t.Errorf("check: exit %d\n%s%s", code, out, errs)
		}
	}

	one := boot(firstBoot + look)
	same(one)
	if got := section(t, one, "report1"); strings.Count(got, "(fu)") != 2 || strings.Count(got, "(em)") != 9 {
		t.Fatalf("the first boot has not left the zones that it should:\n%s", got)
	}

	two := boot(look + goOn + strings.ReplaceAll(look, "## ", "## again "))
	for ns := 1; ns <= 2; ns++ {
		name := fmt.Sprintf("report%d", ns)
		if got, want := afterPowerUp(section(t, two, name)), power(section(t, one, name), ns); got != want {
			t.Errorf("namespace %d: the second boot saw\n%s\nwant\n%s", ns, got, want)
		}
	}
	for _, name := range []string{"ext", "sums"} {
		if got, want := section(t, two, name), section(t, one, name); got != want || !strings.Contains(got, "  ") {
			t.Errorf("%s: the second boot saw\n%s\nwant\n%s", name, got, want)
		}
	}
	if !strings.Contains(section(t, one, "ext"), "hello.extension") { // nvme-cli prints a dot for a space
		t.Errorf("no extension: %s", section(t, one, "ext"))
	}
	same(strings.ReplaceAll(strings.ReplaceAll(two, "## report", "## before"), "## again ", "## "))
}
