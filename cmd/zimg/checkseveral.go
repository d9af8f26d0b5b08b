package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"zimg/cmd/internal/cli"
	"zimg/fsck"
	"zimg/image/goroutine"
)

// badness orders the exit codes of checks from the best to the worst; what is not named is worse than all of them.
var badness = []int{0, checkWarnings, cli.ExitInUse, checkErrors, cli.ExitFailed}

// Exit codes of qemu-img check.
const (
	checkErrors   = 2
	checkWarnings = 3
)

// worse is the worse of two exit codes of checks, or with --fsck both.
func (o *checkOptions) worse(a, b int) int {
	if o.fsck {
		return a | b
	}
	rank := func(code int) int {
		if i := slices.Index(badness, code); i >= 0 {
			return i
		}
		return len(badness)
	}
	if rank(b) > rank(a) {
		return b
	}
	return a
}

// checked is what a check of one image of several has to say.
type checked struct {
	out, err bytes.Buffer
	code     int
	stopped  error // the command was interrupted
}

// runSeveral checks images, a few at a time, and prints what is found in their order.
func (o *checkOptions) runSeveral(cmd *cobra.Command, paths []string, opts fsck.Options) error {
	paths = distinctPaths(paths)
	results := make([]chan *checked, len(paths))
	for i := range results {
		results[i] = make(chan *checked, 1)
	}
	ctx, cancel := context.WithCancel(cmd.Context())
	opts.Context = ctx
	var workers goroutine.Group
	defer workers.Wait()
	defer cancel()
	work := make(chan int)
	for range min(len(paths), 4, runtime.NumCPU()) {
		workers.Go(func() {
			for i := range work {
				results[i] <- o.one(cmd, paths[i], opts)
			}
		})
	}
	workers.Go(func() {
		defer close(work)
		for i := range paths {
			select {
			case work <- i:
			case <-ctx.Done():
				return
			}
		}
	})
	bar := cli.NewProgress(cmd, o.showBar)
	defer bar.Done()
	code := 0
	for i, result := range results {
		if err := bar.Update(int64(i), int64(len(paths))); err != nil {
			return err
		}
		var r *checked
		select {
		case r = <-result:
		case <-ctx.Done():
			return ctx.Err()
		}
		if r.stopped != nil {
			return r.stopped
		}
		if r.err.Len()+r.out.Len() > 0 {
			bar.Clear()
		}
		_, errs := r.err.WriteTo(cmd.ErrOrStderr())
		_, errOut := r.out.WriteTo(cmd.OutOrStdout())
		if err := errors.Join(errs, errOut); err != nil {
			return err
		}
		code = o.worse(code, r.code)
	}
	if code != 0 {
		return cli.WithExit(code, nil)
	}
	return nil
}

// distinctPaths leaves out names that were given before: two repairs of one image would keep each other out.
func distinctPaths(paths []string) []string {
	var list []string
	seen := map[string]bool{}
	for _, path := range paths {
		if clean := filepath.Clean(path); !seen[clean] {
			seen[clean] = true
			list = append(list, path)
		}
	}
	return list
}

// one checks one image of several.
func (o *checkOptions) one(cmd *cobra.Command, path string, opts fsck.Options) (result *checked) {
	result = &checked{}
	defer func() {
		if v := recover(); v != nil {
			result.code = cli.Internal(&result.err, v)
			if o.fsck {
				result.code = fsckFailed
			}
		}
	}()
	c := &imageCheck{checkOptions: o, path: path, out: &result.out, err: &result.err}
	opts.Progress = func(int64, int64) error { return opts.Context.Err() }
	r, err := c.work(opts, func() {})
	switch {
	case errors.Is(err, context.Canceled):
		result.stopped = err
	case err != nil:
		result.code = c.fail(cmd, err)
	case o.output == "json":
		result.code = o.exitCode(r)
		writeJSONLine(c.out, c.view(r))
	case !o.quiet:
		result.code = o.exitCode(r)
		var text bytes.Buffer
		c.out = &text
		c.print(r)
		for line := range strings.Lines(text.String()) {
			fmt.Fprintf(&result.out, "%s: %s", cli.OneLine(path), line)
		}
	default:
		result.code = o.exitCode(r)
	}
	return result
}

// uncheckedView is an image of several that could not be checked, in JSON.
type uncheckedView struct {
	Filename    string `json:"filename"`
	CheckErrors int    `json:"check-errors"`
	Error       string `json:"error"`
}

// fail reports that the image could not be checked, and returns the exit code.
func (c *imageCheck) fail(cmd *cobra.Command, err error) int {
	code := cli.Report(c.err, cmd, err, func(cmd *cobra.Command, err error, hint string) string {
		return hintAbout(cmd, []string{c.path}, err, hint)
	})
	if c.output == "json" {
		writeJSONLine(c.out, uncheckedView{c.path, 1, err.Error()})
	}
	if c.fsck {
		return fsckExit(code, false)
	}
	return code
}

// writeJSONLine writes v as one line.
func writeJSONLine(w io.Writer, v any) {
	if b, err := cli.JSON(v); err == nil { // plain strings, numbers and booleans always encode
		_, _ = w.Write(append(b, '\n')) // to memory
	}
}
