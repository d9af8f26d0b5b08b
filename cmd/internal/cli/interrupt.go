package cli

import (
	"context"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
)

// ExitBySignal is added to the number of the signal that interrupted a command.
const ExitBySignal = 128

// Interruptible is a context that SIGINT and SIGTERM end, for a command to leave everything as it was.
// received is the signal, if there was one. A second one ends the process as it does every other: a
// command may be waiting for what does not come.
func Interruptible() (ctx context.Context, received func() os.Signal, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var got atomic.Value
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case s := <-signals:
			got.Store(s)
			cancel()
		case <-ctx.Done():
		}
		signal.Stop(signals)
	}()
	received = func() os.Signal {
		s, _ := got.Load().(os.Signal)
		return s
	}
	return ctx, received, cancel
}

// SignalNumber is the number that shells know s by.
func SignalNumber(s os.Signal) int {
	n, _ := s.(syscall.Signal)
	return int(n)
}
