// Package vm is the life of a run: a QEMU whose drives are zimg images.
//
//	vm.go       open, record, run, recover     open.go  opening images, repairing them first if need be
//	signals.go  Ctrl-C and its kind            record.go  the folder of a recording
//	guard.go    the process that ends QEMU when this one is killed   drive.go  whose drive it is
//
// The package is above fsck, since a run repairs images that a crash left in use. Package qemu, which
// runs QEMU, is below it and repairs nothing.
package vm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"zimg/fsck"
	"zimg/image"
	"zimg/image/crash"
	"zimg/image/disk"
	"zimg/image/drive"
	"zimg/image/qemu"
)

// Options say what to run.
type Options struct {
	Paths   []string    // images, at least one
	FS      disk.FS     // of the images; nil for the operating system's
	Command []string    // QEMU and its arguments
	Sidecar string      // metadata file of the only image, if it is not beside it
	Stamp   image.Stamp // of what is written to the images
	Drive   Drive       // "" is AutoDrive
	Record  string      // folder to be made for a recording of the only image, if not empty

	// Ephemeral: what the guest changes is thrown away at the end of the run. The images stay as they are, and are locked
	// for reading only.
	Ephemeral       bool
	NoRepair        bool // refuse an image that a crash left in use, and leave one that this run leaves so
	AllowLostFaults bool // run images with Read Only or Offline zones, which the guest sees as Full
	// Answer is how long QEMU may take to answer; 0 is qemu.DefaultTimeout.
	Answer time.Duration
	// Limit is how long the run may take; 0 is no limit. After that the guest is asked to power down, and half a minute
	// later its zones are saved as they are.
	Limit time.Duration
	// Controllers are properties of the controllers of the images, in their order, or of all of them.
	Controllers [][]qemu.Property

	// Streams of QEMU.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Log is called with a line about what is being done. The line may hold text from images and from
	// QEMU, which is not fit for a terminal as it is. It may be called from one goroutine at a time.
	Log func(format string, args ...any)
	// Panicked is called with a panic in a goroutine of the run, see goroutine.Recover.
	Panicked func(v any)
}

// Outcome is how a run that had a QEMU ended.
type Outcome struct {
	Status int // QEMU's exit status, 128 + n for signal n
	// Signal is the one that ended the run, 0 if none did.
	Signal syscall.Signal
	// Expired: the run reached its limit.
	Expired bool
}

// CommandLine is what Run would start, argument by argument. No file is changed.
func CommandLine(ctx context.Context, o Options) ([]string, error) {
	r := &run{Options: o, dry: true}
	defer func() { _ = r.close() }()
	if which, _ := r.choose(ctx); which == OwnDrive {
		c := r.config()
		c.Drives, c.Controllers = make([]*drive.Drive, len(r.Paths)), nil
		for k := range r.Paths {
			_, device, err := r.split(k)
			if err != nil {
				return nil, err
			}
			c.Controllers = append(c.Controllers, device)
		}
		return qemu.CommandLine(c, filepath.Join(os.TempDir(), "zimg-run"))
	}
	c, err := r.prepare(ctx)
	if err != nil {
		return nil, err
	}
	return qemu.CommandLine(c, filepath.Join(os.TempDir(), "zimg-run"))
}

// Run runs QEMU until the guest has shut down and its zones are saved, or recovered after a QEMU
// that died. An error says that there was no run, or that images are left in use.
// The end of ctx stops what comes before the guest; then signals are Run's own.
func Run(ctx context.Context, o Options) (_ Outcome, err error) {
	r := &run{Options: o}
	if _, err := exec.LookPath(o.Command[0]); err != nil {
		return Outcome{}, fmt.Errorf("cannot start QEMU: %w", err)
	}
	if o.Ephemeral {
		remove, err := r.overlay()
		if err != nil {
			return Outcome{}, err
		}
		defer func() { err = errors.Join(err, remove()) }()
	}
	defer func() {
		if err == nil && !r.Ephemeral {
			err = r.dropUndo()
		}
	}()
	which, why := r.choose(ctx)
	if which == OwnDrive {
		r.Log("using zimg's drive: %s", why)
		return r.runOwn(ctx)
	}
	r.Log("using QEMU's drive: %s", why)
	defer func() { err = errors.Join(err, r.close()) }()
	c, err := r.prepare(ctx)
	if err != nil {
		return Outcome{}, err
	}
	return r.runQEMU(ctx, c)
}

// runQEMU runs QEMU, and does what is to be done when it has ended.
func (r *run) runQEMU(ctx context.Context, c *qemu.Config) (Outcome, error) {
	stop := newStopper(r.Limit, r.Panicked)
	defer stop.close()
	var ended qemu.Outcome
	err := ctx.Err() // a signal that came before the stopper listened
	if err == nil {
		ended, err = qemu.Run(stop.ctx, *c, stop.stop)
	}
	out := Outcome{Status: ended.Status}
	out.Signal, out.Expired = stop.reason()
	if out.Signal == 0 {
		out.Signal = syscall.Signal(ended.Signal)
	}
	switch {
	case err == nil:
		return out, nil
	case errors.Is(err, qemu.ErrDied) && len(c.Drives) > 0:
		return out, nil // what the guest saw completed is in the images
	case errors.Is(err, qemu.ErrDied):
		return out, r.recover(err)
	case c.Record != nil: // of a guest that never ran
		err = errors.Join(err, crash.Remove(r.Record))
	}
	return out, err
}

// A run has its images open until QEMU has ended.
type run struct {
	Options
	dry    bool   // nothing may be changed
	upper  string // folder of the changes of an ephemeral run
	images []*image.Image
}

// prepare opens the images, in order, and makes the recording.
func (r *run) prepare(ctx context.Context) (*qemu.Config, error) {
	for _, path := range r.Paths {
		im, err := r.open(ctx, path)
		if err != nil {
			return nil, err
		}
		r.images = append(r.images, im)
		if err := r.restorable(im); err != nil {
			return nil, err
		}
	}
	c := r.config()
	if r.Record != "" {
		var err error
		if c.Record, err = r.record(ctx); err != nil {
			return nil, err
		}
	}
	c.Images = r.images
	return c, nil
}

// config is what both kinds of drive need.
func (r *run) config() *qemu.Config {
	return &qemu.Config{
		Command: r.Command, Controllers: r.Controllers, Timeout: r.Answer, Guard: guard, Overlay: r.upper,
		Stdin: r.Stdin, Stdout: r.Stdout, Stderr: r.Stderr, Log: r.Log, Panicked: r.Panicked,
	}
}

func (r *run) close() error {
	var errs []error
	for _, im := range r.images {
		errs = append(errs, im.Close())
	}
	r.images = nil
	return errors.Join(errs...)
}

// dropUndo removes the undo files that the run has made useless.
func (r *run) dropUndo() error {
	for _, path := range r.Paths {
		dropped, err := fsck.DropStaleUndo(path, fsck.Options{FS: r.FS, Sidecar: r.Sidecar})
		if err != nil {
			return err
		}
		if dropped {
			r.Log("%s has changed since its last repair; the undo file is removed", path)
		}
	}
	return nil
}

// recover brings the zones back after QEMU has ended without saving them.
func (r *run) recover(cause error) error {
	r.Log("%v", cause)
	if err := r.close(); err != nil {
		return err
	}
	if r.Ephemeral {
		return nil // there is nothing to recover
	}
	if r.NoRepair {
		r.Log("run: zimg check --repair %s", strings.Join(r.Paths, " "))
		return nil
	}
	for _, path := range r.Paths {
		if err := r.repair(context.Background(), path); err != nil {
			return err
		}
	}
	return nil
}

// maxRepairs bounds the lines about repaired zones: a drive may have millions.
const maxRepairs = 100

// repair brings an image back from a crash and says what it did.
func (r *run) repair(ctx context.Context, path string) error {
	said := 0
	report, err := fsck.Repair(path, fsck.Options{FS: r.FS, Mode: fsck.Safe, Sidecar: r.Sidecar, Stamp: r.Stamp, Context: ctx, Found: func(f fsck.Finding) {
		if !f.InZone || !f.Repaired {
			return
		}
		if said++; said <= maxRepairs {
			r.Log("repairing %s: %s", path, f.String())
		}
	}})
	if more := said - maxRepairs; more > 0 {
		r.Log("repairing %s: %d more zones", path, more)
	}
	if err != nil {
		return err
	}
	if report.ExitCode() == 2 {
		return &image.HintError{Err: errors.New(path + ": some errors cannot be repaired without losing data"), Hint: "run: zimg check " + path}
	}
	r.Log("%s: recovered zones; previous metadata saved to %s", path, report.UndoFile)
	return nil
}
