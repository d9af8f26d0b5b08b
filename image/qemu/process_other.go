//go:build !linux

package qemu

import (
	"errors"
	"os"
	"os/exec"
)

func setParentDeathSignal(*exec.Cmd) {}

func signalOf(*exec.ExitError) int { return 0 }

// dupFile has no counterpart here: a file cannot be handed to QEMU.
func dupFile(uintptr, string) (*os.File, error) {
	return nil, errors.New("zimg run works on Linux only")
}

func placeholder(int64) (*os.File, error) {
	return nil, errors.New("zimg run works on Linux only")
}
