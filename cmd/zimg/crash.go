package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
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
the command failed, and exits with status 1 if there were any.

--list shows the points and what happened at each.

docs/CRASH.md describes the assumptions about the drive.`,
		Example: `  zimg run --record rec disk.zimg -- qemu-system-x86_64 ...
  zimg crash --list rec
  zimg crash --at flush:12 --unflushed torn --seed 7 rec crashed.zimg
  zimg crash --every flush --run './mounts.sh {}' rec
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
	f.BoolVar(&o.keep, "keep", false, "keep the images for which COMMAND fails, in DIR")
	f.BoolVar(&o.stop, "stop", false, "stop at the first point at which COMMAND fails")
	f.StringVarP(&o.output, "output", "o", "human", "print the list in `FORMAT`: human or json")
	f.BoolVarP(&o.showBar, "progress", "p", false, "show progress of --every even if standard error is not a terminal")
	return c
}

func (o *crashOptions) run(cmd *cobra.Command, args []string) (err error) {
	if err := cli.OneOf("unflushed", o.unflushed, string(crash.Keep), string(crash.Drop), string(crash.Torn)); err != nil {
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

// walk makes the image of every point in turn and runs the command on it.
func (o *crashOptions) walk(cmd *cobra.Command, r *crash.Recording) (err error) {
	points := r.Points(crash.Kind(o.every))
	w, err := r.Walk(cmd.Context(), crash.Unflushed(o.unflushed), o.seed)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	bar := cli.NewProgress(cmd, o.showBar)
	defer bar.Done()
	tried, failed := 0, 0
	for i, entries := range points {
		if err := bar.Update(int64(i), int64(len(points))); err != nil {
			return err
		}
		ok, err := o.try(cmd, w, bar, i+1, entries)
		if err != nil {
			return err
		}
		tried++
		if !ok {
			failed++
			if o.stop {
				break
			}
		}
	}
	bar.Clear()
	fmt.Fprintf(cmd.OutOrStdout(), "%s, %d failed\n", cli.Count(tried, o.every+" point", o.every+" points"), failed)
	if failed > 0 {
		return cli.WithExit(cli.ExitFailed, nil)
	}
	return nil
}

// try makes the image of one point, runs the command, and removes the image.
func (o *crashOptions) try(cmd *cobra.Command, w *crash.Walk, bar *cli.Progress, n, entries int) (ok bool, err error) {
	path := w.Path(fmt.Sprintf("%s-%d", o.every, n))
	if err := w.Make(path, entries); err != nil {
		return false, err
	}
	ok = true
	defer func() {
		if ok || !o.keep {
			err = errors.Join(err, os.Remove(path))
		}
	}()
	c := exec.CommandContext(cmd.Context(), "sh", "-c", strings.ReplaceAll(o.command, "{}", cli.ShellWord(path)))
	c.Stdout, c.Stderr = cli.ProcessOutput(cmd), cmd.ErrOrStderr()
	c.Env = append(os.Environ(), fmt.Sprintf("ZIMG_POINT=%s:%d", o.every, n))
	err = c.Run()
	if stopped := cmd.Context().Err(); stopped != nil {
		return true, stopped
	}
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		return true, err
	}
	if err != nil {
		ok = false
		kept := ""
		if o.keep {
			kept = ", kept as " + path
		}
		bar.Clear()
		fmt.Fprintf(cmd.OutOrStdout(), "%s:%d: %v%s\n", o.every, n, err, cli.Printable(kept))
	}
	return ok, nil
}
