package main

import (
	"errors"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"zimg/cmd/internal/cli"
	"zimg/image/crash"
)

type crashOptions struct {
	list      bool
	at        string
	every     string
	command   string
	unflushed string
	seed      uint64
	force     bool
	keep      bool
	stop      bool
	jobs      int
	points    string
	step      int
	dir       string
	output    string
	showBar   bool
}

func newCrashCommand() *cobra.Command {
	var o crashOptions
	c := &cobra.Command{
		Use:   "crash --list DIR | crash --at write:N|flush:N DIR DST | crash --every flush|write --run COMMAND DIR",
		Short: "reconstruct images after a power failure during a recorded run",
		Long: `Crash reconstructs an image from a recording made with zimg run --record, which holds the image
before the run and every later write, discard, flush and zone command in order.

--at creates DST as the image would be after a power failure right after write N or flush N. The
first is 1; 0 is the start of the run. --unflushed controls writes not yet flushed at that point:
drop discards them, keep applies them all, and torn applies a random subset chosen by --seed: in
each zone, the writes up to some block; in a namespace without zones, any of the blocks. Zone
resets and finishes are never undone. The same point, --unflushed and --seed always give the same
image.

--every runs COMMAND in a shell for each flush or write. {} in COMMAND is replaced by the path of
the image, which is removed afterwards; $ZIMG_POINT is the point. Crash prints the points at which
the command failed. The exit status is 0 if COMMAND succeeded at all points, 1 if it failed at some,
and 2 if not all points could be tried. --points and --step choose points:
--points 1-100 --step 10 is 1, 11, 21 and so on. With -j, several commands run at the same time, and what
each prints appears when it has ended, in the order of the points. The images are in DIR, or in
another directory with --work-dir; a recording that cannot be written to is only read.

--list shows the points and what happened at each.

docs/CRASH.md describes the assumptions about the drive.`,
		Example: `  zimg run --record rec disk.zimg -- qemu-system-x86_64 ...
  zimg crash --list rec
  zimg crash --at flush:12 --unflushed torn --seed 7 rec crashed.zimg
  zimg crash --every flush --run './mounts.sh {}' rec
  zimg crash --every write --points 1-1000 --step 10 -j 4 --run './mounts.sh {}' rec
  zimg crash --every write --run 'zimg check --data {}' --stop --keep rec`,
		Args: cli.RangeArgs(1, 2, "DIR, or DIR and DST with --at"),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	f := c.Flags()
	f.BoolVar(&o.list, "list", false, "list all writes, discards and flushes")
	f.StringVar(&o.at, "at", "", "create the image after a power failure at `POINT`: write:N or flush:N")
	f.StringVar(&o.every, "every", "", "run a command for every point of this `KIND`: flush or write")
	f.StringVar(&o.command, "run", "", "run `COMMAND` for each point; {} is replaced by the path of the image, quoted for the shell")
	f.StringVar(&o.unflushed, "unflushed", "drop", "what happens to unflushed writes, the `FATE`: keep, drop or torn")
	f.Uint64Var(&o.seed, "seed", 1, "set the random seed of --unflushed torn to `N`")
	f.BoolVar(&o.force, "force", false, "overwrite DST")
	f.BoolVar(&o.keep, "keep", false, "keep the images for which COMMAND fails")
	f.IntVarP(&o.jobs, "jobs", "j", 1, "run `N` commands at the same time")
	f.StringVar(&o.points, "points", "all", "run the command only for `POINTS`: a list of numbers and ranges, such as 1,5-20,100-")
	f.IntVar(&o.step, "step", 1, "run the command only for every `N`th of the points")
	f.StringVar(&o.dir, "work-dir", "", "make the images in `DIR` (default: the directory of the recording, or TMPDIR if that is read-only)")
	f.BoolVar(&o.stop, "stop", false, "stop at the first point at which COMMAND fails")
	f.StringVarP(&o.output, "output", "o", "human", "print the list in `FORMAT`: human or json")
	f.BoolVarP(&o.showBar, "progress", "p", false, "show progress of --every even if standard error is not a terminal")
	return c
}

func (o *crashOptions) run(cmd *cobra.Command, args []string) (err error) {
	if err := cli.OneOf("unflushed", o.unflushed, crash.Fates()...); err != nil {
		return err
	}
	if err := cli.OneOf("output", o.output, "human", "json"); err != nil {
		return err
	}
	modes := 0
	for _, on := range []bool{o.list, o.at != "", o.every != ""} {
		if on {
			modes++
		}
	}
	switch {
	case modes != 1:
		return cli.UsageError("exactly one of --list, --at or --every is required")
	case o.at != "" && len(args) != 2:
		return cli.UsageError("--at needs DIR and DST")
	case o.at == "" && len(args) != 1:
		return cli.UsageError("--list and --every need only DIR")
	case o.every != "" && o.command == "":
		return cli.UsageError("--every requires --run")
	case o.every == "" && o.command != "":
		return cli.UsageError("--run requires --every")
	}
	for _, f := range []struct {
		name, needs string
		met         bool
	}{
		{"force", "--at", o.at != ""},
		{"keep", "--every", o.every != ""},
		{"stop", "--every", o.every != ""},
		{"jobs", "--every", o.every != ""},
		{"points", "--every", o.every != ""},
		{"step", "--every", o.every != ""},
		{"work-dir", "--every", o.every != ""},
		{"output", "--list", o.list},
		{"seed", "--unflushed torn", o.unflushed == string(crash.Torn)},
	} {
		if cmd.Flags().Changed(f.name) && !f.met {
			return cli.UsageError("--%s requires %s", f.name, f.needs)
		}
	}
	if o.every != "" {
		if err := cli.OneOf("every", o.every, string(crash.AtFlush), string(crash.AtWrite)); err != nil {
			return err
		}
		if !strings.Contains(o.command, "{}") {
			return cli.UsageError("--run must contain {}, which is replaced by the path of the image")
		}
	}
	if o.jobs < 1 || o.step < 1 {
		return cli.UsageError("--jobs and --step must be greater than 0")
	}
	kind, n, err := o.point()
	if err != nil {
		return err
	}
	r, err := crash.Open(args[0])
	if err != nil {
		return err
	}
	r.Stamp = stamp()
	defer func() { err = errors.Join(err, r.Close()) }()
	switch {
	case o.list:
		return o.print(cmd, r)
	case o.at != "":
		entries, err := r.Point(kind, n)
		if err != nil {
			return err
		}
		return r.Make(cmd.Context(), args[1], entries, crash.Unflushed(o.unflushed), o.seed, o.force)
	}
	return o.walk(cmd, r)
}

// point parses --at.
func (o *crashOptions) point() (crash.Kind, int, error) {
	if o.at == "" {
		return "", 0, nil
	}
	kind, number, _ := strings.Cut(o.at, ":")
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 || kind != string(crash.AtWrite) && kind != string(crash.AtFlush) {
		return "", 0, cli.UsageError("invalid value %q for --at: must be write:N or flush:N", o.at)
	}
	return crash.Kind(kind), n, nil
}
