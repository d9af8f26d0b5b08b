package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// pendingPoll is how often zimg looks whether somebody has sent QEMU a signal.
const pendingPoll = 250 * time.Millisecond

// staysGrace is how long a guest may take to power down where the caller of QEMU wants it to stay after a shutdown. Such a
// caller, like libvirt, has its own way to press the power button, and kills a QEMU 10 seconds after its SIGTERM.
const staysGrace = 5 * time.Second

// wait returns nil when the guest has shut down, or was to be ended, and its zones are saved.
//
// The first request to stop (ctx) is passed on to the guest as the power button, the second (stop) ends it. After a
// request the guest does not stay when it has shut down. A signal to QEMU alone would end it at once: it waits, blocked, until the zones are saved.
func (s *session) wait(ctx context.Context, stop <-chan struct{}) error {
	down := ctx.Done()
	var late <-chan time.Time
	ticker := time.NewTicker(pendingPoll)
	defer ticker.Stop()
	for {
		select {
		case e, ok := <-s.qmp.Events:
			if !ok {
				s.awaitExit(s.Timeout)
				return s.gone(s.exitError())
			}
			over, err := s.event(e)
			if err != nil {
				return s.gone(err)
			}
			if !over {
				continue
			}
			if !s.caller.stays || ctx.Err() != nil {
				return s.save()
			}
			s.resumes = e.resumes
			if err := s.keep(); err != nil {
				return err
			}
		case <-down:
			down = nil
			if s.saved {
				return nil
			}
			s.Log("asking the guest to power down; repeat to save the zones and end QEMU")
			if err := s.qmp.Do("system_powerdown", nil, nil); err != nil {
				return err
			}
			if s.caller.stays {
				late = time.After(staysGrace)
			}
		case <-late:
			s.Log("the guest has not powered down: saving the zones and ending QEMU")
			return s.save()
		case <-stop:
			s.Log("saving the zones and ending QEMU")
			return s.save()
		case <-s.Off:
			s.Log("the power was cut: ending QEMU")
			return s.save()
		case <-ticker.C:
			if s.signal = s.pendingSignal(ctx); s.signal != 0 {
				s.Log("QEMU received signal %d: saving the zones", s.signal)
				return s.save()
			}
		}
	}
}

// event reports whether e ends the run, and an error if QEMU will not wait for the zones to be saved.
func (s *session) event(e Event) (over bool, err error) {
	var data struct{ Action, Reason string }
	_ = json.Unmarshal(e.Data, &data) // an event without data has neither
	switch e.Name {
	case "RESUME":
		s.saved = false
	case "SHUTDOWN":
		if data.Reason == "host-qmp-quit" || data.Reason == "host-signal" {
			s.awaitExit(s.Timeout)
			return false, fmt.Errorf("quit command: %w", ErrQEMUGone)
		}
		s.panicked = data.Reason == "guest-panic"
		return true, nil
	case "GUEST_PANICKED":
		// A panic that is to shut the machine down only pauses it where a shutdown does, without a SHUTDOWN.
		s.panicked = data.Action == "pause"
		return s.panicked && s.caller.panic != "pause" && !s.caller.stays, nil
	case "WATCHDOG":
		return data.Action == "pause" && s.caller.watchdog == "poweroff", nil
	}
	return false, nil
}

// gone is the end of a run whose QEMU has ended: well, if the zones were saved and the guest has not run since.
func (s *session) gone(err error) error {
	if s.saved {
		return nil
	}
	return err
}

func (s *session) exitError() error {
	select {
	case <-s.exited:
		return fmt.Errorf("%w: %w", ErrQEMUGone, &ExitError{s.status})
	default:
		return ErrQEMUGone
	}
}

// attempts bounds how often work on the paused machine starts anew because somebody has started the guest meanwhile.
const attempts = 20

// save saves the zones for good.
func (s *session) save() error {
	if s.saved {
		return nil
	}
	for range attempts {
		err := s.drives.save(false)
		if err == nil {
			s.saved = true
		}
		if !errors.Is(err, errRunning) {
			return err
		}
	}
	return errRunning
}

// keep saves the zones of a machine that has shut down and stays as it is, for its caller to end or to start again.
func (s *session) keep() error {
	if s.saved {
		return nil
	}
	err := s.drives.save(true)
	if errors.Is(err, errRunning) {
		// The caller was quicker. The guest starts over, since zimg has been at its drives.
		if err := s.restart(); err != nil {
			return err
		}
		if err := s.setActions(); err != nil {
			return err
		}
		return s.qmp.Do("cont", nil, nil)
	}
	if err != nil {
		return err
	}
	s.saved = true
	return s.setActions()
}

// pendingSignal is a signal that waits for QEMU, which blocks it, and that zimg was not sent as well: one that was
// sent to the process group or to all of a service's processes is zimg's to act on. It takes two looks, since
// the two do not get theirs at the same moment.
func (s *session) pendingSignal(ctx context.Context) int {
	if ctx.Err() != nil {
		return 0
	}
	n := pendingSignal(s.pid)
	if n == 0 || n != s.pending {
		s.pending = n
		return 0
	}
	return n
}
