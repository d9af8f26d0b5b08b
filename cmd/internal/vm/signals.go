package vm

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// powerButton turns the first SIGINT or SIGTERM into the end of ctx and the
// second into that of stop.
func powerButton() (ctx context.Context, stop <-chan struct{}, restore func()) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 4)
	done := make(chan struct{})
	end := make(chan struct{})
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case <-signals:
			cancel()
		case <-done:
			return
		}
		select {
		case <-signals:
			close(end)
		case <-done:
		}
	}()
	return ctx, end, func() { signal.Stop(signals); close(done); cancel() }
}
