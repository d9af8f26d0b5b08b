// Command zimg creates, inspects, checks, repairs, converts and boots images of
// zoned NVMe (ZNS) namespaces.
//
// One file per command, named after it; main.go is the process, root.go the command tree, geometry.go turns flags
// into namespaces, complete.go completes. What commands share is in cmd/internal.
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

	"zimg/cmd/internal/cli"
	"zimg/cmd/internal/vm"
	"zimg/image"
	"zimg/layout"
)

func main() {
	vm.Guard()
	code, killed := execute(os.Args, streams{os.Stdin, os.Stdout, os.Stderr})
	if killed != nil {
		cli.Raise(killed) // for a shell that runs a loop of us, so that Ctrl-C ends the loop
	}
	os.Exit(code)
}

// streams are the standard streams of a process.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// stamp is what goes into the images that this process writes: its version, and the time of SOURCE_DATE_EPOCH if
// that is set.
func stamp() image.Stamp {
	s := image.Stamp{Tool: "zimg " + buildVersion()}
	if len(s.Tool) > layout.ToolLen {
		s.Tool = s.Tool[:layout.ToolLen]
	}
	if epoch, err := sourceDate(); err == nil && !epoch.IsZero() {
		s.Time = epoch
	}
	return s
}

// sourceDate is the time of SOURCE_DATE_EPOCH, zero if that is not set or empty.
func sourceDate() (time.Time, error) {
	value := os.Getenv("SOURCE_DATE_EPOCH")
	if value == "" {
		return time.Time{}, nil
	}
	epoch, err := strconv.ParseInt(value, 10, 64)
	if err != nil || epoch < 0 {
		return time.Time{}, cli.UsageError("SOURCE_DATE_EPOCH=%q is not a number of seconds since 1970", value)
	}
	return time.Unix(epoch, 0).UTC(), nil
}

// execute is the whole program except for the exit. It runs the command that args name, and returns the signal that interrupted it, if one did.
func execute(args []string, s streams) (code int, killed os.Signal) {
	args, asFsck := fsckArgs(args)
	defer func() {
		if v := recover(); v != nil {
			code, killed = cli.Internal(s.err, v), nil
			if asFsck {
				code = fsckFailed
			}
		}
	}()
	ctx, received, stop := cli.Interruptible()
	defer stop()
	out := &cli.Output{W: s.out}
	root := newRootCommand(args)
	root.SetIn(s.in)
	root.SetOut(out)
	root.SetErr(s.err)
	root.SetArgs(resizeArgs(args))
	root.PersistentPreRunE = func(*cobra.Command, []string) error {
		_, err := sourceDate()
		return err
	}
	if len(args) > 0 && strings.HasPrefix(args[0], cobra.ShellCompRequestCmd) { // what a shell calls; no other command pays for it
		addCompletions(root)
	}
	cmd, err := root.ExecuteContextC(ctx)
	if lost := out.Err; lost != nil && (cli.IsVerdict(err) || errors.Is(err, lost)) {
		err = cli.WithExit(cli.FailureOf(cmd), lost) // what was to be said was not
	}
	code = cli.Report(s.err, cmd, nameImage(cmd, err), hintFor)
	if errors.Is(err, context.Canceled) {
		if killed = received(); killed != nil {
			code = cli.ExitBySignal + cli.SignalNumber(killed)
		}
	}
	if s := cli.EndedBy(err); s != nil {
		killed = s
	}
	if asFsck && !cli.IsVerdict(err) {
		return fsckExit(code, killed != nil), nil
	}
	return code, killed
}

// fsckArgs drops the program's name; called as fsck.zimg it is the command check.
func fsckArgs(args []string) (rest []string, asFsck bool) {
	if filepath.Base(args[0]) == "fsck.zimg" {
		return translateFsck(args[1:]), true
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
	case code == cli.ExitUsage:
		return fsckUsage
	case code == cli.ExitFailed, code == cli.ExitInUse:
		return fsckFailed
	}
	return code
}
