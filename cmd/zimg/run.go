package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"zimg/cmd/internal/cli"
	"zimg/cmd/internal/vm"
	"zimg/image/qemu"
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
				return cli.UsageError("zimg run needs IMAGE... -- and then QEMU with its arguments")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			dash := cmd.ArgsLenAtDash()
			return o.run(cmd, args[:dash], args[dash:])
		},
	}
	c.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		err = cli.FlagError(cmd, err)
		var usage *cli.CodedError
		if errors.As(err, &usage) && usage.Hint == "" && cmd.ArgsLenAtDash() < 0 {
			usage.Hint = "QEMU and its arguments go behind --: zimg run IMAGE -- qemu-system-x86_64 ..."
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

func (o *runOptions) run(cmd *cobra.Command, paths, command []string) error {
	switch {
	case o.sidecar != "" && len(paths) != 1:
		return cli.UsageError("--sidecar is for one image, %d were given", len(paths))
	case o.record != "" && len(paths) != 1:
		return cli.UsageError("--record is for one image, %d were given", len(paths))
	}
	options := vm.Options{
		Paths: paths, Command: command, Sidecar: o.sidecar, Record: o.record,
		NoRepair: o.noRepair, AllowLostFaults: o.lostFaults, Timeout: o.timeout,
		Stdin: cmd.InOrStdin(), Stdout: cli.ProcessOutput(cmd), Stderr: cmd.ErrOrStderr(),
		Log: func(format string, args ...any) { o.say(cmd, format, args...) },
	}
	if o.dryRun {
		argv, err := vm.CommandLine(cmd.Context(), options)
		if err != nil {
			return err
		}
		fmt.Fprintln(cmd.OutOrStdout(), strings.Join(argv, "\n"))
		return nil
	}
	outcome, err := vm.Run(cmd.Context(), options)
	if err == nil && outcome.Status != 0 {
		return cli.WithExit(outcome.Status, nil)
	}
	return err
}

// say prints a line about what is done on standard error.
func (o *runOptions) say(cmd *cobra.Command, format string, args ...any) {
	if !o.quiet {
		fmt.Fprintf(cmd.ErrOrStderr(), "zimg: %s\n", cli.Printable(fmt.Sprintf(format, args...)))
	}
}
