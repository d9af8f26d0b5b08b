package disk_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"zimg/image/imagetest"

	"golang.org/x/sys/unix"

	"zimg/image/disk"
)

func open(t *testing.T, name string, mode disk.Mode) disk.File {
	t.Helper()
	f, err := disk.OS.Open(name, mode, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func lock(t *testing.T, f disk.File, mode disk.LockMode) {
	t.Helper()
	if err := f.Lock(mode); err != nil {
		t.Fatal(err)
	}
}

// wantLocked checks the whole message: users search the web for QEMU's words.
func wantLocked(t *testing.T, err error, name, perm string) {
	t.Helper()
	want := fmt.Sprintf("%s: failed to get %s lock: is another process using the image [%s]?", name, perm, name)
	if !errors.Is(err, disk.ErrLocked) || err.Error() != want {
		t.Errorf("error is %q (%v), want ErrLocked and %q", err, errors.Is(err, disk.ErrLocked), want)
	}
}

// run runs a program to its end and returns all it said.
func run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	imagetest.NeedsPrograms(t, "qemu-img")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
	return string(out), err
}

// start starts a program that waits for its standard input, says what is to be
// said to it and returns when it has answered with the word want.
func start(t *testing.T, extra []*os.File, say, want string, args ...string) (cmd *exec.Cmd, stdin io.WriteCloser) {
	t.Helper()
	imagetest.NeedsPrograms(t, "QEMU")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	cmd = exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.ExtraFiles = extra
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = stdin.Close(); _ = cmd.Wait() })
	if _, err := io.WriteString(stdin, say); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if strings.Contains(lines.Text(), want) {
			return cmd, stdin
		}
	}
	t.Fatalf("%s ended and never said %q", args[0], want)
	return nil, nil
}

func startIO(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd, _ := start(t, nil, "length\n", "4 MiB", append([]string{"qemu-io", "-f", "raw"}, args...)...)
	return cmd
}

// startMachine starts a paused machine with an NVMe drive on filename.
func startMachine(t *testing.T, extra []*os.File, filename string, args ...string) (*exec.Cmd, io.WriteCloser) {
	t.Helper()
	return start(t, extra, `{"execute":"qmp_capabilities"} {"execute":"query-status"}`+"\n", "prelaunch", append(args,
		"-S", "-nodefaults", "-display", "none", "-accel", "tcg", "-m", "16", "-qmp", "stdio",
		"-blockdev", "driver=raw,node-name=n,file.driver=file,file.filename="+filename,
		"-device", "nvme,serial=1", "-device", "nvme-ns,drive=n")...)
}

func kill(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
}

func TestLocksAmongUs(t *testing.T) {
	name := create(t, 4*mib).Name()
	a, b := open(t, name, disk.ReadWrite), open(t, name, disk.ReadOnly)

	lock(t, a, disk.LockRead)
	lock(t, b, disk.LockRead)
	wantLocked(t, a.Lock(disk.LockWrite), name, `"write"`)

	// The refused lock must have left a's old one and nothing else.
	lock(t, b, disk.LockNone)
	wantLocked(t, b.Lock(disk.LockWrite), name, `"write"`)
	lock(t, b, disk.LockRead)

	lock(t, b, disk.LockNone)
	lock(t, a, disk.LockWrite)
	wantLocked(t, b.Lock(disk.LockRead), name, `shared "write"`)
	wantLocked(t, b.Lock(disk.LockWrite), name, `"write"`)

	lock(t, a, disk.LockRead) // a writer may become a reader
	lock(t, b, disk.LockRead)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	lock(t, b, disk.LockWrite)
}

// A program that is being started has a copy of each descriptor for a moment. That keeps no lock of a file that was closed.
func TestCloseGivesLockBack(t *testing.T) {
	name := create(t, 4*mib).Name()
	f := open(t, name, disk.ReadWrite)
	lock(t, f, disk.LockWrite)
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	copies := 0
	for _, entry := range fds { // not by Fd, which says that another process may rely on the lock
		if target, err := os.Readlink("/proc/self/fd/" + entry.Name()); err != nil || target != name {
			continue
		}
		fd, err := strconv.Atoi(entry.Name())
		if err != nil {
			t.Fatal(err)
		}
		if fd, err = unix.Dup(fd); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Close(fd) })
		copies++
	}
	if copies < 2 { // of create's descriptor, and of f's
		t.Fatalf("%d descriptors are in /proc/self/fd, want at least 2", copies)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	lock(t, open(t, name, disk.ReadWrite), disk.LockWrite)
}

func TestQEMUHonoursLockWrite(t *testing.T) {
	name := create(t, 4*mib).Name()
	f := open(t, name, disk.ReadWrite)
	lock(t, f, disk.LockWrite)
	for _, args := range [][]string{
		{"qemu-img", "convert", "-f", "raw", "-O", "raw", name, name + ".copy"},
		{"qemu-img", "resize", "-f", "raw", name, "8M"},
		{"qemu-io", "-f", "raw", "-c", "write 0 4k", name},
		{"qemu-io", "-r", "-f", "raw", "-c", "read 0 4k", name},
	} {
		out, err := run(t, args...)
		if err == nil || !strings.Contains(out, "Is another process using the image ["+name+"]?") {
			t.Errorf("%q was let in: %v\n%s", args, err, out)
		}
	}
	// It reads nothing of a raw image, so no lock keeps it out.
	if out, err := run(t, "qemu-img", "info", name); err != nil {
		t.Errorf("qemu-img info: %v\n%s", err, out)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if out, err := run(t, "qemu-img", "resize", "-f", "raw", name, "8M"); err != nil {
		t.Errorf("after Close: %v\n%s", err, out)
	}
}

func TestQEMUHonoursLockRead(t *testing.T) {
	name := create(t, 4*mib).Name()
	f := open(t, name, disk.ReadOnly)
	lock(t, f, disk.LockRead)
	if out, err := run(t, "qemu-img", "info", name); err != nil {
		t.Errorf("two readers: %v\n%s", err, out)
	}
	for _, args := range [][]string{
		{"qemu-img", "resize", "-f", "raw", name, "8M"},
		{"qemu-io", "-f", "raw", "-c", "write 0 4k", name},
	} {
		if out, err := run(t, args...); err == nil || !strings.Contains(out, `Failed to get "write" lock`) {
			t.Errorf("%q was let in: %v\n%s", args, err, out)
		}
	}
}

func TestWeHonourQEMU(t *testing.T) {
	t.Run("writer", func(t *testing.T) {
		name := create(t, 4*mib).Name()
		f := open(t, name, disk.ReadWrite)
		cmd := startIO(t, name)
		wantLocked(t, f.Lock(disk.LockWrite), name, `shared "write"`)
		wantLocked(t, f.Lock(disk.LockRead), name, `shared "write"`)
		kill(t, cmd)
		lock(t, f, disk.LockWrite)
	})
	t.Run("reader", func(t *testing.T) {
		name := create(t, 4*mib).Name()
		f := open(t, name, disk.ReadWrite)
		cmd := startIO(t, "-r", name)
		wantLocked(t, f.Lock(disk.LockWrite), name, `shared "consistent read"`)
		lock(t, f, disk.LockRead)
		kill(t, cmd)
		lock(t, f, disk.LockWrite)
	})
	t.Run("machine", func(t *testing.T) {
		name := create(t, 4*mib).Name()
		f := open(t, name, disk.ReadWrite)
		cmd, _ := startMachine(t, nil, name, "qemu-system-x86_64")
		wantLocked(t, f.Lock(disk.LockWrite), name, `"write"`)
		wantLocked(t, f.Lock(disk.LockRead), name, `shared "write"`)
		kill(t, cmd)
		lock(t, f, disk.LockWrite)
	})
}

// TestLockIsSharedWithDescriptor hands our descriptor to a machine: its locks and
// ours are then the same, and ours must outlive it however it ends.
func TestLockIsSharedWithDescriptor(t *testing.T) {
	for _, end := range []string{"kill", "quit"} {
		t.Run(end, func(t *testing.T) {
			name := create(t, 4*mib).Name()
			f := open(t, name, disk.ReadWrite)
			lock(t, f, disk.LockWrite)
			fd, err := unix.Dup(int(f.(interface{ Fd() uintptr }).Fd()))
			if err != nil {
				t.Fatal(err)
			}
			handed := os.NewFile(uintptr(fd), name)
			cmd, stdin := startMachine(t, []*os.File{handed}, "/dev/fdset/1", "qemu-system-x86_64", "-add-fd", "fd=3,set=1")
			if err := handed.Close(); err != nil {
				t.Fatal(err)
			}
			other := open(t, name, disk.ReadOnly)
			wantLocked(t, other.Lock(disk.LockRead), name, `shared "write"`)
			if end == "kill" {
				kill(t, cmd)
			} else {
				if _, err := io.WriteString(stdin, `{"execute":"quit"}`+"\n"); err != nil {
					t.Fatal(err)
				}
				if err := cmd.Wait(); err != nil {
					t.Fatal(err)
				}
				lock(t, f, disk.LockWrite) // QEMU gave its bytes back, and with them ours
			}
			wantLocked(t, other.Lock(disk.LockRead), name, `shared "write"`)
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			lock(t, other, disk.LockRead)
		})
	}
}
