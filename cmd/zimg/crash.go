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
		Short: "make images as they would be had the power failed during a recorded run",
		Long: `Crash makes images out of what zimg run --record kept: the image before the run, every
write, discard and flush since, in order, and what was done to zones.

--at makes DST as it would be had the power failed right after write N or flush N, counted from
1; 0 is the moment before the first. What becomes of the writes that no flush followed by then
--unflushed says: drop, none is there; keep, all are; torn, a part that --seed chooses: of each zone
what was written up to some block, of a namespace without zones any of the blocks.
A zone reset or finish is never undone. The same point, fate and seed give the same image.

--every walks all flushes, or all writes, and runs COMMAND by the shell for each, {} standing
for the image, which is removed afterwards, and $ZIMG_POINT for the point. It tells for which the
command failed, and exits 1 if there were any.

--list shows the points, with what happened at each.

What crash takes for granted of a drive is in docs/CRASH.md.`,
		Example: `  zimg run --record rec disk.zimg -- qemu-system-x86_64 ...
  zimg crash --list rec
  zimg crash --at flush:12 --unflushed torn --seed 7 rec crashed.zimg
  zimg crash --every flush --run './mounts.sh {}' rec
  zimg crash --every write --run 'zimg check --data {}' --stop --keep rec`,
		Args: cli.RangeArgs(1, 2, "DIR, or DIR and DST with --at"),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	f := c.Flags()
	f.BoolVar(&o.list, "list", false, "list writes, discards and flushes")
	f.StringVar(&o.at, "at", "", "the `POINT`: write:N or flush:N")
	f.StringVar(&o.every, "every", "", "walk all points of a `KIND`: flush or write")
	f.StringVar(&o.command, "run", "", "`COMMAND` to run for each point of --every; {} is the image, quoted where it has to be")
	f.StringVar(&o.unflushed, "unflushed", "drop", "`FATE` of unflushed writes: keep, drop or torn")
	f.Uint64Var(&o.seed, "seed", 1, "`N` that decides what is torn")
	f.BoolVar(&o.force, "force", false, "overwrite DST")
	f.BoolVar(&o.keep, "keep", false, "keep the images for which COMMAND failed, in DIR")
	f.BoolVar(&o.stop, "stop", false, "stop at the first point for which COMMAND failed")
	f.StringVarP(&o.output, "output", "o", "human", "`FORMAT` of the list: human or json")
	f.BoolVarP(&o.showBar, "progress", "p", false, "show progress of --every even if standard error is no terminal")
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
	if want := map[bool]int{true: 2, false: 1}[o.at != ""]; modes != 1 || len(args) != want || (o.every != "") != (o.command != "") {
		return cli.UsageError("crash takes --list DIR, or --at POINT DIR DST, or --every KIND --run COMMAND DIR")
	}
	for flag, with := range map[string]bool{"force": o.at != "", "keep": o.every != "", "stop": o.every != "", "output": o.list, "seed": o.unflushed == string(crash.Torn)} {
		if cmd.Flags().Changed(flag) && !with {
			return cli.UsageError("--%s means nothing here: --force goes with --at, --keep and --stop with --every, --output with --list, --seed with --unflushed torn", flag)
		}
	}
	if o.every != "" {
		if err := cli.OneOf("every", o.every, string(crash.AtFlush), string(crash.AtWrite)); err != nil {
			return err
		}
		if !strings.Contains(o.command, "{}") {
			return cli.UsageError("--run %q: {} must stand for the image in it", o.command)
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
		return "", 0, cli.UsageError("--at %q: write:N or flush:N", o.at)
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
