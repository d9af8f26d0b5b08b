package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"

	"zimg/cmd/internal/cli"
	"zimg/image/crash"
	"zimg/image/goroutine"
)

// chosen are the points that --points and --step choose of count, from 1.
func (o *crashOptions) chosen(count int) ([]int, error) {
	if count == 0 {
		return nil, nil
	}
	ranges, err := numbering{
		first: 1, last: uint64(count), noun: "point",
		absent: func(i uint64) error {
			return fmt.Errorf("the recording has %s points 1 to %d; there is no point %d", o.every, count, i)
		},
	}.parse(o.points)
	if err != nil {
		return nil, err
	}
	var list []int
	nth := 0
	for _, r := range ranges {
		for i := r.First; i <= r.Last; i++ {
			if nth%o.step == 0 {
				list = append(list, int(i))
			}
			nth++
		}
	}
	return list, nil
}

// workDir is where the images are made; remove is to be called at the end.
func (o *crashOptions) workDir(r *crash.Recording) (dir string, remove func() error, err error) {
	nothing := func() error { return nil }
	if o.dir != "" {
		return o.dir, nothing, nil
	}
	file, err := os.CreateTemp(r.Dir, "walk-")
	if err == nil {
		return r.Dir, nothing, errors.Join(file.Close(), os.Remove(file.Name()))
	}
	if o.keep {
		return "", nil, fmt.Errorf("images cannot be kept in the recording: %w", err)
	}
	dir, err = os.MkdirTemp("", "zimg-crash-")
	return dir, func() error { return os.RemoveAll(dir) }, err
}

// trial is a command that runs on the image of a point.
type trial struct {
	point     int
	path      string
	out, errs io.Writer
	running   goroutine.Group // the command
	err       error           // how it ended
}

// walk makes the image of each chosen point in turn and runs the command on it, on several at the same time. Results are
// printed in the order of the points.
func (o *crashOptions) walk(cmd *cobra.Command, r *crash.Recording) (err error) {
	all := r.Points(crash.Kind(o.every))
	points, err := o.chosen(len(all))
	if err != nil {
		return err
	}
	dir, remove, err := o.workDir(r)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	ctx, cancel := context.WithCancel(cmd.Context())
	w, err := r.Walk(ctx, dir, crash.Unflushed(o.unflushed), o.seed)
	if err != nil {
		cancel()
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	bar := cli.NewProgress(cmd, o.showBar)
	defer bar.Done()

	// Images that there may be at a time: of commands that run, and of those that have ended and wait for one before them.
	window := make(chan struct{}, 2*o.jobs-1)
	trials := make(chan *trial, cap(window))
	var makeErr error
	var running goroutine.Group
	running.Go(func() {
		defer close(trials)
		makeErr = o.start(ctx, cmd, w, all, points, window, trials)
	})
	tried, failed := 0, 0
	var tryErr error
	for t := range trials {
		t.running.Wait()
		if tryErr == nil {
			tryErr = bar.Update(int64(tried), int64(len(points)))
		}
		stopped := tryErr != nil || o.stop && failed > 0
		ok, err := o.finish(cmd, bar, t, stopped)
		if tryErr == nil && !stopped {
			tryErr = err
			tried++
			if !ok {
				failed++
			}
		}
		if tryErr != nil || o.stop && failed > 0 {
			cancel()
		}
		<-window
	}
	running.Wait()
	stopped := o.stop && failed > 0
	cancel()
	if tryErr == nil && !stopped {
		tryErr = makeErr
	}
	if tryErr != nil {
		return tryErr
	}
	bar.Clear()
	fmt.Fprintf(cmd.OutOrStdout(), "%s, %d failed\n", cli.Count(tried, o.every+" point", o.every+" points"), failed)
	if failed > 0 {
		return cli.WithExit(cli.ExitFailed, nil)
	}
	return nil
}

// start makes the images, and starts the commands: as many at a time as --jobs says.
func (o *crashOptions) start(
	ctx context.Context, cmd *cobra.Command, w *crash.Walk, all, points []int, window chan<- struct{}, trials chan<- *trial,
) error {
	slots := make(chan struct{}, o.jobs)
	for _, n := range points {
		for _, free := range []chan<- struct{}{window, slots} {
			select {
			case free <- struct{}{}:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err := ctx.Err(); err != nil { // both may have been possible
			return err
		}
		t := &trial{point: n, path: w.Path(fmt.Sprintf("%s-%d", o.every, n)), out: cli.ProcessOutput(cmd), errs: cmd.ErrOrStderr()}
		if err := w.Make(t.path, all[n-1]); err != nil {
			return err
		}
		if o.jobs > 1 {
			t.out, t.errs = &bytes.Buffer{}, &bytes.Buffer{}
		}
		t.running.Go(func() {
			defer func() { <-slots }()
			t.err = o.tryOne(ctx, t)
		})
		trials <- t
	}
	return nil
}

// tryOne runs the command on one image.
func (o *crashOptions) tryOne(ctx context.Context, t *trial) error {
	c := exec.CommandContext(ctx, "sh", "-c", strings.ReplaceAll(o.command, "{}", cli.POSIXWord(t.path)))
	c.Stdout, c.Stderr = t.out, t.errs
	c.Env = append(os.Environ(), fmt.Sprintf("ZIMG_POINT=%s:%d", o.every, t.point))
	err := c.Run()
	if stopped := ctx.Err(); stopped != nil {
		return stopped
	}
	return err
}

// finish prints what a command has printed and how it ended, and removes its image. Of a trial that nobody wants any more
// nothing is printed.
func (o *crashOptions) finish(cmd *cobra.Command, bar *cli.Progress, t *trial, unwanted bool) (ok bool, err error) {
	failed := errors.As(t.err, new(*exec.ExitError))
	if !failed || !o.keep || unwanted {
		defer func() { err = errors.Join(err, os.Remove(t.path)) }()
	}
	if unwanted {
		return true, nil
	}
	for _, part := range []struct {
		from io.Writer
		to   io.Writer
	}{{t.out, cmd.OutOrStdout()}, {t.errs, cmd.ErrOrStderr()}} {
		if b, ok := part.from.(*bytes.Buffer); ok && b.Len() > 0 {
			bar.Clear()
			if _, err := part.to.Write(b.Bytes()); err != nil {
				return false, err
			}
		}
	}
	if !failed {
		return t.err == nil, t.err
	}
	kept := ""
	if o.keep {
		kept = ", kept as " + t.path
	}
	bar.Clear()
	fmt.Fprintf(cmd.OutOrStdout(), "%s:%d: %v%s\n", o.every, t.point, t.err, cli.OneLine(kept))
	return false, nil
}
