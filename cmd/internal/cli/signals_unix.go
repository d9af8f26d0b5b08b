//go:build unix

package cli

import (
	"os"
	"os/signal"
	"syscall"
	"time"
)

// notifyProgress listens for SIGUSR1, the question how far it is.
func notifyProgress() (<-chan os.Signal, func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGUSR1)
	return c, func() { signal.Stop(c) }
}

// Raise ends the process as s would have. It returns only if that fails.
func Raise(s os.Signal) {
	signal.Reset(s)
	if n, ok := s.(syscall.Signal); ok && syscall.Kill(syscall.Getpid(), n) == nil {
		time.Sleep(time.Second) // another thread may be the one that gets it
	}
}
