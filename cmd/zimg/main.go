// Command zimg creates, inspects, checks, repairs, converts and boots images of
// zoned NVMe (ZNS) namespaces.
//
// One file a command, named after it; what they share:
//
//	main.go   the process                root.go    the command tree
//	exit.go   errors to exit codes       view.go    JSON, and text that is safe to print
//	size.go   "64M"                      table.go   tables for people
//	progress.go  a line on a terminal    geometry.go  flags to namespaces
//	streams.go   input and output        usage.go   wrong command lines
//	interrupt.go  Ctrl-C                 complete.go  completion
package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"zimg/image"
)

func main() {
	code, killed := execute(os.Args, streams{os.Stdin, os.Stdout, os.Stderr})
	if killed != nil {
		raise(killed) // for a shell that runs a loop of us, so that Ctrl-C ends the loop
	}
	os.Exit(code)
}

// streams are the standard streams of a process.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// execute is the whole program but for the exit. It runs the command that args name, and tells the signal that interrupted it, if one did.
func execute(args []string, s streams) (code int, killed os.Signal) {
	ctx, received, stop := interruptible()
	defer stop()
	image.Tool = "zimg " + version
	if len(image.Tool) > 32 {
		image.Tool = image.Tool[:32]
	}
	if epoch, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64); err == nil {
		image.Clock = time.Unix(epoch, 0).UTC()
	}
	args, asFsck := fsckArgs(args)
	out := &output{w: s.out}
	root := newRootCommand(args)
	root.SetIn(s.in)
	root.SetOut(out)
	root.SetErr(s.err)
	root.SetArgs(resizeArgs(args))
	if len(args) > 0 && strings.HasPrefix(args[0], cobra.ShellCompRequestCmd) { // what a shell calls; no other command pays for it
		addCompletions(root)
	}
	cmd, err := root.ExecuteContextC(ctx)
	if lost := out.err; lost != nil && (isVerdict(err) || errors.Is(err, lost)) {
		err = withExit(failureOf(cmd), lost) // what was to be said was not
	}
	code = report(s.err, cmd, err)
	if errors.Is(err, context.Canceled) {
		if killed = received(); killed != nil {
			code = exitBySignal + signalNumber(killed)
		}
	}
	if asFsck && !isVerdict(err) {
		return fsckExit(code, killed != nil), nil
	}
	return code, killed
}

// fsckArgs drops the program's name; called as fsck.zimg it is the command check.
func fsckArgs(args []string) (rest []string, asFsck bool) {
	if filepath.Base(args[0]) == "fsck.zimg" {
		return append([]string{"check", "--fsck"}, args[1:]...), true
	}
	if len(args) > 1 && args[1] == "check" {
		return args[1:], slices.ContainsFunc(args, func(a string) bool { return a == "--fsck" || a == "--fsck=true" })
	}
	return args[1:], false
}

// fsckExit turns the exit code of a failure into fsck(8)'s; what check itself
// found has it already.
func fsckExit(code int, interrupted bool) int {
	switch {
	case interrupted:
		return fsckInterrupted
	case code == exitUsage:
		return fsckUsage
	case code == exitFailed:
		return fsckFailed
	}
	return code
}
