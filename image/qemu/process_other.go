//go:build !linux

package qemu

import (
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
)

var errLinuxOnly = errors.New("images can be run on Linux only")

func setParentDeathSignal(*exec.Cmd) {}

func blockSignals() (restore func()) { return func() {} }

func pendingSignal(int) int { return 0 }

func signalOf(*exec.ExitError) int { return 0 }

func kill(int) {}

func peer(net.Conn) int { return 0 }

func rights(*os.File) []byte { return nil }

func keepTerminal(io.Reader) (restore func()) { return func() {} }

func workingDir(int) (string, error) { return "", errLinuxOnly }

// dupFile has no counterpart here: a file cannot be handed to QEMU.
func dupFile(uintptr, string) (*os.File, error) { return nil, errLinuxOnly }

// A guardian has no counterpart here.
type guardian struct{}

func startGuard([]string) (*guardian, error) { return nil, errLinuxOnly }

func (g *guardian) watch(int, net.Conn, string) {}

func (g *guardian) dismiss() {}

// Guard is for Linux.
func Guard() int { return 1 }
