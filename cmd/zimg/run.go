package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"zimg/fsck"
	"zimg/image"
	"zimg/image/crash"
	"zimg/image/qemu"
	"zimg/layout"
)

type runOptions struct {
	noRepair   bool
	lostFaults bool
	dryRun     bool
	quiet      bool
	timeout    time.Duration
	record     string
	sidecar    string
}

func newRunCommand() *cobra.Command {
	var o runOptions
	c := &cobra.Command{
		Use:   "run [flags] IMAGE... -- qemu-system-x86_64 ARGS...",
		Short: "boot a stock QEMU with the zones as they were left, and save them when it ends",
		Long: `Run starts QEMU with the images attached as NVMe drives, gives their zones the states
and write pointers that they have in the images, and lets the guest go. When the guest has
shut down, the zones are committed to the images.

Everything behind -- is QEMU's: the program and its arguments, to which run adds the
drives. Standard input and output, serial lines and monitors stay QEMU's. The guest may reboot
as often as it likes. It works on an unmodified QEMU from 7.1 on, with any accelerator.

SIGTERM or SIGINT to zimg presses the guest's power button; a second one saves the zones as
they are and ends QEMU. If QEMU is killed or told to quit, the zones are brought back from the
data and from a journal that is kept beside the image while a run lasts; if zimg itself or
the host dies, the next run, or zimg check --repair, does that.

QEMU cannot be told of Read Only and Offline zones: an image with such zones is refused unless
--allow-lost-faults. The guest sees them as Full then, and the image keeps their state.

Exit status: QEMU's own; 1 if it could not be started, 64 wrong usage.`,
		Example: `  zimg run disk.zimg -- qemu-system-x86_64 -m 2G -nographic -kernel bzImage -append console=ttyS0
  zimg run a.zimg b.zimg -- qemu-system-x86_64 -accel kvm -machine q35 -m 4G root.qcow2
  zimg run --record rec disk.zimg -- qemu-system-x86_64 -m 2G -kernel bzImage`,
		Args: func(cmd *cobra.Command, args []string) error {
			if dash := cmd.ArgsLenAtDash(); dash < 1 || dash == len(args) {
				return usageError("zimg run needs IMAGE... -- and then QEMU with its arguments")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			dash := cmd.ArgsLenAtDash()
			return o.run(cmd, args[:dash], args[dash:])
		},
	}
	c.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		err = flagError(cmd, err)
		var usage *codedError
		if errors.As(err, &usage) && usage.hint == "" && cmd.ArgsLenAtDash() < 0 {
			usage.hint = "QEMU and its arguments go behind --: zimg run IMAGE -- qemu-system-x86_64 ..."
		}
		return err
	})
	c.Flags().BoolVar(&o.noRepair, "no-repair", false, "refuse an image that a crash left in use, do not repair it")
	c.Flags().BoolVar(&o.lostFaults, "allow-lost-faults", false, "run an image with Read Only or Offline zones; the guest sees them as Full")
	c.Flags().BoolVar(&o.dryRun, "dry-run", false, "print QEMU's command line, one argument a line, and change nothing")
	c.Flags().BoolVarP(&o.quiet, "quiet", "q", false, "say nothing about what is done")
	c.Flags().StringVar(&o.record, "record", "", "keep the image as it is now, and a log of every write and flush, in the new folder `DIR` (see zimg crash)")
	c.Flags().StringVar(&o.sidecar, "sidecar", "", "`FILE` of the metadata of the one image that is run")
	c.Flags().DurationVar(&o.timeout, "timeout", qemu.DefaultTimeout, "how long QEMU may take to answer, a `TIME`")
	return c
}

func (o *runOptions) run(cmd *cobra.Command, paths, command []string) (err error) {
	var images []*image.Image
	closed := false
	closeAll := func() error {
		if closed {
			return nil
		}
		closed = true
		var errs []error
		for _, im := range images {
			if im != nil {
				errs = append(errs, im.Close())
			}
		}
		return errors.Join(errs...)
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	if o.sidecar != "" && len(paths) != 1 {
		return usageError("--sidecar is for one image, %d were given", len(paths))
	}
	for _, path := range paths {
		im, err := o.open(cmd, path)
		if err != nil {
			return err
		}
		images = append(images, im)
		if err := o.restorable(im); err != nil {
			return err
		}
	}
	config := qemu.Config{Images: images, Command: command, Timeout: o.timeout, Stdin: cmd.InOrStdin(), Stdout: processOutput(cmd), Stderr: cmd.ErrOrStderr()}
	config.Log = func(format string, args ...any) { o.say(cmd, format, args...) }
	if o.record != "" {
		if config.Record, err = o.recordTo(cmd.Context(), images, paths); err != nil {
			return err
		}
	}
	if o.dryRun {
		argv, err := qemu.CommandLine(&config, os.TempDir())
		if err != nil {
			return err
		}
		fmt.Fprintln(cmd.OutOrStdout(), strings.Join(argv, "\n"))
		return nil
	}
	ctx, stop, restore := powerButton()
	defer restore()
	status, err := 0, cmd.Context().Err() // a signal from before the power button
	if err == nil {
		status, err = qemu.Run(ctx, config, stop)
	}
	if err != nil {
		if !errors.Is(err, qemu.ErrDied) {
			if config.Record != nil { // of a guest that never ran
				err = errors.Join(err, crash.Remove(o.record))
			}
			return err
		}
		return o.recover(cmd, paths, closeAll, status, err)
	}
	if status != 0 {
		return withExit(status, nil)
	}
	return nil
}

// recordTo makes the folder of a recording. The image is closed for a moment, to be copied.
func (o *runOptions) recordTo(ctx context.Context, images []*image.Image, paths []string) (*qemu.Record, error) {
	if len(images) != 1 {
		return nil, usageError("--record is for one image, %d were given", len(images))
	}
	for _, n := range images[0].Namespaces() {
		if n.MS > 0 {
			return nil, fmt.Errorf("%s: namespace %d has metadata per block, which --record cannot tell from data", paths[0], n.ID)
		}
	}
	dir, err := filepath.Abs(o.record)
	if err != nil {
		return nil, err
	}
	r := &qemu.Record{Log: filepath.Join(dir, crash.LogName), Trace: filepath.Join(dir, crash.TraceName), TraceEvents: crash.TraceEvents()}
	if o.dryRun {
		return r, nil
	}
	im := images[0]
	images[0] = nil
	if err := im.Close(); err != nil {
		return nil, err
	}
	if err := crash.Prepare(ctx, dir, paths[0], o.sidecar); err != nil {
		return nil, err
	}
	if images[0], err = image.Open(paths[0], image.Options{Write: true, Sidecar: o.sidecar}); err != nil {
		return nil, errors.Join(err, crash.Remove(dir))
	}
	return r, nil
}

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

// say tells what is done, on standard error.
func (o *runOptions) say(cmd *cobra.Command, format string, args ...any) {
	if !o.quiet {
		fmt.Fprintf(cmd.ErrOrStderr(), "zimg: "+format+"\n", args...)
	}
}

// open opens an image for a run, after a repair if a crash has left it.
func (o *runOptions) open(cmd *cobra.Command, path string) (*image.Image, error) {
	im, err := image.Open(path, image.Options{Write: true, Sidecar: o.sidecar})
	if err == nil || !errors.Is(err, image.ErrUnclean) || o.noRepair || o.dryRun {
		return im, err
	}
	o.say(cmd, "%v", err)
	if err := o.repair(cmd.Context(), cmd, path); err != nil {
		return nil, err
	}
	return image.Open(path, image.Options{Write: true, Sidecar: o.sidecar})
}

// repair brings an image back from a crash and says what it did.
func (o *runOptions) repair(ctx context.Context, cmd *cobra.Command, path string) error {
	said := 0
	r, err := fsck.Repair(path, fsck.Options{Mode: fsck.Safe, Sidecar: o.sidecar, Context: ctx, Found: func(f fsck.Finding) {
		if !f.InZone || !f.Mended {
			return
		}
		if said++; said <= maxAlike {
			o.say(cmd, "repairing: %s", printable(f.String()))
		}
	}})
	if more := said - maxAlike; more > 0 {
		o.say(cmd, "repairing: %d zones more", more)
	}
	if err != nil {
		return err
	}
	if code := r.ExitCode(); code == 2 {
		return &image.HintError{Err: fmt.Errorf("%s: errors are left that a safe repair cannot mend", path), Hint: "run: zimg check " + path}
	}
	o.say(cmd, "%s: zones brought back; the old metadata is in %s", path, r.UndoFile)
	return nil
}

// recover brings the zones back after QEMU has ended without saving them.
func (o *runOptions) recover(cmd *cobra.Command, paths []string, closeAll func() error, status int, cause error) error {
	o.say(cmd, "%v", cause)
	if err := closeAll(); err != nil {
		return err
	}
	if o.noRepair {
		o.say(cmd, "run: zimg check --repair %s", strings.Join(paths, " "))
	} else {
		for _, path := range paths {
			if err := o.repair(context.Background(), cmd, path); err != nil {
				return err
			}
		}
	}
	if status == 0 {
		return nil
	}
	return withExit(status, nil)
}

// restorable refuses what stock QEMU cannot be told of.
func (o *runOptions) restorable(im *image.Image) error {
	for _, n := range im.Namespaces() {
		if !n.Zoned() {
			continue
		}
		c := n.Counts()
		if c[layout.NotWP.Index()] > 0 {
			return fmt.Errorf("%s: namespace %d has conventional zones, which no NVMe drive has", im.Path(), n.ID)
		}
		if lost := c[layout.ReadOnly.Index()] + c[layout.Offline.Index()]; lost > 0 && !o.lostFaults {
			return &image.HintError{
				Err:  fmt.Errorf("%s: namespace %d has %s Read Only or Offline, which QEMU cannot be told of", im.Path(), n.ID, count(int(lost), "zone", "zones")),
				Hint: "--allow-lost-faults runs it all the same: the guest sees them as Full, and the image keeps their state",
			}
		}
		i := uint64(0)
		for z, err := range n.All(0, n.ZoneCount) {
			if err != nil {
				return err
			}
			if z.Cap != n.ZoneCap {
				return fmt.Errorf("%s: namespace %d zone %d has a capacity of %d blocks and others %d: QEMU gives all zones the same", im.Path(), n.ID, i, z.Cap, n.ZoneCap)
			}
			i++
		}
	}
	return nil
}
