//go:build !unix

package main

import "os"

// notifyProgress never asks: there is no SIGUSR1.
func notifyProgress() (<-chan os.Signal, func()) { return nil, func() {} }

// raise does nothing: there is no way to be ended by a signal.
func raise(os.Signal) {}
