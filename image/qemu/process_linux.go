package qemu

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// setParentDeathSignal has the kernel kill the process when the thread that starts it ends.
func setParentDeathSignal(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// blocked are the signals by which others ask QEMU to end.
var blocked = []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM}

// blockSignals blocks them in this thread, from which a process that it starts has its mask, until restore.
func blockSignals() (restore func()) {
	var set, old unix.Sigset_t
	for _, n := range blocked {
		set.Val[0] |= 1 << (n - 1)
	}
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &set, &old); err != nil {
		return func() {} // cannot happen: the arguments are right
	}
	return func() { _ = unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil) }
}

// pendingSignal is one of the blocked signals that the process was sent, 0 if there is none (proc_pid_status(5)).
func pendingSignal(pid int) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), "\nShdPnd:")
	line, _, _ := strings.Cut(rest, "\n")
	mask, err := strconv.ParseUint(strings.TrimSpace(line), 16, 64)
	if err != nil {
		return 0
	}
	for _, n := range blocked {
		if mask&(1<<(n-1)) != 0 {
			return int(n)
		}
	}
	return 0
}

// signalOf is the number of the signal that ended a process.
func signalOf(e *exec.ExitError) int {
	if s, ok := e.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		return int(s.Signal())
	}
	return 0
}

// kill kills a process; one that is gone already is no matter.
func kill(pid int) { _ = unix.Kill(pid, unix.SIGKILL) }

// peer is the process at the other end of a Unix socket, 0 if that is not to be known.
func peer(conn net.Conn) int {
	c, ok := conn.(*net.UnixConn)
	if !ok {
		return 0
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return 0
	}
	pid := 0
	_ = raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid = int(cred.Pid)
		}
	})
	return pid
}

// rights is the control message that hands over a file.
func rights(file *os.File) []byte { return unix.UnixRights(int(file.Fd())) }

// keepTerminal restores the settings of the terminal that in is, if it is one: a QEMU that is killed cannot.
func keepTerminal(in io.Reader) (restore func()) {
	file, ok := in.(*os.File)
	if !ok {
		return func() {}
	}
	fd := int(file.Fd())
	before, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return func() {}
	}
	return func() {
		now, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		if err != nil || *now == *before {
			return
		}
		// From the background it would stop us.
		if group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP); err == nil && group == unix.Getpgrp() {
			_ = unix.IoctlSetTermios(fd, unix.TCSETS, before)
		}
	}
}

// workingDir is the folder in which a process finds relative names.
func workingDir(pid int) (string, error) { return os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid)) }

// dupFile is another descriptor of the same open file, locks included.
func dupFile(fd uintptr, name string) (*os.File, error) {
	n, err := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, &os.PathError{Op: "dup", Path: name, Err: err}
	}
	return os.NewFile(uintptr(n), name), nil
}
