package cli

import (
	"context"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"zimg/image/goroutine"
)

// ExitBySignal is added to the number of the signal that interrupted a command.
const ExitBySignal = 128

// OneRequest is how long signals count as one: timeout(1) sends its signal to zimg and then to its group, and a
// terminal and a wrapper may both pass on a Ctrl-C.
const OneRequest = 250 * time.Millisecond

// lastResort is how long a command may take to end after two signals at the same time: timeout(1) sends no third one.
const lastResort = 5 * time.Second

// Interruptible is a context that SIGINT and SIGTERM end, for a command to leave everything as it was.
// received is the signal, if there was one. A second one ends the process as it does every other: a
// command may be waiting for what does not come. SIGQUIT, Ctrl-\ of a terminal, ends the process at once until stop is
// called. Go would print the stacks of all goroutines and exit with status 2, which check and compare use.
func Interruptible() (ctx context.Context, received func() os.Signal, stop func()) {
	unquit := quitOnSignal()
	over := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	var got atomic.Value
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	goroutine.Go(Panicked(os.Stderr), func() {
		defer signal.Stop(signals)
		select {
		case s := <-signals:
			got.Store(s)
			cancel()
			if twice(signals, over, lastResort) {
				Raise(s)
			}
		case <-over:
		}
	})
	received = func() os.Signal {
		s, _ := got.Load().(os.Signal)
		return s
	}
	return ctx, received, func() {
		cancel()
		close(over)
		unquit()
	}
}

// twice waits after a first signal, and reports whether a second one is to end the process. One that came together with the
// first does so after patience, unless over is closed. After that signals have their usual effect.
func twice(signals chan os.Signal, over <-chan struct{}, patience time.Duration) bool {
	window := time.NewTimer(OneRequest)
	select {
	case <-over:
		return false
	case <-window.C:
		return false
	case <-signals:
	}
	select {
	case <-window.C:
	case <-over:
		return false
	}
	signal.Stop(signals)
	select {
	case <-time.After(patience):
		return true
	case <-over:
		return false
	}
}

// quitOnSignal has SIGQUIT end the process with the exit status of a signal, unless it is ignored.
func quitOnSignal() (stop func()) {
	if signal.Ignored(syscall.SIGQUIT) {
		return func() {}
	}
	signals, over := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, syscall.SIGQUIT)
	goroutine.Go(Panicked(os.Stderr), func() {
		select {
		case <-signals:
			os.Exit(ExitBySignal + SignalNumber(syscall.SIGQUIT))
		case <-over:
		}
	})
	return func() {
		signal.Stop(signals)
		close(over)
	}
}

// SignalNumber is the number that shells know s by.
func SignalNumber(s os.Signal) int {
	n, _ := s.(syscall.Signal)
	return int(n)
}
