package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"zimg/image/crash"
	"zimg/image/writelog"
	"zimg/layout"
)

type crashOptions struct {
	list      bool
	at        string
	every     string
	command   string
	unflushed string
	seed      uint64
	ns        uint32
	force     bool
	keep      bool
}

func newCrashCommand() *cobra.Command {
	var o crashOptions
	c := &cobra.Command{
		Use:   "crash --list DIR | crash --at write:N|flush:N DIR DST | crash --every flush|write --run COMMAND DIR",
		Short: "make images as they would be had the power failed during a recorded run",
		Long: `Crash makes images out of what zimg run --record kept: the image before the run, and every
write, discard and flush since, in order.

--at makes DST as it would be had the power failed right after write N or flush N, counted from
1; 0 is the moment before the first. Writes that no flush followed are kept, dropped or torn
(--unflushed): of each zone a drive keeps what was written up to some block, which --seed
chooses; of a namespace without zones any of the blocks.

--every walks all flushes, or all writes, and runs COMMAND by the shell for each, {} standing
for the image. It exits 1 if the command failed for any of them.

Write pointers follow the writes, and resets their zeroes. What else was done to zones leaves no
write: a zone that was finished is Closed in the result, and extensions are those of before the run. With several
namespaces --ns says which log is replayed; the others are as before the run.`,
		Example: `  zimg run --record rec disk.zimg -- qemu-system-x86_64 ...
  zimg crash --list rec
  zimg crash --at flush:12 --unflushed torn --seed 7 rec crashed.zimg
  zimg crash --every flush --run './mounts.sh {}' rec`,
		Args: rangeArgs(1, 2, "DIR, or DIR and DST with --at"),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	f := c.Flags()
	f.BoolVar(&o.list, "list", false, "list writes, discards and flushes")
	f.StringVar(&o.at, "at", "", "the `POINT`: write:N or flush:N")
	f.StringVar(&o.every, "every", "", "walk all points of a `KIND`: flush or write")
	f.StringVar(&o.command, "run", "", "`COMMAND` to run for each point of --every; {} is the image")
	f.StringVar(&o.unflushed, "unflushed", "drop", "`FATE` of unflushed writes: keep, drop or torn")
	f.Uint64Var(&o.seed, "seed", 1, "`N` that decides what is torn")
	f.Uint32Var(&o.ns, "ns", 0, "the log of namespace `N` (default: the only one)")
	f.BoolVar(&o.force, "force", false, "overwrite DST")
	f.BoolVar(&o.keep, "keep", false, "keep the images for which COMMAND failed, in DIR")
	return c
}

func (o *crashOptions) run(cmd *cobra.Command, args []string) (err error) {
	if err := oneOf("unflushed", o.unflushed, string(crash.Keep), string(crash.Drop), string(crash.Torn)); err != nil {
		return err
	}
	modes := 0
	for _, on := range []bool{o.list, o.at != "", o.every != ""} {
		if on {
			modes++
		}
	}
	if want := map[bool]int{true: 2, false: 1}[o.at != ""]; modes != 1 || len(args) != want || (o.every != "") != (o.command != "") {
		return usageError("crash takes --list DIR, or --at POINT DIR DST, or --every KIND --run COMMAND DIR")
	}
	id := layout.NSID(o.ns)
	if id == 0 {
		if id, err = crash.Only(args[0]); err != nil {
			return err
		}
	}
	r, err := crash.Open(args[0], id)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	switch {
	case o.list:
		return o.print(cmd, r)
	case o.at != "":
		entries, err := o.point(r)
		if err != nil {
			return err
		}
		return r.Make(args[1], entries, crash.Unflushed(o.unflushed), o.seed, o.force)
	}
	return o.walk(cmd, r)
}

// point parses --at.
func (o *crashOptions) point(r *crash.Recording) (int, error) {
	kind, number, _ := strings.Cut(o.at, ":")
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 || kind != "write" && kind != "flush" {
		return 0, usageError("--at %q: write:N or flush:N", o.at)
	}
	return r.After(kind == "flush", n)
}

// print lists the log: points, numbered as --at has them.
func (o *crashOptions) print(cmd *cobra.Command, r *crash.Recording) error {
	w := cmd.OutOrStdout()
	writes, flushes := 0, 0
	for _, e := range r.Log {
		switch {
		case e.Flags&writelog.Mark != 0:
			continue
		case e.Length > 0:
			writes++
			kind := "write"
			if e.Flags&writelog.Discard != 0 {
				kind = "discard"
			}
			if e.Flags&writelog.FUA != 0 {
				kind += " (FUA)"
			}
			fmt.Fprintf(w, "write:%-6d %s of %d bytes at %d\n", writes, kind, e.Length, e.Off)
		}
		if e.Flags&writelog.Flush != 0 {
			flushes++
			fmt.Fprintf(w, "flush:%d\n", flushes)
		}
	}
	fmt.Fprintf(w, "%s, %s of namespace %d\n", count(writes, "write", "writes"), count(flushes, "flush", "flushes"), r.NS)
	return nil
}

// walk makes the image of every point in turn and runs the command on it.
func (o *crashOptions) walk(cmd *cobra.Command, r *crash.Recording) error {
	if err := oneOf("every", o.every, "flush", "write"); err != nil {
		return err
	}
	if !strings.Contains(o.command, "{}") {
		return usageError("--run %q: {} must stand for the image in it", o.command)
	}
	flush := o.every == "flush"
	points := r.Writes()
	if flush {
		points = r.Flushes()
	}
	failed := 0
	for n := 1; n <= points; n++ {
		if err := cmd.Context().Err(); err != nil {
			return err
		}
		ok, err := o.try(cmd, r, flush, n)
		if err != nil {
			return err
		}
		if !ok {
			failed++
		}
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s, %d failed\n", count(points, o.every+" point", o.every+" points"), failed)
	if failed > 0 {
		return withExit(exitFailed, nil)
	}
	return nil
}

// try makes the image of one point, runs the command, and removes the image.
func (o *crashOptions) try(cmd *cobra.Command, r *crash.Recording, flush bool, n int) (ok bool, err error) {
	entries, err := r.After(flush, n)
	if err != nil {
		return false, err
	}
	path := filepath.Join(r.Dir, fmt.Sprintf("%s-%d-%08x.zimg", o.every, n, rand.Uint32()))
	if err := r.Make(path, entries, crash.Unflushed(o.unflushed), o.seed, false); err != nil {
		return false, err
	}
	ok = true
	defer func() {
		if ok || !o.keep {
			err = errors.Join(err, os.Remove(path))
		}
	}()
	c := exec.CommandContext(cmd.Context(), "sh", "-c", strings.ReplaceAll(o.command, "{}", "'"+strings.ReplaceAll(path, "'", `'\''`)+"'"))
	c.Stdout, c.Stderr = processOutput(cmd), cmd.ErrOrStderr()
	switch err := c.Run(); {
	case errors.As(err, new(*exec.ExitError)):
		ok = false
		kept := ""
		if o.keep {
			kept = ", kept as " + path
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s:%d: %v%s\n", o.every, n, err, printable(kept))
	case err != nil:
		return true, err
	}
	return ok, nil
}
