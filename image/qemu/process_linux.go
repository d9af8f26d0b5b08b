package qemu

import (
	"os"
	"os/exec"
	"syscall"
)

// setParentDeathSignal has the kernel kill the process when the thread that starts it ends.
func setParentDeathSignal(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// signalOf is the number of the signal that ended a process.
func signalOf(e *exec.ExitError) int {
	if s, ok := e.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		return int(s.Signal())
	}
	return 0
}

// dupFile is another descriptor of the same open file, locks included.
func dupFile(fd uintptr, name string) (*os.File, error) {
	n, err := syscall.Dup(int(fd))
	if err != nil {
		return nil, &os.PathError{Op: "dup", Path: name, Err: err}
	}
	syscall.CloseOnExec(n)
	return os.NewFile(uintptr(n), name), nil
}
