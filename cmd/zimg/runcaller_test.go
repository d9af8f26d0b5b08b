//go:build linux

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zimg/image/imagetest/guest"
)

// A panic ends the run as it would end QEMU, and its exit status is QEMU's; so is that of a guest that exits.
func TestRunPanics(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args   []string
		letter string
		status int
	}{
		"panic":              {[]string{"-device", "pvpanic"}, "p", 0},
		"panic=exit-failure": {[]string{"-device", "pvpanic", "-action", "panic=exit-failure"}, "p", 1},
		"panic=none":         {[]string{"-device", "pvpanic", "-action", "panic=none"}, "po", 0},
		"reboot":             {[]string{"-no-reboot"}, "r", 0},
		"shutdown=poweroff":  {[]string{"-action", "shutdown=poweroff"}, "o", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := startBoxed(t, smallImage(t), nil, nil, serial(t, c.args...), nil)
			b.await(b.console, "READY", 1)
			b.typed(c.letter)
			b.end(c.status, 0)
			b.saved()
		})
	}
}

// The exit status of isa-debug-exit is kept, whether QEMU waits (11.0 and later) or not.
func TestRunDebugExit(t *testing.T) {
	t.Parallel()
	b := startBoxed(t, smallImage(t), nil, nil, serial(t, "-device", "isa-debug-exit,iobase=0xf4,iosize=1"), nil)
	b.await(b.console, "READY", 1)
	b.typed("d")
	b.end(3, 0)
	if out, errs, code := zimgStatus("check", b.path); code != 0 {
		t.Errorf("check: exit %d\n%s%s", code, out, errs)
	}
}

// callerQMP is a QMP connection of the caller's own.
type callerQMP struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Scanner
}

// dialQMP connects as soon as QEMU listens.
func dialQMP(t *testing.T, path string) *callerQMP {
	t.Helper()
	conn := dialUnix(t, path)
	q := &callerQMP{t, conn, bufio.NewScanner(conn)}
	q.do("qmp_capabilities")
	return q
}

// dialUnix connects as soon as somebody listens.
func dialUnix(t *testing.T, path string) net.Conn {
	t.Helper()
	var conn net.Conn
	eventually(t, "somebody listening at "+path, func() bool {
		var err error
		conn, err = net.Dial("unix", path)
		return err == nil
	})
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// eventually waits until something has happened that sends no notice of it.
func eventually(t *testing.T, what string, happened func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !happened(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited for %s", what)
		}
	}
}

// do executes a command and returns its answer.
func (q *callerQMP) do(command string) string {
	q.t.Helper()
	if _, err := fmt.Fprintf(q.conn, "{\"execute\": %q}\n", command); err != nil {
		q.t.Fatal(err)
	}
	for q.r.Scan() {
		var m map[string]json.RawMessage
		if err := json.Unmarshal(q.r.Bytes(), &m); err != nil {
			q.t.Fatal(err)
		}
		if m["return"] != nil || m["error"] != nil {
			return q.r.Text()
		}
	}
	q.t.Fatalf("%s: QEMU has ended", command)
	return ""
}

// event waits for an event, which must come after the answer to the last command.
func (q *callerQMP) event(name string) {
	q.t.Helper()
	for q.r.Scan() {
		var m struct{ Event string }
		if err := json.Unmarshal(q.r.Bytes(), &m); err != nil {
			q.t.Fatal(err)
		}
		if m.Event == name {
			return
		}
	}
	q.t.Fatalf("%s: QEMU has ended", name)
}

// zimgState is what info says of the state of an image that may be in use.
func zimgState(t *testing.T, path string) string {
	t.Helper()
	_, rest, _ := strings.Cut(zimg(t, "info", "-U", path), "state: ")
	state, _, _ := strings.Cut(rest, "\n")
	return state
}

// The caller's open files reach QEMU under their numbers.
func TestRunDescriptors(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "boot.img")
	if err := os.WriteFile(path, guest.BootDisk(), 0o666); err != nil {
		t.Fatal(err)
	}
	var args []string
	for _, a := range serial(t) {
		if !strings.HasPrefix(a, "format=raw") && a != "-drive" {
			args = append(args, a)
		}
	}
	args = append(args, "-add-fd", "fd=3,set=1",
		"-blockdev", "driver=raw,node-name=u,file.driver=file,file.filename=/dev/fdset/1", "-device", "ide-hd,drive=u")
	image := smallImage(t)
	b := startBoxed(t, image, nil, nil, args, func(b *boxed) {
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = file.Close() })
		b.cmd.ExtraFiles = []*os.File{file}
		if b.input, err = b.cmd.StdinPipe(); err != nil {
			t.Fatal(err)
		}
	})
	b.await(b.console, "READY", 1)
	b.typed("o")
	b.end(0, 0)
	b.saved()
}

// The caller's log is the caller's: in a file of its own, or on standard error without the lines that zimg needs.
func TestRunLog(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "log")
	b := startBoxed(t, smallImage(t), nil, nil, serial(t, "-D", log, "-trace", "pci_nvme_mmio_write"), nil)
	b.await(b.console, "READY", 1)
	if _, err := os.Stat(b.path + ".ztrace"); err != nil {
		t.Errorf("no journal is kept beside the caller's log: %v", err)
	}
	b.typed("o")
	b.end(0, 0)
	b.saved()
	if got, err := os.ReadFile(log); err != nil || !strings.Contains(string(got), "pci_nvme_mmio_write") {
		t.Errorf("the log: %s, %v", got, err)
	}
	b = startBoxed(t, smallImage(t), nil, nil, serial(t, "-trace", "pci_nvme_mmio_write"), nil)
	b.await(b.console, "READY", 1)
	b.typed("o")
	b.end(0, 0)
	b.saved()
	if !strings.Contains(b.stderr.String(), "pci_nvme_mmio_write") {
		t.Errorf("standard error: %s", b.stderr)
	}
}

// Names that QEMU's options and log templates have a meaning for, and places where no journal can be kept.
func TestRunPlaces(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a%20b.zimg", "x%d.zimg", "a,b=c.zimg", "json:{.zimg", "\"q\" 'r'.zimg"} {
		path := filepath.Join(t.TempDir(), name)
		zimg(t, "create", "-q", "--zones", "8", "--zone-size", "1M", path)
		b := startBoxed(t, path, nil, nil, serial(t), nil)
		b.await(b.console, "READY", 1)
		if _, err := os.Stat(path + ".ztrace"); err != nil {
			t.Error(err)
		}
		b.typed("o")
		b.end(0, 0)
		b.saved()
	}
	// Something is in the journal's place, as in a folder that cannot be written to.
	path := smallImage(t)
	if err := os.MkdirAll(path+".ztrace/x", 0o777); err != nil {
		t.Fatal(err)
	}
	b := startBoxed(t, path, nil, nil, serial(t), nil)
	b.await(b.console, "READY", 1)
	b.typed("o")
	b.end(0, 0)
	if !strings.Contains(b.stderr.String(), "no journal for this run") || zimgState(t, path) != "clean" {
		t.Errorf("zimg said %s", b.stderr)
	}
}

// A TMPDIR that is too long for a socket is passed over.
func TestRunLongTmpdir(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 25))
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	b := startBoxed(t, smallImage(t), []string{"env", "TMPDIR=" + dir}, nil, serial(t), nil)
	b.await(b.console, "READY", 1)
	b.typed("o")
	b.end(0, 0)
	b.saved()
}

// A QEMU that waits for a client of its own is waited for.
func TestRunWaitingChardev(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "s")
	args := append(sectorArgs(t), "-display", "none", "-serial", "unix:"+socket+",server=on")
	b := startBoxed(t, smallImage(t), nil, []string{"--answer-timeout", "1s"}, args, nil)
	b.await(b.stderr, "QEMU is waiting for a client", 1)
	conn := dialUnix(t, socket)
	text := newTranscript()
	go func() {
		r := bufio.NewReader(conn)
		_, _ = r.WriteTo(text)
	}()
	b.await(text, "READY", 1)
	if _, err := conn.Write([]byte("o")); err != nil {
		t.Fatal(err)
	}
	b.end(0, 0)
	b.saved()
}

// Copies of an image in one run are different drives.
func TestRunCopies(t *testing.T) {
	t.Parallel()
	a := smallImage(t)
	c := filepath.Join(t.TempDir(), "copy.zimg")
	zimg(t, "convert", "-q", a, c)
	out, errs, code := zimgStatus("run", "--dry-run", a, c, "--", "qemu-system-x86_64")
	if code != 0 || !strings.Contains(errs, c+" has the UUID of "+a) {
		t.Errorf("exit %d, %s", code, errs)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(out) {
		var device struct{ Serial, UUID string }
		if json.Unmarshal([]byte(line), &device) != nil {
			continue
		}
		for _, id := range []string{device.Serial, device.UUID} {
			if id != "" && seen[id] {
				t.Errorf("%s is there twice:\n%s", id, out)
			}
			seen[id] = true
		}
	}
	res, err := runner(t, a, c).Run(t.Context(), nil, "set -e; ls -d /sys/block/nvme*n*; cat /sys/class/nvme/nvme*/serial")
	if err != nil || res.Status != 0 || strings.Count(res.Output, "/sys/block/nvme") != 2 {
		t.Errorf("%v, status %d: %s", err, res.Status, res.Output)
	}
}

// Properties of the controller, and where it is.
func TestRunDevice(t *testing.T) {
	t.Parallel()
	path := smallImage(t)
	zimg(t, "zone", "finish", path, "3")
	for name, c := range map[string]struct{ device, script, want string }{
		"properties":  {"addr=0x10,serial=my-own,mdts=1,zasl=1,max_ioqpairs=3", "cat /sys/class/nvme/nvme0/serial; ls -l /sys/class/nvme/nvme0", "my-own"},
		"root port":   {"bus=rp", "ls -l /sys/class/nvme/nvme0/device", "0000:01:00.0"},
		"pci bridge":  {"bus=br,addr=7", "ls -l /sys/class/nvme/nvme0/device", ":07.0"},
		"other lists": {"id=my,use-intel-id=on", "cat /sys/class/nvme/nvme0/device/vendor", "0x8086"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			image := filepath.Join(t.TempDir(), "d.zimg")
			zimg(t, "convert", "-q", path, image)
			args := []string{"-machine", "q35", "-device", "pcie-root-port,id=rp,chassis=1", "-device", "pci-bridge,id=br,chassis_nr=9"}
			res, err := runner(t, "--device", c.device, image).Run(t.Context(), args, "set -e\nblkzone report /dev/nvme0n1 | grep -c '(fu)'\n"+c.script)
			if err != nil || res.Status != 0 || !strings.HasPrefix(res.Output, "1\n") || !strings.Contains(res.Output, c.want) {
				t.Errorf("%v, status %d: %s\n%s", err, res.Status, res.Output, res.Stderr)
			}
			if got := strings.Count(zimg(t, "report", "--output", "csv", image), ",full,"); got != 1 {
				t.Errorf("%d Full zones", got)
			}
		})
	}
}
