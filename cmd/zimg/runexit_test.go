//go:build linux

package main

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"zimg/image/imagetest"

	"zimg/image/imagetest/guest"
)

// ready boots a guest that writes a little and then does rest.
func ready(t *testing.T, path, rest string, qemuArgs ...string) *guest.VM {
	t.Helper()
	vm, err := runner(t, path).Start(t.Context(), qemuArgs, `
dd if=/dev/zero bs=64K count=1 2>/dev/null | tr '\0' x | dd of=/dev/nvme0n1 bs=64K iflag=fullblock oflag=direct 2>/dev/null
echo READY
`+rest)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	if _, err := vm.WaitLine(ctx, "READY"); err != nil {
		t.Fatal(err)
	}
	return vm
}

func smallImage(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "d.zimg")
	zimg(t, "create", "--zones", "8", "--zone-size", "1M", "--block-size", "512", path)
	return path
}

// written wants zone 0 to be as ready left it, and the image sound.
func wantWritten(t *testing.T, path string) {
	t.Helper()
	if out, errs, code := zimgStatus("check", path); code != 0 {
		t.Errorf("check: exit %d\n%s%s", code, out, errs)
	}
	if got := zimg(t, "report", "--zone", "0", "--output", "csv", path); !strings.Contains(got, ",closed,0,2048,2048,128,128,") {
		t.Errorf("zone 0: %s", got)
	}
	left, err := filepath.Glob(path + ".z*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range left {
		if !strings.HasSuffix(name, fsckUndo) && !strings.HasSuffix(name, ".zmeta") {
			t.Errorf("%s is left", name)
		}
	}
}

const fsckUndo = ".zundo"

// patience is how long a test waits for what must come.
const patience = 3 * time.Minute

// While a run has an image nobody else gets it.
func TestRunHoldsImage(t *testing.T) {
	t.Parallel()
	path := smallImage(t)
	vm := ready(t, path, "read x </dev/ttyS0; echo bye")
	for _, args := range [][]string{{"run", path, "--", "qemu-system-x86_64", "-nodefaults"}, {"zone", "reset", path, "0"}, {"check", path}, {"info", path}} {
		start := time.Now()
		if _, errs, code := zimgStatus(args...); code != 75 || !strings.Contains(errs, "another process") {
			t.Errorf("zimg %s: exit %d, %s", args[0], code, errs)
		}
		if d := time.Since(start); d > patience {
			t.Errorf("zimg %s took %v to be refused", args[0], d)
		}
	}
	for _, args := range [][]string{{"convert", "-f", "raw", "-O", "raw", path, path + ".copy"}, {"resize", "-f", "raw", path, "+1M"}} {
		if out, err := exec.Command("qemu-img", args...).CombinedOutput(); err == nil || !strings.Contains(string(out), "lock") {
			t.Errorf("qemu-img %s: %v, %s", args[0], err, out)
		}
	}
	if got := zimg(t, "info", "-U", path); !strings.Contains(got, "state: in use") {
		t.Errorf("info -U: %s", got)
	}
	if err := vm.Kill(); err != nil {
		t.Fatal(err)
	}
	_, _ = vm.Wait()
	wantWritten(t, path)
}

// The first SIGTERM presses the power button, which this guest does not hear; the
// second saves the zones as they are.
func TestRunSignals(t *testing.T) {
	t.Parallel()
	path := smallImage(t)
	vm := ready(t, path, "while :; do sleep 1; done")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := syscall.Kill(vm.Pid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := vm.WaitStderr(ctx, "power down"); err != nil {
		t.Fatal(err)
	}
	for saved := false; !saved; { // right after the first one it would count as the same request
		_ = syscall.Kill(vm.Pid(), syscall.SIGTERM) // it may have ended meanwhile
		soon, stop := context.WithTimeout(ctx, 300*time.Millisecond)
		err := vm.WaitStderr(soon, "saving the zones and ending QEMU")
		stop()
		if saved = err == nil; !saved && ctx.Err() != nil {
			t.Fatal(err)
		}
	}
	_, _ = vm.Wait()
	if _, err := os.Stat(path + fsckUndo); err == nil {
		t.Error("the zones were repaired, not saved")
	}
	wantWritten(t, path)
}

// A guest that panics or reboots with -no-reboot has shut down.
func TestRunEnds(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"panic":  "echo c >/proc/sysrq-trigger; sleep 60",
		"reboot": "reboot -f; sleep 60",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := smallImage(t)
			_, _ = ready(t, path, script).Wait()
			if _, err := os.Stat(path + fsckUndo); err == nil {
				t.Error("the zones were repaired, not saved")
			}
			wantWritten(t, path)
		})
	}
}

// A QEMU that gets a quit command does not wait; the zones come back from data and journal.
func TestRunQuit(t *testing.T) {
	t.Parallel()
	path := smallImage(t)
	monitor := filepath.Join(t.TempDir(), "m")
	vm := ready(t, path, "sleep 600", "-monitor", "unix:"+monitor+",server=on,wait=off")
	conn, err := net.Dial("unix", monitor)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write([]byte("quit\n")); err != nil {
		t.Fatal(err)
	}
	res, _ := vm.Wait()
	if !strings.Contains(res.Stderr, "recovered zones") {
		t.Errorf("zimg said %s", res.Stderr)
	}
	wantWritten(t, path)
}

// A QEMU before 7.0 does not know the options that zimg gives, and ends.
const oldQEMU = `#!/bin/sh
case " $* " in *" -version "*) echo "QEMU emulator version 5.2.0 (Debian 1:5.2+dfsg-11+deb11u3)"; exit 0 ;; esac
echo "$0: -action: invalid option" >&2
exit 1
`

// QEMU 7.0 starts, and would then process no NVMe command of the paused machine.
const stalledQEMU = `#!/usr/bin/env python3
import json, re, socket, sys
config = open(sys.argv[sys.argv.index("-readconfig") + 1]).read()
qmp, qtest = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
qmp.connect(re.search('path = "(.*)"', config).group(1))
qtest.connect(sys.argv[sys.argv.index("-qtest") + 1].removeprefix("unix:"))
version = {"qemu": {"major": 7, "minor": 0, "micro": 0}, "package": ""}
qmp.sendall(json.dumps({"QMP": {"version": version, "capabilities": []}}).encode() + b"\n")
for line in qmp.makefile():
    qmp.sendall(json.dumps({"return": {}, "id": json.loads(line).get("id")}).encode() + b"\n")
`

// What cannot be run is refused before anything is changed, within seconds.
func TestRunRefuses(t *testing.T) {
	t.Parallel()
	imagetest.NeedsPrograms(t, "QEMU")
	dir := t.TempDir()
	fake := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o777); err != nil {
			t.Fatal(err)
		}
		return path
	}
	hang := fake("hang", "#!/bin/sh\nexec sleep 100\n")
	for name, c := range map[string]struct {
		args []string
		want string
		code int
	}{
		"no command":   {[]string{"--"}, "needs IMAGE... --", 64},
		"no such QEMU": {[]string{"--", "qemu-system-nonsense"}, `cannot start QEMU: exec: "qemu-system-nonsense"`, 1},
		"daemonize":    {[]string{"--", "qemu-system-x86_64", "-daemonize"}, "outlive QEMU", 1},
		"snapshot":     {[]string{"--", "qemu-system-x86_64", "-snapshot"}, "-snapshot", 1},
		"no PCI":       {[]string{"--", "qemu-system-x86_64", "-nodefaults", "-display", "none", "-machine", "microvm"}, "QEMU failed to start", 1},
		"bad option":   {[]string{"--", "qemu-system-x86_64", "-nonsense"}, "QEMU failed to start (exit status 1)\nzimg: hint: see the output of QEMU above; the image is unchanged", 1},
		"old":          {[]string{"--", fake("old", oldQEMU)}, "this is QEMU 5.2.0; 7.1 or later is needed", 1},
		"stalled":      {[]string{"--", fake("stalled", stalledQEMU)}, "this is QEMU 7.0.0; 7.1 or later is needed", 1},
		"hang":         {[]string{"--answer-timeout", "1s", "--", hang}, "does not answer", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := smallImage(t)
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			_, errs, code := zimgStatus(append([]string{"run", path}, c.args...)...)
			if code != c.code || !strings.Contains(errs, c.want) {
				t.Errorf("exit %d, %s", code, errs)
			}
			if d := time.Since(start); d > patience {
				t.Errorf("it took %v", d)
			}
			if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
				t.Errorf("the image has changed (%v)", err)
			}
			if left, _ := filepath.Glob(path + ".z*"); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// Read Only and Offline zones keep their state through a run that was allowed to hide it.
func TestRunFaults(t *testing.T) {
	t.Parallel()
	path := smallImage(t)
	zimg(t, "zone", "offline", path, "6")
	zimg(t, "zone", "read-only", path, "7")
	if _, errs, code := zimgStatus("run", path, "--", "false"); code != 1 || !strings.Contains(errs, "--allow-lost-faults") {
		t.Errorf("exit %d, %s", code, errs)
	}
	res, err := runner(t, "--allow-lost-faults", path).Run(t.Context(), nil, "blkzone report /dev/nvme0n1 | grep -c '(fu)'")
	if err != nil || strings.TrimSpace(res.Output) != "2" {
		t.Errorf("%v: the guest saw %s Full zones, want 2", err, res.Output)
	}
	if got := zimg(t, "report", "--output", "csv", "--zone", "6-7", path); !strings.Contains(got, ",6,seq-write-required,offline,") || !strings.Contains(got, ",7,seq-write-required,read-only,") {
		t.Error(got)
	}
}

// With the caller's own -S the guest waits for the caller's cont.
func TestRunPaused(t *testing.T) {
	t.Parallel()
	path := smallImage(t)
	socket := filepath.Join(t.TempDir(), "q")
	vm, err := runner(t, path).Start(t.Context(), []string{"-S", "-qmp", "unix:" + socket + ",server=on,wait=off"}, "echo READY")
	if err != nil {
		t.Fatal(err)
	}
	q := dialQMP(t, socket)
	for reset := false; !reset && q.r.Scan(); { // the machine is reset when the zones are in place
		reset = strings.Contains(q.r.Text(), `"RESET"`)
	}
	if got := q.do("query-status"); !strings.Contains(got, `"running": false`) || vm.Output() != "" {
		t.Errorf("%s; the guest has printed %q", got, vm.Output())
	}
	q.do("cont")
	if res, err := vm.Wait(); err != nil || !strings.Contains(res.Output, "READY") {
		t.Errorf("%v, %s", err, res.Output)
	}
}

// Several images are several drives, each with its zones.
func TestRunSeveralImages(t *testing.T) {
	t.Parallel()
	a, b := smallImage(t), smallImage(t)
	zimg(t, "convert", "-q", "--in-place", "--layout", "sidecar", b)
	zimg(t, "zone", "finish", a, "1")
	zimg(t, "zone", "finish", b, "2-3")
	res, err := runner(t, a, b).Run(t.Context(), nil, `
set -e
for d in /dev/drive0n1 /dev/drive1n1; do echo "$d $(blkzone report $d | grep -c '(fu)')"; done
for d in /dev/drive0n1 /dev/drive1n1; do blkzone finish -o 14336 -c 1 $d; done
`)
	if err != nil || res.Status != 0 || res.Output != "/dev/drive0n1 1\n/dev/drive1n1 2\n" {
		t.Fatalf("%v, status %d: %s", err, res.Status, res.Output)
	}
	for path, want := range map[string]int{a: 2, b: 3} {
		if got := strings.Count(zimg(t, "report", "--output", "csv", path), ",full,"); got != want {
			t.Errorf("%d Full zones, want %d", got, want)
		}
		if out, errs, code := zimgStatus("check", path); code != 0 {
			t.Errorf("check: %d\n%s%s", code, out, errs)
		}
	}
}
