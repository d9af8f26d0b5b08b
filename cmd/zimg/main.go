// Command zimg creates, inspects, checks, repairs, converts and boots images of
// zoned NVMe (ZNS) namespaces.
//
// One file a command, named after it; what they share:
//
//	main.go   the process                root.go    the command tree
//	exit.go   errors to exit codes       view.go    JSON, and text that is safe to print
//	size.go   "64M"                      table.go   tables for people
//	progress.go  a line on a terminal    geometry.go  flags to namespaces
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"zimg/image"
)

func main() {
	os.Exit(run(os.Args, streams{os.Stdin, os.Stdout, os.Stderr}))
}

// streams are the standard streams of a process.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// run is the whole program but for the exit.
func run(args []string, s streams) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	image.Tool = "zimg " + version
	if len(image.Tool) > 32 {
		image.Tool = image.Tool[:32]
	}
	if epoch, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64); err == nil {
		image.Clock = time.Unix(epoch, 0).UTC()
	}
	args, asFsck := fsckArgs(args)
	root := newRootCommand(args)
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	root.SetArgs(resizeArgs(args))
	if len(args) > 0 && strings.HasPrefix(args[0], cobra.ShellCompRequestCmd) { // what a shell calls; no other command pays for it
		addCompletions(root)
	}
	err := root.ExecuteContext(ctx)
	code := report(s.err, err)
	if asFsck && !isVerdict(err) {
		return fsckExit(code, ctx.Err() != nil)
	}
	return code
}

// fsckArgs drops the program's name; called as fsck.zimg it is the command check.
func fsckArgs(args []string) (rest []string, asFsck bool) {
	if filepath.Base(args[0]) == "fsck.zimg" {
		return append([]string{"check", "--fsck"}, args[1:]...), true
	}
	if len(args) > 1 && args[1] == "check" {
		return args[1:], slices.Contains(args, "--fsck")
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
