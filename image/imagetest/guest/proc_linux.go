package guest

import (
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// dieWithParent makes cmd end when the test process dies, however that comes
// about. SIGTERM and not SIGKILL: a wrapper round QEMU must get the chance to
// end QEMU too.
func dieWithParent(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGTERM
}

// ownGroup gives cmd a process group of its own, so that killing the group ends
// QEMU also where a wrapper started it.
func ownGroup(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
}

// lockFile holds path until the returned function is called, against every
// other process that does so.
func lockFile(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		_ = f.Close()
		return nil, &os.PathError{Op: "flock", Path: path, Err: err}
	}
	return func() { _ = f.Close() }, nil
}

// killProcess kills a process that nobody can keep from dying.
func killProcess(pid int) error { return unix.Kill(pid, unix.SIGKILL) }

// killGroup kills the processes of a group made by ownGroup.
func killGroup(pid int) error { return unix.Kill(-pid, unix.SIGKILL) }
