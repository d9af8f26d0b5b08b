package qemu

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// A guardian is a process in a session of its own, so that no signal to zimg's group reaches it. It holds one end of a
// socket. When the other end is closed without a word, zimg was killed: then it kills QEMU, and removes the folder
// of zimg's sockets.
//
// The kernel's own way, PR_SET_PDEATHSIG, is not enough: it is for the process that zimg starts, which may be a
// wrapper, and it is forgotten when a process changes its user.
type guardian struct {
	cmd  *exec.Cmd
	conn int
}

// startGuard starts command, which is to call Guard.
func startGuard(command []string) (*guardian, error) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	end := os.NewFile(uintptr(ends[1]), "guard")
	defer func() { _ = end.Close() }()
	cmd := &exec.Cmd{Path: command[0], Args: command[1:], Stdin: end, Dir: "/", SysProcAttr: &syscall.SysProcAttr{Setsid: true}}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, unix.Close(ends[0]))
	}
	return &guardian{cmd: cmd, conn: ends[0]}, nil
}

// watch names what is to be guarded: QEMU, by a descriptor of the process, which is not mistaken for a later one of
// the same number; its monitor, for a QEMU that only another user may kill; and the folder dir.
func (g *guardian) watch(pid int, monitor net.Conn, dir string) {
	if g == nil {
		return
	}
	var fds []int
	if c, ok := monitor.(*net.UnixConn); ok {
		if file, err := c.File(); err == nil {
			defer func() { _ = file.Close() }()
			fds = append(fds, int(file.Fd()))
		}
	}
	if fd, err := unix.PidfdOpen(pid, 0); err == nil && len(fds) == 1 {
		defer func() { _ = unix.Close(fd) }()
		fds = append(fds, fd)
	}
	_ = unix.Sendmsg(g.conn, []byte("/"+dir), unix.UnixRights(fds...), nil, unix.MSG_NOSIGNAL)
}

// dismiss ends the guardian: there is nothing left to guard.
func (g *guardian) dismiss() {
	if g == nil {
		return
	}
	_ = unix.Sendmsg(g.conn, []byte("done"), nil, nil, unix.MSG_NOSIGNAL)
	_ = unix.Close(g.conn)
	_ = g.cmd.Wait()
}

// Guard is the life of a guardian, whose standard input is its end of the socket. It returns the exit status.
func Guard() int {
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM)
	dir, monitor, process := "", -1, -1
	buf, oob := make([]byte, 4096), make([]byte, 64)
	for {
		n, oobn, _, _, err := unix.Recvmsg(0, buf, oob, unix.MSG_CMSG_CLOEXEC)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			break
		}
		if buf[0] != '/' { // dismissed
			return 0
		}
		dir = string(buf[1:n])
		messages, err := unix.ParseSocketControlMessage(oob[:oobn])
		if err != nil || len(messages) == 0 {
			continue
		}
		fds, err := unix.ParseUnixRights(&messages[0])
		if err != nil {
			continue
		}
		if len(fds) > 0 {
			monitor = fds[0]
		}
		if len(fds) > 1 {
			process = fds[1]
		}
	}
	if dir == "" { // zimg was killed before QEMU had connected, which then ends by itself
		return 0
	}
	if process < 0 || unix.PidfdSendSignal(process, unix.SIGKILL, nil, 0) != nil {
		_, _ = unix.Write(monitor, []byte("\n{\"execute\": \"quit\"}\n"))
	}
	_ = os.RemoveAll(dir)
	return 0
}
