//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// ticks is the processor time that a process has used, in units of 10 ms.
func ticks(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	sum := 0
	for _, f := range fields[11:13] { // utime, stime
		n, err := strconv.Atoi(f)
		if err != nil {
			t.Fatal(err)
		}
		sum += n
	}
	return sum
}

// A target with ten hosts that do nothing takes no processor time.
func TestServeIdle(t *testing.T) {
	t.Parallel()
	span := 10 * time.Second
	if testing.Short() {
		span = time.Second
	}
	path := filepath.Join(t.TempDir(), "d.zimg")
	zimg(t, "create", "-q", "--zones", "64", "--zone-size", "1M", path)
	s := startServing(t, "-q", "--nqn", serveNQN, path)
	for i := range 10 {
		c, err := connectHostAs(s, byte(i+1), 2, s.dial)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	before := ticks(t, s.cmd.Process.Pid)
	for end := time.Now().Add(span); time.Now().Before(end); time.Sleep(100 * time.Millisecond) { // what is measured
		if s.cmd.ProcessState != nil {
			t.Fatal("the target has ended")
		}
	}
	used := ticks(t, s.cmd.Process.Pid) - before
	t.Logf("%d ms of processor time in %v", used*10, span)
	if used > 5 {
		t.Errorf("an idle target with ten hosts used %d ms of processor time in %v", used*10, span)
	}
	if code := s.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit %d", code)
	}
}

// An image that is served has one owner: a second service or run is refused, and the error has the process that serves
// it and what to do.
func TestServeOneOwner(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "d.zimg")
	zimg(t, "create", "-q", "--zones", "4", "--zone-size", "1M", path)
	s := startServing(t, "-q", "--nqn", serveNQN, path)
	pid := fmt.Sprintf("pid %d", s.cmd.Process.Pid)
	for _, args := range [][]string{
		{"serve", "--listen", "127.0.0.1:0", path},
		{"serve", "--vfio-user", filepath.Join(t.TempDir(), "s"), path},
		{"run", "--drive", "qemu", path, "--", "false"},
		{"run", "--drive", "zimg", path, "--", "false"},
	} {
		_, errs, code := zimgStatus(args...)
		if code != 75 || !strings.Contains(errs, pid) || !strings.Contains(errs, "zimg: hint: ") || !strings.Contains(errs, "kill ") {
			t.Errorf("%s: exit %d\n%s", strings.Join(args[:2], " "), code, errs)
		}
	}
	if code := s.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit %d", code)
	}
	zimg(t, "check", path)
}

// A drive at a vfio-user socket can be controlled like one on the network, also before a guest has connected.
func TestSocketControl(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, socket, said := filepath.Join(dir, "d.zimg"), filepath.Join(dir, "s"), filepath.Join(dir, "said")
	zimg(t, "create", "-q", "--zones", "4", "--zone-size", "1M", "--block-size", "4096", path)
	bin, err := program()
	if err != nil {
		t.Fatal(err)
	}
	ready, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ready.Close() }()
	out, err := os.Create(said)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "serve", "-q", "--ready-fd", "3", "--power-cut", "request", "--vfio-user", socket, path)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = out, out, []*os.File{w}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	_, _ = w.Close(), out.Close()
	if n, err := ready.Read(make([]byte, 100)); err != nil || n == 0 {
		t.Fatalf("not ready: %v", err)
	}
	zimg(t, "zone", "set-wp", "--written", "3", path, "1")
	zimg(t, "zone", "read-only", path, "2")
	for args, want := range map[string]string{
		"info": "1 Closed, 1 Read Only", "report": "READ ONLY", "map": "Read Only", "dump": `"state": "read-only"`,
	} {
		if got := zimg(t, args, path); !strings.Contains(strings.ToLower(got), strings.ToLower(want)) {
			t.Errorf("%s: no %q in\n%s", args, want, got)
		}
	}
	zimg(t, "fault", "add", "--zone", "0", "--status", "busy", path)
	if got := zimg(t, "fault", "list", path); !strings.Contains(got, "busy") {
		t.Errorf("faults: %s", got)
	}
	zimg(t, "snapshot", "-c", "now", path)
	if got := zimg(t, "power-cut", "--unflushed", "torn", "--seed", "3", path); got != "seed 3\n" {
		t.Errorf("power-cut: %s", got)
	}
	if err := cmd.Wait(); err != nil {
		b, _ := os.ReadFile(said)
		t.Errorf("%v\n%s", err, b)
	}
	if _, err := os.Lstat(socket); !os.IsNotExist(err) {
		t.Errorf("the socket is left: %v", err)
	}
	zimg(t, "check", "--data", path)
}
