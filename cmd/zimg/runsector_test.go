//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"zimg/image/imagetest"

	"golang.org/x/sys/unix"

	"zimg/image/imagetest/guest"
)

// transcript is what a process has printed so far.
type transcript struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	more chan struct{}
}

func newTranscript() *transcript { return &transcript{more: make(chan struct{})} }

func (l *transcript) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.more)
	l.more = make(chan struct{})
	return l.buf.Write(p)
}

func (l *transcript) text() (string, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String(), l.more
}

func (l *transcript) String() string {
	s, _ := l.text()
	return s
}

// boxed is zimg run, as a process of its own, with the guest of a boot sector.
type boxed struct {
	t       *testing.T
	cmd     *exec.Cmd
	console *transcript // the guest's
	stderr  *transcript // QEMU's and zimg's; on a terminal the console has it too
	input   io.WriteCloser
	exited  chan struct{}
	path    string // of the image
	name    string // of the machine, which no other has
}

// boxes counts them.
var boxes atomic.Int64

// sectorArgs is a QEMU with that guest; its serial line is for the caller to connect.
func sectorArgs(t *testing.T) []string {
	t.Helper()
	disk := filepath.Join(t.TempDir(), "boot.img")
	if err := os.WriteFile(disk, guest.BootDisk(), 0o666); err != nil {
		t.Fatal(err)
	}
	return []string{"qemu-system-x86_64", "-nodefaults", "-accel", "tcg", "-m", "64M", "-drive", "format=raw,file=" + disk}
}

// startBoxed starts a command whose words are before, zimg run with flags and the image at path, and the QEMU with more
// arguments.
func startBoxed(t *testing.T, path string, before, flags, qemu []string, setup func(*boxed)) *boxed {
	t.Helper()
	imagetest.NeedsPrograms(t, "QEMU")
	zimg, err := program()
	if err != nil {
		t.Fatal(err)
	}
	argv := append(append(append([]string{}, before...), zimg, "run"), flags...)
	name := fmt.Sprintf("zimg-test-%d-%d", os.Getpid(), boxes.Add(1))
	argv = append(append(argv, path, "--"), append(qemu, "-name", name)...)
	b := &boxed{t: t, path: path, name: name, console: newTranscript(), stderr: newTranscript(), exited: make(chan struct{})}
	b.cmd = exec.Command(argv[0], argv[1:]...)
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	b.cmd.Stdout, b.cmd.Stderr = b.console, b.stderr
	if setup != nil {
		setup(b)
	} else if b.input, err = b.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = b.cmd.Wait()
		close(b.exited)
	}()
	t.Cleanup(func() {
		_ = b.cmd.Process.Kill()
		<-b.exited
	})
	return b
}

// serial is a QEMU with the guest of a boot sector, on standard input and output.
func serial(t *testing.T, more ...string) []string {
	return append(append(sectorArgs(t), "-display", "none", "-serial", "stdio"), more...)
}

// await waits until l contains text, n times.
func (b *boxed) await(l *transcript, text string, n int) {
	b.t.Helper()
	late := time.After(patience)
	for {
		s, more := l.text()
		if strings.Count(s, text) >= n {
			return
		}
		select {
		case <-more:
		case <-b.exited:
			if s, _ := l.text(); strings.Count(s, text) < n {
				b.t.Fatalf("it has ended without %q:\n%s\n%s", text, b.console, b.stderr)
			}
			return
		case <-late:
			b.t.Fatalf("no %q (%d):\n%s\n%s", text, n, b.console, b.stderr)
		}
	}
}

// typed writes to the guest's line.
func (b *boxed) typed(s string) {
	b.t.Helper()
	if _, err := io.WriteString(b.input, s); err != nil {
		b.t.Fatal(err)
	}
}

// ignoresButton has the guest ignore the power button. It answers to the next letter when it does.
func (b *boxed) ignoresButton() {
	b.t.Helper()
	b.typed("ix")
	b.await(b.console, "<x>", 1)
}

// signal sends zimg a signal.
func (b *boxed) signal(s syscall.Signal) {
	b.t.Helper()
	if err := b.cmd.Process.Signal(s); err != nil {
		b.t.Fatal(err)
	}
}

// end waits until zimg has ended and wants it to have ended so: with an exit status, or by a signal.
func (b *boxed) end(status int, by syscall.Signal) {
	b.t.Helper()
	select {
	case <-b.exited:
	case <-time.After(patience):
		b.t.Fatalf("zimg has not ended:\n%s\n%s", b.console, b.stderr)
	}
	ws, ok := b.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok {
		b.t.Fatal("no wait status")
	}
	switch {
	case by != 0 && (!ws.Signaled() || ws.Signal() != by):
		b.t.Errorf("zimg: %v, want the signal %v\n%s\n%s", b.cmd.ProcessState, by, b.console, b.stderr)
	case by == 0 && (!ws.Exited() || ws.ExitStatus() != status):
		b.t.Errorf("zimg: %v, want status %d\n%s\n%s", b.cmd.ProcessState, status, b.console, b.stderr)
	}
}

// saved wants the image to be clean, and not by way of a repair.
func (b *boxed) saved() {
	b.t.Helper()
	if strings.Contains(b.stderr.String(), "recovered") {
		b.t.Errorf("the zones were recovered, not saved:\n%s", b.stderr)
	}
	if out, errs, code := zimgStatus("check", b.path); code != 0 {
		b.t.Errorf("check: exit %d\n%s%s", code, out, errs)
	}
	if left, _ := filepath.Glob(b.path + ".z*"); len(left) > 0 {
		b.t.Errorf("left: %v", left)
	}
	b.noQEMU()
}

// noQEMU wants no QEMU to be left.
func (b *boxed) noQEMU() {
	b.t.Helper()
	if pid := b.findQEMU(); pid != 0 {
		b.gone(pid)
	}
}

// gone waits until a process has ended, and with it its locks.
func (b *boxed) gone(pid int) {
	b.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		// Nobody may be there to wait for it. The others of its threads end after the first.
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
		if err != nil || strings.Contains(string(stat), ") Z ") && len(threads) <= 1 {
			return
		}
		if time.Now().After(end) {
			b.t.Fatalf("QEMU %d lives on", pid)
		}
	}
}

// findQEMU finds b's QEMU, by its name.
func (b *boxed) findQEMU() int {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range lines {
		line, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		words := strings.Split(string(line), "\x00")
		if strings.HasPrefix(filepath.Base(words[0]), "qemu-system") && slices.Contains(words, b.name) {
			var pid int
			_, _ = fmt.Sscanf(name, "/proc/%d/", &pid)
			return pid
		}
	}
	return 0
}

// terminal makes b's standard streams a terminal, its controlling one, and b.input what is typed there.
func terminal(t *testing.T) func(b *boxed) {
	return func(b *boxed) {
		t.Helper()
		fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		master := os.NewFile(uintptr(fd), "/dev/ptmx") // not blocking, so that Close ends a Read
		t.Cleanup(func() { _ = master.Close() })
		if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
			t.Fatal(err)
		}
		n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
		if err != nil {
			t.Fatal(err)
		}
		slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
		if err != nil {
			t.Fatal(err)
		}
		b.cmd.Stdin, b.cmd.Stdout, b.cmd.Stderr = slave, slave, slave
		b.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
		b.stderr = b.console
		b.input = master
		go func() {
			_, err := io.Copy(b.console, master)
			if err != nil && !errors.Is(err, syscall.EIO) && !errors.Is(err, os.ErrClosed) {
				t.Errorf("read the terminal: %v", err)
			}
		}()
		t.Cleanup(func() { _ = slave.Close() })
	}
}
