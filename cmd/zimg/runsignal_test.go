//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"zimg/image/imagetest"
)

// A signal presses the power button, whether it is for zimg or for its whole process group, and zimg ends by it.
func TestRunSignalGroup(t *testing.T) {
	t.Parallel()
	for _, n := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM} {
		for _, group := range []bool{false, true} {
			t.Run(strings.ReplaceAll(n.String(), " ", "-"), func(t *testing.T) {
				t.Parallel()
				b := startBoxed(t, smallImage(t), nil, nil, serial(t), nil)
				b.await(b.console, "READY", 1)
				pid := b.cmd.Process.Pid
				if err := syscall.Kill(pid, n); err != nil { // timeout(1) sends both
					t.Fatal(err)
				}
				if group {
					if err := syscall.Kill(-pid, n); err != nil {
						t.Fatal(err)
					}
				}
				b.end(0, n)
				if !strings.Contains(b.stderr.String(), "asking the guest to power down") || strings.Contains(b.stderr.String(), "saving the zones") {
					t.Errorf("zimg said %s", b.stderr)
				}
				b.saved()
			})
		}
	}
}

// timeout(1) ends a run by the power button.
func TestRunTimeoutProgram(t *testing.T) {
	t.Parallel()
	for _, before := range [][]string{{"timeout", "8"}, {"timeout", "-k", "30", "8"}} {
		b := startBoxed(t, smallImage(t), before, nil, serial(t), nil)
		b.await(b.console, "READY", 1)
		b.end(124, 0)
		if !strings.Contains(b.stderr.String(), "asking the guest to power down") {
			t.Errorf("zimg said %s", b.stderr)
		}
		b.saved()
	}
}

// A guest that ignores the power button is ended by the second signal, its zones as they are.
func TestRunSecondSignal(t *testing.T) {
	t.Parallel()
	b := startBoxed(t, smallImage(t), nil, nil, serial(t), nil)
	b.await(b.console, "READY", 1)
	b.ignoresButton()
	for tick := time.NewTicker(100 * time.Millisecond); ; {
		select {
		case <-tick.C:
			_ = syscall.Kill(b.cmd.Process.Pid, syscall.SIGTERM)
			continue
		case <-b.exited:
		}
		break
	}
	b.end(0, syscall.SIGTERM)
	if !strings.Contains(b.stderr.String(), "saving the zones and ending QEMU") {
		t.Errorf("zimg said %s", b.stderr)
	}
	b.saved()
}

// A limit presses the power button.
func TestRunLimit(t *testing.T) {
	t.Parallel()
	b := startBoxed(t, smallImage(t), nil, []string{"--timeout", "6"}, serial(t), nil)
	b.await(b.console, "READY", 1)
	b.end(124, 0)
	if !strings.Contains(b.stderr.String(), "asking the guest to power down") {
		t.Errorf("zimg said %s", b.stderr)
	}
	b.saved()
}

// A signal to QEMU alone, which would end it at once, waits until the zones are saved.
func TestRunSignalToQEMU(t *testing.T) {
	t.Parallel()
	b := startBoxed(t, smallImage(t), nil, nil, serial(t), nil)
	b.await(b.console, "READY", 1)
	if err := syscall.Kill(b.findQEMU(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	b.end(0, syscall.SIGTERM)
	if !strings.Contains(b.stderr.String(), "QEMU received signal 15") {
		t.Errorf("zimg said %s", b.stderr)
	}
	b.saved()
}

// On a terminal Ctrl-C is for zimg where QEMU leaves it its meaning.
func TestRunTerminalSerial(t *testing.T) {
	t.Parallel()
	b := startBoxed(t, smallImage(t), nil, nil, serial(t), terminal(t))
	b.await(b.console, "READY", 1)
	b.typed("\x03")
	b.end(0, syscall.SIGINT)
	if !strings.Contains(b.console.String(), "asking the guest to power down") {
		t.Errorf("zimg said %s", b.console)
	}
	b.saved()
}

// With -nographic, and with mon:stdio, the terminal is the guest's: Ctrl-C goes to it, Ctrl-A c is the monitor, Ctrl-A x
// the end of QEMU.
func TestRunNographic(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"nographic": {"-nographic"},
		"mon:stdio": {"-display", "none", "-serial", "mon:stdio"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			qemu := append(sectorArgs(t), args...)
			if name == "nographic" { // its lines are the default devices
				qemu = append([]string{qemu[0]}, qemu[2:]...)
				// Without graphics the firmware would read the line as well.
				qemu = append(qemu, "-net", "none", "-vga", "none", "-machine", "graphics=on")
			}
			b := startBoxed(t, smallImage(t), nil, nil, qemu, terminal(t))
			b.await(b.console, "READY", 1)
			b.typed("\x03")
			b.await(b.console, "<C>", 1)
			b.typed("\x01c")
			b.await(b.console, "(qemu)", 1)
			b.typed("info status\n")
			b.await(b.console, "VM status: running", 1)
			b.typed("\x01c")
			b.typed("a")
			b.await(b.console, "<a>", 1)
			b.typed("\x01x")
			b.await(b.console, "QEMU: Terminated", 1)
			b.end(0, 0)
			if out, errs, code := zimgStatus("check", b.path); code != 0 {
				t.Errorf("check: exit %d\n%s%s", code, out, errs)
			}
			b.noQEMU()
		})
	}
}

// A terminal that is closed, as by the end of ssh, presses the power button.
func TestRunTerminalCloses(t *testing.T) {
	t.Parallel()
	b := startBoxed(t, smallImage(t), nil, nil, serial(t), terminal(t))
	b.await(b.console, "READY", 1)
	_ = b.input.Close()
	b.end(0, syscall.SIGHUP)
	b.saved()
}

// A zimg that is killed takes its QEMU with it, also one that a wrapper has started and waits for.
func TestRunKilledTakesQEMU(t *testing.T) {
	t.Parallel()
	wrapper := filepath.Join(t.TempDir(), "wrapper")
	if err := os.WriteFile(wrapper, []byte("#!/bin/sh\n\"$@\"\nexit $?\n"), 0o777); err != nil {
		t.Fatal(err)
	}
	for name, before := range map[string][]string{"alone": nil, "wrapper": {wrapper}, "session": {"setsid", "-w"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := startBoxed(t, smallImage(t), nil, nil, append(before, serial(t)...), nil)
			b.await(b.console, "READY", 1)
			pid := b.findQEMU()
			if err := b.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			<-b.exited
			b.gone(pid)
			if out, errs, code := zimgStatus("check", "--repair", b.path); code != 0 {
				t.Errorf("check --repair: exit %d\n%s%s", code, out, errs)
			}
		})
	}
}

// QEMU as another user: the kernel then forgets that it is to die with zimg.
func TestRunKilledRunas(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can change its user")
	}
	imagetest.NeedsPrograms(t, "QEMU")
	if err := exec.Command("id", "nobody").Run(); err != nil {
		t.Fatal(err)
	}
	as := []string{"-runas", "nobody"}
	help, err := exec.Command("qemu-system-x86_64", "-help").Output()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(help), "\n-runas ") { // QEMU 10 and later
		as = []string{"-run-with", "user=nobody"}
	}
	b := startBoxed(t, smallImage(t), nil, nil, serial(t, as...), nil)
	b.await(b.console, "READY", 1)
	pid := b.findQEMU()
	if err := b.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	b.gone(pid)
}
