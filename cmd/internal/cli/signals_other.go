//go:build !unix

package cli

import "os"

// notifyProgress never asks: there is no SIGUSR1.
func notifyProgress() (<-chan os.Signal, func()) { return nil, func() {} }

// Raise does nothing: there is no way to be ended by a signal.
func Raise(os.Signal) {}
