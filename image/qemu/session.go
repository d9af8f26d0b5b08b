package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"zimg/image"
	"zimg/image/journal"
)

// A session is one run of QEMU:
//
//	start QEMU paused, its namespaces on nodes that swallow writes
//	drive the controllers into the saved state            restore.go
//	put the images under the nodes, reset the machine
//	mark the images as in use; let the guest go
//	... until it has shut down, and QEMU is paused again ...
//	reset the machine, read the zones                     capture.go
//	commit them, and only then let QEMU go
//
// The files of an image are opened and locked by zimg and handed to QEMU as file
// descriptors. So QEMU's locks are on zimg's own open file descriptions: the two do not
// get in each other's way, and nobody else comes in between, also if QEMU is killed.

// Config says what to run.
type Config struct {
	Images  []*image.Image // opened for writing, clean
	Command []string       // QEMU and its arguments
	// Streams of QEMU.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Log, if not nil, is told what happens.
	Log func(format string, args ...any)
	// Record, if not nil, says where the run of the only image, which has one data file, is recorded.
	Record *Record
	// Timeout is how long QEMU may take to answer; 0 for the default.
	Timeout time.Duration
}

// Record is where a run is recorded: Log exists and is empty, Trace does not exist. TraceEvents are
// traced beside those of the journal.
type Record struct {
	Log, Trace  string
	TraceEvents []string
}

// DefaultTimeout for an answer of QEMU: it answers within milliseconds, unless
// it is too old for this, or hangs.
const DefaultTimeout = 20 * time.Second

// ErrDied is wrapped by the error of a run whose QEMU ended before the zones were saved.
var ErrDied = errors.New("QEMU ended before the zones could be saved")

// ExitError is how QEMU ended: its own exit status, 128 + n for a signal n.
type ExitError struct{ Status int }

func (e *ExitError) Error() string { return fmt.Sprintf("QEMU ended with status %d", e.Status) }

type session struct {
	Config
	caller callerArgs
	dir    string
	cmd    *exec.Cmd
	exited chan struct{}
	status int
	qmp    *QMP
	qtest  *QTest
	began  bool // the images are marked as in use
	saved  bool // and their zones committed
	ids    []string
}

// Run runs QEMU until the guest has shut down and its zones are committed. It
// returns ErrDied if QEMU ended before that: then the images are still marked as in use.
// ctx asks the guest to power down; a second signal on stop saves the zones as they are and ends QEMU.
func Run(ctx context.Context, c Config, stop <-chan struct{}) (status int, err error) {
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Log == nil {
		c.Log = func(string, ...any) {}
	}
	s := &session{Config: c, exited: make(chan struct{})}
	if s.dir, err = os.MkdirTemp("", "zimg-run-"); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(s.dir)) }()
	err = s.run(ctx, stop)
	if s.cmd != nil {
		s.end()
	}
	if !s.began && s.traceFile() != "" { // QEMU has opened its log
		err = errors.Join(err, journal.Remove(c.Images[0].Files().FS, c.Images[0].Path()))
	}
	return s.status, err
}

func (s *session) run(ctx context.Context, stop <-chan struct{}) error {
	if err := s.linkTrace(); err != nil {
		return err
	}
	if err := s.start(ctx); err != nil {
		return s.explain(err)
	}
	if err := s.restore(); err != nil {
		return s.explain(err)
	}
	if err := s.begin(); err != nil {
		return err
	}
	if s.caller.noReboot {
		if err := s.rebootAction("shutdown"); err != nil {
			return s.died(err)
		}
	}
	if !s.caller.paused {
		if err := s.qmp.Do("cont", nil, nil); err != nil {
			return s.died(err)
		}
	}
	if err := s.wait(ctx, stop); err != nil {
		return s.died(err)
	}
	if err := s.capture(); err != nil {
		return s.died(err)
	}
	_ = s.qmp.Do("quit", nil, nil) // it may be gone before it has answered
	s.awaitExit(s.Timeout)
	return nil
}

// explain makes the error of a QEMU that did not get as far as the guest.
func (s *session) explain(err error) error {
	if errors.Is(err, ErrQEMUGone) {
		s.awaitExit(time.Second)
		select {
		case <-s.exited:
			return &image.HintError{Err: fmt.Errorf("QEMU ended at its start: %w", &ExitError{s.status}), Hint: "the image is as it was before; what was wrong QEMU says above"}
		default:
		}
	}
	if errors.Is(err, ErrTimeout) && s.qmp != nil {
		return &image.HintError{Err: err, Hint: fmt.Sprintf("zimg run needs QEMU 7.1 or later, this is %s; the image is as it was before", s.qmp.Version)}
	}
	return err
}

// died makes the error of a run that ended without its zones being saved.
func (s *session) died(err error) error {
	if s.saved {
		return err
	}
	return fmt.Errorf("%w: %w", ErrDied, err)
}

// rebootAction says what a reset of the machine does.
func (s *session) rebootAction(action string) error {
	return s.qmp.Do("set-action", map[string]any{"reboot": action}, nil)
}

// each opens the controller of every image in turn.
func (s *session) each(work func(c *Controller, im *image.Image) error) error {
	for k, im := range s.Images {
		if !hasZones(im) {
			continue
		}
		place, err := findPCI(s.qmp, s.ids[k])
		if err != nil {
			return err
		}
		c, err := OpenController(s.qtest, place)
		if err != nil {
			return fmt.Errorf("%s: %w", im.Path(), err)
		}
		if err := work(c, im); err != nil {
			return fmt.Errorf("%s: %w", im.Path(), err)
		}
		if err := c.close(); err != nil {
			return err
		}
	}
	return nil
}

func hasZones(im *image.Image) bool {
	for _, n := range im.Namespaces() {
		if n.Zoned() {
			return true
		}
	}
	return false
}

// restore brings the zones into the saved state and the images under the nodes.
func (s *session) restore() error {
	if err := s.each((*Controller).Restore); err != nil {
		return err
	}
	var options []any
	for k, im := range s.Images {
		for _, n := range im.Namespaces() {
			file := FileNode(s.ids[k], int(n.DataFile))
			if s.Record != nil {
				file = recordNode(s.ids[k])
			}
			options = append(options, map[string]any{
				"driver": "raw", "node-name": RawNode(s.ids[k], n.ID), "file": file,
				"offset": n.DataOff, "size": n.DataLen, "discard": "unmap",
			})
		}
	}
	if err := s.qmp.Do("blockdev-reopen", map[string]any{"options": options}, nil); err != nil {
		return err
	}
	return s.qmp.Do("system_reset", nil, nil)
}

// wait returns when the guest has shut down and QEMU is paused. The first
// request to stop is passed on to the guest as the power button, the second ends it.
func (s *session) wait(ctx context.Context, stop <-chan struct{}) error {
	down := ctx.Done()
	for {
		select {
		case e, ok := <-s.qmp.Events:
			if !ok {
				s.awaitExit(s.Timeout)
				return fmt.Errorf("%w: %w", ErrQEMUGone, &ExitError{s.status})
			}
			if e.Name != "SHUTDOWN" {
				continue
			}
			if quits(e) { // it will not wait for us
				s.awaitExit(s.Timeout)
				return fmt.Errorf("it was told to quit: %w", ErrQEMUGone)
			}
			return nil
		case <-down:
			down = nil
			s.Log("asking the guest to power down; once more ends it as it is")
			if err := s.qmp.Do("system_powerdown", nil, nil); err != nil {
				return err
			}
		case <-stop:
			s.Log("ending the guest as it is")
			return s.qmp.Do("stop", nil, nil)
		}
	}
}

// quits tells a shutdown after which QEMU exits whatever its -action says.
func quits(e Event) bool {
	var data struct{ Reason string }
	if json.Unmarshal(e.Data, &data) != nil {
		return false
	}
	return data.Reason == "host-qmp-quit" || data.Reason == "host-signal"
}

// capture saves the zones of every image. Data is synced first: a write pointer
// must not be ahead of what it speaks of.
func (s *session) capture() error {
	// Until it is stopped the machine may still be writing.
	if err := s.qmp.Do("stop", nil, nil); err != nil {
		return err
	}
	if err := s.rebootAction("reset"); err != nil {
		return err
	}
	if err := s.qmp.Do("system_reset", nil, nil); err != nil {
		return err
	}
	if err := s.each((*Controller).Capture); err != nil {
		return err
	}
	for _, im := range s.Images {
		if err := im.SyncData(); err != nil {
			return err
		}
		if err := im.EndSession(); err != nil {
			return err
		}
		if s.traceFile() != "" {
			if err := journal.Remove(im.Files().FS, im.Path()); err != nil {
				return err
			}
		}
	}
	s.saved = true
	return nil
}
