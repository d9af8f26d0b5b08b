package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"zimg/image"
	"zimg/image/drive"
)

// A session is one run of QEMU:
//
//	start QEMU paused
//	attach the drives: their zones are restored, the images marked as in use      stock.go
//	let the guest go, and wait until it has shut down and QEMU is paused again    wait.go
//	save the zones, and only then let QEMU go
//
// The files of an image are opened and locked by zimg and handed to QEMU as open files. So QEMU's locks are on
// zimg's own open file descriptions: the two do not get in each other's way, and nobody else comes in between,
// also if QEMU is killed.

// Config says what to run.
type Config struct {
	Images []*image.Image // opened for writing, clean
	// Drives, if there are any, are drives that zimg is itself, in place of those that QEMU makes of Images.
	Drives  []*drive.Drive
	Command []string // QEMU and its arguments, perhaps after a wrapper and its own
	// Controllers are properties of the controllers: of the one of each image, or one list for all of them.
	Controllers [][]Property
	// Streams of QEMU.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Log, if not nil, is called with what happens, from one goroutine at a time.
	Log func(format string, args ...any)
	// Panicked, if not nil, is called with a panic in a goroutine of the run, see goroutine.Recover.
	Panicked func(v any)
	// Off, if not nil, is closed when the power of one of Drives was cut: QEMU is ended at once.
	Off <-chan struct{}
	// Record, if not nil, says where the run of the only image, which has one data file, is recorded.
	Record *Record
	// Overlay, if not empty, is a folder for what the guest writes to Images whose files are those of a disk.Overlay. There is
	// no journal then.
	Overlay string
	// Timeout is how long QEMU may take to answer; 0 for the default.
	Timeout time.Duration
	// Guard is a program that calls Guard, and its arguments, the first of which is its name. It is started beside QEMU, and ends QEMU when this process
	// is killed. If it is empty the kernel does that in most cases, but not where QEMU changes its user, or is
	// started by a wrapper that waits for it.
	Guard []string
}

// Record is where a run is recorded: Log exists and is empty, Trace does not exist. TraceEvents are
// traced beside those of the journal.
type Record struct {
	Log, Trace  string
	TraceEvents []string
}

// Outcome is how a run that had a QEMU ended.
type Outcome struct {
	Status int // QEMU's exit status, 128 + n for signal n
	Signal int // the signal that somebody sent to QEMU alone to end it, 0 if there was none
}

// DefaultTimeout for an answer of QEMU: it answers within milliseconds, unless it hangs.
const DefaultTimeout = 20 * time.Second

// ErrDied is wrapped by the error of a run whose QEMU ended before the zones were saved.
var ErrDied = errors.New("QEMU exited before its zones were saved")

// ExitError is how QEMU ended: its own exit status, 128 + n for a signal n.
type ExitError struct{ Status int }

func (e *ExitError) Error() string { return fmt.Sprintf("exit status %d", e.Status) }

// errRunning is the error of work on a paused machine that somebody else has started meanwhile.
var errRunning = errors.New("the guest was started while zimg was preparing the paused machine")

type session struct {
	Config
	caller   callerArgs
	private  *private
	drives   drives
	cmd      *exec.Cmd
	pid      int           // of QEMU itself, 0 until that is known
	exited   chan struct{} // closed when cmd has ended, and status is its exit status
	status   int
	qmp      *QMP
	qtest    *QTest
	found    *machine // see session.machine
	guard    *guardian
	saved    bool   // the zones are committed, and the guest has not run since
	resumes  uint64 // how often the guest had been started when it shut down, of a machine that stays
	panicked bool
	signal   int
	pending  int // see pendingSignal
}

// drives are the images as drives of the guest.
type drives interface {
	// fileSizes are the sizes of the data files, for placeholders.
	fileSizes() []int64
	// prepare makes what QEMU needs to find when it starts, before args.
	prepare() error
	// args are QEMU's arguments for the drives, which follow the caller's.
	args() ([]string, error)
	// attach makes the drives what the images say. QEMU is paused; no guest has run. When it returns nil the
	// guest may run, and the images are marked as in use.
	attach(ctx context.Context) error
	// save commits the zones of a guest that has shut down or that is to be ended. With again the machine may be
	// started once more. errRunning: that has happened already.
	save(again bool) error
	// release takes the mark off images whose zones are saved; QEMU has ended, or is about to.
	release() error
	// discard cleans up after a run whose QEMU has ended, if it has not marked the images.
	discard() error
	// attached reports whether images are marked as in use.
	attached() bool
}

// Run runs QEMU until the guest has shut down and its zones are committed. It
// returns ErrDied if QEMU ended before that: then the images are still marked as in use.
// The end of ctx asks the guest to power down, or keeps it from being started; a message on stop saves the zones as
// they are and ends QEMU.
func Run(ctx context.Context, c Config, stop <-chan struct{}) (_ Outcome, err error) {
	s, err := newSession(c)
	if err != nil {
		return Outcome{}, err
	}
	if s.private, err = newPrivate(s.drives.fileSizes()); err != nil {
		return Outcome{}, err
	}
	defer func() { err = errors.Join(err, s.private.remove()) }()
	restore := keepTerminal(c.Stdin)
	defer restore()
	err = s.run(ctx, stop)
	if s.cmd != nil {
		s.end()
	}
	s.guard.dismiss()
	if !s.saved || len(s.Drives) > 0 {
		err = errors.Join(err, s.drives.discard())
	}
	if s.panicked && s.caller.panic == "exit-failure" && s.status == 0 {
		s.status = 1
	}
	return Outcome{Status: s.status, Signal: s.signal}, err
}

func newSession(c Config) (*session, error) {
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Log == nil {
		c.Log = func(string, ...any) {}
	}
	s := &session{Config: c, exited: make(chan struct{})}
	if len(s.Command) == 0 {
		return nil, errors.New("no QEMU command")
	}
	var err error
	if s.caller, err = parseCallerArgs(s.Command); err != nil {
		return nil, err
	}
	if len(s.Drives) > 0 {
		s.drives, err = newOwn(s)
	} else {
		s.drives, err = newStock(s)
	}
	return s, err
}

func (s *session) run(ctx context.Context, stop <-chan struct{}) (err error) {
	if err := s.drives.prepare(); err != nil {
		return err
	}
	if err := s.start(ctx); err != nil {
		return s.explain(err)
	}
	if err := s.drives.attach(ctx); err != nil {
		if !s.drives.attached() {
			return s.explain(err)
		}
		return s.died(err)
	}
	if err := s.setActions(); err != nil {
		return s.died(err)
	}
	if !s.caller.paused {
		if err := s.qmp.Do("cont", nil, nil); err != nil {
			return s.died(err)
		}
	}
	if err := s.wait(ctx, stop); err != nil {
		return s.died(err)
	}
	if err := s.drives.release(); err != nil {
		return err
	}
	_ = s.qmp.Do("quit", nil, nil) // it may be gone before it has answered
	s.awaitExit(s.Timeout)
	return nil
}

// undisturbed is work on the paused machine. Its error is errRunning if the guest was started meanwhile, however briefly: it
// uses the same registers and memory, so neither a result nor another error means anything then.
func (s *session) undisturbed(work func() error) error {
	resumes := s.qmp.resumes.Load()
	s.qtest.resumed = func() bool { return s.qmp.ranSince(resumes) }
	s.qtest.halt = func() error {
		if !s.qmp.Running() {
			return nil
		}
		return s.qmp.Do("stop", nil, nil)
	}
	err := work()
	if err == nil {
		err = s.qtest.Flush()
	}
	s.qtest.drop() // what is left of work that was given up
	s.qtest.resumed, s.qtest.halt = nil, nil
	if errors.Is(err, ErrQEMUGone) || errors.Is(err, ErrTimeout) {
		return err
	}
	disturbed, askErr := s.qmp.disturbed(resumes)
	switch {
	case askErr != nil:
		return errors.Join(err, askErr)
	case disturbed:
		return errRunning
	}
	return err
}

// setActions says what the events that end a run do: the machine stops, and QEMU stays for its zones to be saved.
func (s *session) setActions() error {
	actions := map[string]any{"shutdown": "pause", "reboot": "reset"}
	if s.caller.noReboot {
		actions["reboot"] = "shutdown"
	}
	if s.caller.watchdog == "poweroff" {
		actions["watchdog"] = "pause"
	}
	return s.qmp.Do("set-action", actions, nil)
}

// reset resets the paused machine, which ends the run if the guest does it and the caller wants that.
func (s *session) reset() error {
	if err := s.qmp.Do("set-action", map[string]any{"reboot": "reset"}, nil); err != nil {
		return err
	}
	return s.qmp.Do("system_reset", nil, nil)
}

// restart stops a guest that somebody may have started, and takes the machine back to its beginning.
func (s *session) restart() error {
	for range attempts {
		if err := s.qmp.Do("stop", nil, nil); err != nil {
			return err
		}
		err := s.undisturbed(func() error {
			m, err := s.machine()
			if err != nil {
				return err
			}
			if err := m.unshadow(s.qtest); err != nil {
				return err
			}
			return s.reset()
		})
		if !errors.Is(err, errRunning) {
			return err
		}
	}
	return errRunning
}

// explain makes the error of a QEMU that did not get as far as the guest.
func (s *session) explain(err error) error {
	if errors.Is(err, ErrQEMUGone) {
		s.awaitExit(time.Second)
		select {
		case <-s.exited:
			if v, ok := s.versionOf(); ok && v.Before(7, 1) {
				return tooOld(v)
			}
			return &image.HintError{Err: fmt.Errorf("QEMU failed to start (%w)", &ExitError{s.status}), Hint: "see the output of QEMU above; the image is unchanged"}
		default:
		}
	}
	if errors.Is(err, ErrTimeout) && s.qmp != nil {
		return &image.HintError{Err: err, Hint: fmt.Sprintf("this is QEMU %s; the image is unchanged", s.qmp.Version)}
	}
	return err
}

// tooOld is the error of a QEMU that does not process NVMe commands while its machine is paused.
func tooOld(v Version) error {
	return &image.HintError{Err: fmt.Errorf("this is QEMU %s; 7.1 or later is needed", v), Hint: "the image is unchanged"}
}

// versionOf asks the program for its version: the caller's whole command, since it may begin with a wrapper.
func (s *session) versionOf() (Version, bool) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, s.Command[0], append(s.Command[1:len(s.Command):len(s.Command)], "-version")...).Output()
	_, text, ok := strings.Cut(string(out), "QEMU emulator version ")
	var v Version
	if err != nil || !ok {
		return v, false
	}
	n, _ := fmt.Sscanf(text, "%d.%d.%d", &v.Major, &v.Minor, &v.Micro)
	return v, n == 3
}

// died makes the error of a run that ended without its zones being saved.
func (s *session) died(err error) error {
	if s.saved {
		return err
	}
	return fmt.Errorf("%w: %w", ErrDied, err)
}
