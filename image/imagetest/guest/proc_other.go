//go:build !linux

package guest

import (
	"errors"
	"os/exec"
)

func dieWithParent(*exec.Cmd) {}

func ownGroup(*exec.Cmd) {}

func killProcess(int) error { return errors.ErrUnsupported }

func killGroup(int) error { return errors.ErrUnsupported }

func lockFile(string) (unlock func(), err error) { return nil, errors.ErrUnsupported }
