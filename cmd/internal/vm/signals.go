package vm

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"zimg/cmd/internal/cli"
	"zimg/image/goroutine"
)

const (
	// hangUpGrace is how long a guest may take to power down when its terminal is gone, and there is nobody
	// to ask a second time.
	hangUpGrace = time.Minute
	// limitGrace is the same for a run that has reached its limit.
	limitGrace = 30 * time.Second
)

// stopper turns signals and the end of a run's time into requests to stop: the first presses the power button, the
// second saves the zones as they are.
type stopper struct {
	ctx     context.Context // ended by the first request
	stop    chan struct{}   // closed by the second
	cancel  context.CancelFunc
	signals chan os.Signal
	done    chan struct{}

	mu      sync.Mutex
	signal  syscall.Signal // the first one
	expired bool           // the run has reached its limit
}

// newStopper listens until close is called. limit is how long the run may take, 0 for no limit.
func newStopper(limit time.Duration, panicked func(v any)) *stopper {
	ctx, cancel := context.WithCancel(context.Background())
	s := &stopper{ctx: ctx, cancel: cancel, stop: make(chan struct{}), signals: make(chan os.Signal, 16), done: make(chan struct{})}
	// SIGQUIT, which a terminal sends for Ctrl-\, ends QEMU at once; the zones are recovered after that. It ended zimg, too,
	// until here.
	signal.Reset(syscall.SIGQUIT)
	signal.Notify(s.signals, syscall.SIGHUP, os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT)
	goroutine.Go(panicked, func() { s.listen(limit) })
	return s
}

func (s *stopper) listen(limit time.Duration) {
	var expiry, grace <-chan time.Time
	if limit > 0 {
		expiry = time.After(limit)
	}
	var first time.Time
	stopped := false
	for {
		select {
		case got := <-s.signals:
			n, ok := got.(syscall.Signal)
			if !ok || n == syscall.SIGQUIT {
				continue
			}
			s.note(n, false)
			switch {
			case first.IsZero():
				first = time.Now()
				s.cancel()
				if n == syscall.SIGHUP {
					grace = time.After(hangUpGrace)
				}
			case time.Since(first) > cli.OneRequest && !stopped:
				stopped = true
				close(s.stop)
			}
		case <-expiry:
			if first.IsZero() {
				first = time.Now()
				s.note(0, true)
				s.cancel()
				grace = time.After(limitGrace)
			}
		case <-grace:
			if !stopped {
				stopped = true
				close(s.stop)
			}
		case <-s.done:
			return
		}
	}
}

func (s *stopper) note(n syscall.Signal, expired bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.signal == 0 && !s.expired {
		s.signal, s.expired = n, expired
	}
}

// reason is the signal that has stopped the run, or that its time had run out.
func (s *stopper) reason() (n syscall.Signal, expired bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.signal, s.expired
}

// close stops listening.
func (s *stopper) close() {
	signal.Stop(s.signals)
	close(s.done)
	s.cancel()
}
