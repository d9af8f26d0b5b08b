package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"zimg/image"
	"zimg/image/disk"
	"zimg/image/foreign"
	"zimg/image/foreign/all"
	"zimg/layout"
)

// Exit codes of every command; check and compare have more.
const (
	exitFailed      = 1
	exitNotCompared = 2 // compare: 1 is "they differ"
	exitUsage       = 64
)

// codedError ends the program with a code; err may be nil if all has been said.
type codedError struct {
	code int
	err  error
	hint string
}

func (e *codedError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.code)
	}
	return e.err.Error()
}

func (e *codedError) Unwrap() error { return e.err }

// failureOf is the exit code of c where it fails: of compare, 1 has a meaning of its own.
func failureOf(c *cobra.Command) int {
	if c.Name() == "compare" {
		return exitNotCompared
	}
	return exitFailed
}

// withExit gives err an exit code.
func withExit(code int, err error) error { return &codedError{code: code, err: err} }

// isVerdict tells the exit code of a command that has done its work, like check
// that found errors, from that of one that failed.
func isVerdict(err error) bool {
	var coded *codedError
	return err == nil || errors.As(err, &coded) && coded.err == nil
}

// report prints err of cmd, with a hint where there is one, and says how to exit.
func report(w io.Writer, cmd *cobra.Command, err error) int {
	if err == nil {
		return 0
	}
	code, hint := exitFailed, ""
	var coded *codedError
	if errors.As(err, &coded) {
		code, hint = coded.code, coded.hint
		if coded.err == nil {
			return code
		}
		if code == exitUsage && hint == "" {
			hint = cmd.CommandPath() + " --help tells how it is used"
		}
	}
	var hinted *image.HintError
	if errors.As(err, &hinted) {
		hint = hinted.Hint
	}
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(w, "zimg: interrupted")
		if hint != "" {
			fmt.Fprintf(w, "%s\n", printable(hint))
		}
		return code
	}
	text := printable(err.Error())
	fmt.Fprintf(w, "zimg: %s\n", text)
	if hint == "" {
		hint = hintFor(err)
	}
	if errors.Is(err, layout.ErrNotImage) {
		hint = hintForeign(cmd, hint)
	}
	if hint != "" {
		fmt.Fprintf(w, "%s\n", printable(hint))
	}
	return code
}

// hintForeign adds to hint what is to be done about files that are not ours: those of a foreign format that
// shows itself have to be imported where a command knows our own only, and others to be named where it knows all.
func hintForeign(cmd *cobra.Command, hint string) string {
	for _, path := range cmd.Flags().Args() {
		if f, err := foreign.Detect(all.Formats, disk.OS, path); err == nil && f != nil {
			return fmt.Sprintf("it is of the format %s: zimg convert %s disk.zimg imports it", f.Name, shellWord(path))
		}
	}
	if cmd.Flags().Lookup("format") == nil {
		return hint
	}
	if hint != "" {
		hint += "; "
	}
	return hint + "a foreign format without a magic must be named by -f: " + strings.Join(unmarked(), ", ")
}

// hintFor says what to do about errors that come from below.
func hintFor(err error) string {
	switch {
	case errors.Is(err, disk.ErrLocked):
		return "" // the message asks the question itself
	case errors.Is(err, layout.ErrNewer):
		return "a newer zimg can read it: zimg version tells which this is"
	case errors.Is(err, layout.ErrNotImage):
		return "if its metadata was lost: zimg check FILE looks for what is left"
	}
	return ""
}

// warn prints a warning.
func warn(cmd *cobra.Command, format string, args ...any) {
	fmt.Fprintf(cmd.ErrOrStderr(), "zimg: warning: %s\n", printable(fmt.Sprintf(format, args...)))
}

// closeQuietly closes an image that was only read.
func closeQuietly(im *image.Image) { _ = im.Close() }
