//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// notifyProgress listens for SIGUSR1, the question how far it is.
func notifyProgress() (<-chan os.Signal, func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGUSR1)
	return c, func() { signal.Stop(c) }
}
