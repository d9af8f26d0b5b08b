// Package cli is what zimg's commands share towards the person who calls them.
//
//	exit.go      errors to exit codes    usage.go     wrong command lines
//	streams.go   input and output        interrupt.go Ctrl-C
//	table.go     tables for people       progress.go  a line on a terminal
//	view.go      JSON, and text that is safe to print  size.go  "64M"
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"zimg/image"
	"zimg/image/disk"
	"zimg/image/goroutine"
)

// Exit codes of every command; check and compare have more.
const (
	ExitFailed      = 1
	ExitNotCompared = 2 // compare: 1 is "they differ"; crash --every: 1 is "COMMAND failed"
	ExitUsage       = 64
	ExitInternal    = 70 // EX_SOFTWARE of sysexits.h: a bug in zimg
	ExitInUse       = 75 // EX_TEMPFAIL: another process has the image; it may work later
)

// CodedError ends the program with a code; err may be nil if all has been said.
type CodedError struct {
	code int
	err  error
	Hint string
	// signal is the one that the program is to end by, nil for none.
	signal os.Signal
}

func (e *CodedError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.code)
	}
	return e.err.Error()
}

func (e *CodedError) Unwrap() error { return e.err }

// FailureOf is the exit code of c where it fails: of compare and crash --every, 1 has a meaning of its own.
func FailureOf(c *cobra.Command) int {
	every := c.Flags().Lookup("every")
	if c.Name() == "compare" || every != nil && every.Changed {
		return ExitNotCompared
	}
	return ExitFailed
}

// WithExit gives err an exit code.
func WithExit(code int, err error) error { return &CodedError{code: code, err: err} }

// WithSignal ends the program by a signal, as a command that has no time to clean up.
func WithSignal(s os.Signal) error {
	return &CodedError{code: ExitBySignal + SignalNumber(s), signal: s}
}

// EndedBy is the signal that err says the program is to end by, nil for none.
func EndedBy(err error) os.Signal {
	var coded *CodedError
	if errors.As(err, &coded) {
		return coded.signal
	}
	return nil
}

// IsVerdict distinguishes the exit code of a command that has done its work, like check
// that found errors, from that of one that failed.
func IsVerdict(err error) bool {
	var coded *CodedError
	return err == nil || errors.As(err, &coded) && coded.err == nil
}

// Report prints err of cmd with a hint and returns the exit code. hintFor is given the error's own hint, or "", and
// returns the one to print.
func Report(w io.Writer, cmd *cobra.Command, err error, hintFor func(cmd *cobra.Command, err error, hint string) string) int {
	if err == nil {
		return 0
	}
	code, hint := FailureOf(cmd), ""
	var coded *CodedError
	if errors.As(err, &coded) {
		code, hint = coded.code, coded.Hint
		if coded.err == nil {
			return code
		}
		if code == ExitUsage && hint == "" {
			hint = "run '" + cmd.CommandPath() + " --help' for usage"
		}
	}
	if code == FailureOf(cmd) && errors.Is(err, disk.ErrLocked) {
		code = ExitInUse
	}
	var hinted *image.HintError
	if errors.As(err, &hinted) {
		hint = hinted.Hint
	}
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(w, "zimg: interrupted")
		printHint(w, hint)
		return code
	}
	for _, line := range errorLines(err) {
		fmt.Fprintf(w, "zimg: %s\n", line)
	}
	printHint(w, hintFor(cmd, err, hint))
	return code
}

// errorLines is the text of err, a line for each of the errors that were joined. A name in it cannot pass for more lines. A
// file that cannot be found is named without the system call.
func errorLines(err error) []string {
	text := err.Error()
	switch e := err.(type) { //nolint:errorlint // each error of the chain comes by here
	case *fs.PathError:
		if e.Op == "stat" || e.Op == "lstat" {
			return []string{OneLine(e.Path + ": " + e.Err.Error())}
		}
	case interface{ Unwrap() []error }:
		var texts, lines []string
		for _, each := range e.Unwrap() {
			texts = append(texts, each.Error())
			lines = append(lines, errorLines(each)...)
		}
		if strings.Join(texts, "\n") == text {
			return lines
		}
		for _, each := range e.Unwrap() {
			if before, ok := strings.CutSuffix(text, each.Error()); ok {
				return after(before, each)
			}
		}
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			if before, ok := strings.CutSuffix(text, inner.Error()); ok {
				return after(before, inner)
			}
		}
	}
	return []string{OneLine(text)}
}

// after is the lines of err after the text that another error has put before it.
func after(before string, err error) []string {
	lines := errorLines(err)
	lines[0] = OneLine(before) + lines[0]
	return lines
}

// Internal reports a panic with value v, which is a bug, as one line that a bug
// report can quote, and returns the exit code. It is called by the function that recovered.
func Internal(w io.Writer, v any) int {
	p := goroutine.Recovered(v)
	place := ""
	if p.Place != "" {
		place = " (" + p.Place + ")"
	}
	fmt.Fprintf(w, "zimg: internal error: %s%s\n", OneLine(p.String()), place)
	fmt.Fprintln(w, "This is a bug in zimg. Please report it with the line above and the command you ran.")
	return ExitInternal
}

// Panicked ends the process where a goroutine panics that nobody waits for: with the report of an internal error and its exit
// status. An image that is being served or changed is as after a kill.
func Panicked(w io.Writer) func(v any) {
	return func(v any) { os.Exit(Internal(w, v)) }
}

// printHint prints what can be done, if that is known: a hint per line.
func printHint(w io.Writer, hint string) {
	for line := range strings.SplitSeq(hint, "\n") {
		if line != "" {
			fmt.Fprintf(w, "zimg: hint: %s\n", Printable(line))
		}
	}
}

// Warn prints a warning.
func Warn(cmd *cobra.Command, format string, args ...any) {
	fmt.Fprintf(cmd.ErrOrStderr(), "zimg: warning: %s\n", OneLine(fmt.Sprintf(format, args...)))
}
