package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"zimg/cmd/internal/cli"
	"zimg/cmd/internal/vm"
	"zimg/image/qemu"
)

type runOptions struct {
	noRepair   bool
	lostFaults bool
	ephemeral  bool
	dryRun     bool
	quiet      bool
	answer     time.Duration
	limit      time.Duration
	record     string
	sidecar    string
	drive      string
	devices    []string
}

// exitExpired is the exit status of a run that has reached its limit, as it is of timeout(1).
const exitExpired = 124

func newRunCommand() *cobra.Command {
	var o runOptions
	c := &cobra.Command{
		Use:   "run [flags] IMAGE... -- qemu-system-x86_64 ARGS...",
		Short: "run QEMU with the saved zones, and save them when it exits",
		Long: `Run starts QEMU with the images attached as NVMe drives, restores the saved states and write
pointers of their zones, and starts the guest. When the guest has shut down, run saves the zones
to the images.

The arguments after -- are QEMU and its arguments, optionally after a wrapper program. Run adds
the drives. Standard input and output, serial lines, monitors, logs and open files belong to QEMU:
with -nographic, Ctrl-C goes to the guest and Ctrl-A x ends QEMU. The guest can reboot at any
time. Run works with an unmodified QEMU 7.1 or later and with any accelerator, on the machines pc,
q35 and microvm (x86) and virt (aarch64, arm, riscv64).

SIGTERM, SIGHUP, or Ctrl-C where it does not go to the guest, presses the guest's power button; a
second signal saves the current zones and ends QEMU. It makes no difference whether the signal
goes to zimg or to its process group, as from timeout(1) or a service manager. If only QEMU gets
the signal, the zones are saved and QEMU ends. After its terminal has closed, the guest has one
minute to power down. --timeout presses the power button when the time is over.

If QEMU is killed or exits early, zimg recovers the zones from the data and from a journal that
it keeps next to the image during a run. If zimg is killed, QEMU is killed too; then, or if the
host crashes, the next run or zimg check --repair recovers the zones.

Where QEMU supports it (vfio-user, QEMU 10.1 and later), the guest gets a drive emulated by zimg.
Every command that the guest has seen completed is then in the image at once, Read Only and
Offline zones work, and no recovery is needed. Otherwise, the guest gets the drive emulated by
QEMU; zimg restores its zones at the start and saves them at the end. --drive chooses.

--ephemeral keeps everything that the guest writes in a temporary file, and discards it at the end.
Any number of such runs can use the same images at the same time; while one lasts, the images
cannot be changed. The temporary file is in TMPDIR, or in /var/tmp if that is not set.

--device sets properties of the NVMe controller, with the names of QEMU's -device nvme: addr, bus,
serial, mdts, zasl, max_ioqpairs, ioeventfd and others. A single --device applies to all images;
several apply to the images in order.

QEMU's own drive has no way to set a zone Read Only or Offline. Run refuses an image with such
zones unless --allow-lost-faults is given: the guest then sees these zones as Full, and the image
keeps their state.

The exit status is that of QEMU; 1 if QEMU could not be run, 64 for wrong usage, 75 if an image is
in use, 124 after --timeout. A run that was ended by a signal dies from the same signal: 130 after Ctrl-C, 143 after
SIGTERM, 129 after SIGHUP.`,
		Example: `  zimg run disk.zimg -- qemu-system-x86_64 -m 2G -nographic -kernel bzImage -append console=ttyS0
  zimg run a.zimg b.zimg -- qemu-system-x86_64 -accel kvm -machine q35 -m 4G root.qcow2
  zimg run --device addr=0x10,mdts=5 disk.zimg -- qemu-system-x86_64 -m 2G root.qcow2
  zimg run --record rec disk.zimg -- qemu-system-x86_64 -m 2G -kernel bzImage`,
		Args: func(cmd *cobra.Command, args []string) error {
			if dash := cmd.ArgsLenAtDash(); dash < 1 || dash == len(args) {
				return cli.UsageError("run needs IMAGE... -- and then QEMU with its arguments")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			dash := cmd.ArgsLenAtDash()
			return o.run(cmd, args[:dash], args[dash:])
		},
	}
	c.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		unknown := new(pflag.NotExistError)
		misplaced := errors.As(err, &unknown) && cmd.ArgsLenAtDash() < 0
		err = cli.FlagError(cmd, err)
		var usage *cli.CodedError
		if errors.As(err, &usage) && usage.Hint == "" && misplaced {
			usage.Hint = "QEMU and its arguments go after --: zimg run IMAGE -- qemu-system-x86_64 ..."
		}
		return err
	})
	f := c.Flags()
	f.BoolVar(&o.noRepair, "no-repair", false, "do not repair an image after a crash; exit with an error instead")
	f.BoolVar(&o.lostFaults, "allow-lost-faults", false, "run an image with Read Only or Offline zones; the guest sees them as Full")
	f.BoolVar(&o.ephemeral, "ephemeral", false, "throw away all that the guest writes; the images stay as they are")
	f.BoolVar(&o.dryRun, "dry-run", false, "print QEMU's command line, one argument per line, and change nothing")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "do not print progress messages")
	f.StringVar(&o.record, "record", "", "save a copy of the image and a log of every write and flush in the new directory `DIR` (see zimg crash)")
	f.StringVar(&o.sidecar, "sidecar", "", "use `FILE` as the metadata of a sidecar image; with a single image only")
	f.StringVar(&o.drive, "drive", "auto", "use the NVMe drive of `WHO`: zimg, qemu, or auto, which is zimg where QEMU supports it")
	f.StringArrayVar(&o.devices, "device", nil, "set properties of the NVMe controller: `KEY=VALUE[,KEY=VALUE...]`")
	f.Var((*timeFlag)(&o.limit), "timeout", "press the power button after `TIME` (such as 30s, 5m, or a number of seconds); save the zones and end QEMU 30 seconds later")
	o.answer = qemu.DefaultTimeout
	f.Var((*timeFlag)(&o.answer), "answer-timeout", "wait at most `TIME` for QEMU to answer")
	return c
}

func (o *runOptions) run(cmd *cobra.Command, paths, command []string) error {
	switch {
	case o.sidecar != "" && len(paths) != 1:
		return cli.UsageError("--sidecar can only be used with one image, not %d", len(paths))
	case o.record != "" && len(paths) != 1:
		return cli.UsageError("--record can only be used with one image, not %d", len(paths))
	}
	if err := cli.OneOf("drive", o.drive, "auto", "zimg", "qemu"); err != nil {
		return err
	}
	if o.record != "" && o.ephemeral {
		return cli.UsageError("--record cannot be used with --ephemeral")
	}
	controllers, err := parseDevices(o.devices, len(paths))
	if err != nil {
		return err
	}
	options := vm.Options{
		FS: files(cmd), Stamp: stamp(),
		Paths: paths, Command: command, Sidecar: o.sidecar, Record: o.record, Drive: vm.Drive(o.drive), Controllers: controllers,
		NoRepair: o.noRepair, Ephemeral: o.ephemeral, AllowLostFaults: o.lostFaults, Answer: o.answer, Limit: o.limit,
		Stdin: cmd.InOrStdin(), Stdout: cli.ProcessOutput(cmd), Stderr: cmd.ErrOrStderr(),
		Log:      func(format string, args ...any) { o.say(cmd, format, args...) },
		Panicked: cli.Panicked(cmd.ErrOrStderr()),
	}
	if o.dryRun {
		argv, err := vm.CommandLine(cmd.Context(), options)
		if err != nil {
			return err
		}
		fmt.Fprintln(cmd.OutOrStdout(), strings.Join(argv, "\n"))
		return nil
	}
	out, err := vm.Run(cmd.Context(), options)
	if errors.Is(err, context.Canceled) && (out.Expired || out.Signal != 0) {
		o.say(cmd, "interrupted before the guest was started; the images are unchanged")
		err = nil
	}
	switch {
	case err != nil:
		return err
	case out.Expired:
		return cli.WithExit(exitExpired, nil)
	case out.Signal != 0:
		return cli.WithSignal(out.Signal)
	case out.Status != 0:
		return cli.WithExit(out.Status, nil)
	}
	return nil
}

// say prints a line about what is done on standard error.
func (o *runOptions) say(cmd *cobra.Command, format string, args ...any) {
	if !o.quiet {
		fmt.Fprintf(cmd.ErrOrStderr(), "zimg: %s\n", cli.OneLine(fmt.Sprintf(format, args...)))
	}
}

// parseDevices reads the values of --device: none, one for all images, or one for each.
func parseDevices(values []string, images int) ([][]qemu.Property, error) {
	if n := len(values); n > 1 && n != images {
		return nil, cli.UsageError("--device is given %d times for %s: use it once for all images, or once for each", n, cli.Count(images, "image", "images"))
	}
	var list [][]qemu.Property
	for _, value := range values {
		props, err := qemu.ParseProperties(value)
		if err != nil {
			return nil, cli.UsageError("--device: %v", err)
		}
		list = append(list, props)
	}
	return list, nil
}

// timeFlag is a duration above 0: 90s, 5m, or a number of seconds.
type timeFlag time.Duration

func (f *timeFlag) String() string {
	if *f == 0 {
		return ""
	}
	return time.Duration(*f).String()
}

// Set reads a value.
func (f *timeFlag) Set(s string) error {
	d, err := time.ParseDuration(s)
	if n, bare := strconv.ParseUint(s, 10, 31); bare == nil {
		d, err = time.Duration(n)*time.Second, nil
	}
	if err != nil || d <= 0 {
		return fmt.Errorf("invalid time %q: use a positive time such as 90s, 5m or 60 (seconds)", s)
	}
	*f = timeFlag(d)
	return nil
}

// Type is shown in help.
func (f *timeFlag) Type() string { return "duration" }
