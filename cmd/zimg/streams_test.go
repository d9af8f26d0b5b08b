//go:build unix

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"zimg/cmd/internal/cli"
)

// printing are commands that print, for the image d.zimg.
var printing = []string{
	"info d.zimg", "info -o json d.zimg", "report d.zimg", "report -o json d.zimg", "report -o nvme d.zimg", "map d.zimg", "check d.zimg", "check -o json d.zimg",
	"dump d.zimg", "snapshot -l d.zimg", "qemu-args d.zimg", "compare d.zimg d.zimg", "compare -o json d.zimg d.zimg", "read --zone 0 d.zimg", "append --zone 0 d.zimg data", "resize d.zimg +1",
	"snapshot -c s d.zimg", "convert d.zimg e.zimg", "create --zones 1 f.zimg", "version", "--version", "help", "zone --help", "completion bash",
}

// separately is the program as a process of its own, in the folder of the test.
func separately(args string) *exec.Cmd { return exec.Command("zimg", strings.Fields(args)...) }

func imageForStreams(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	zimg(t, "create", "-q", "--zones", "4", "--zone-size", "1M", "d.zimg")
	if err := os.WriteFile("data", bytes.Repeat([]byte("data"), 1024), 0o666); err != nil {
		t.Fatal(err)
	}
	zimg(t, "write", "--zone", "0", "d.zimg", "data")
}

// Output that nobody gets is a failure, whatever the command.
func TestFullOutput(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer func() { _ = full.Close() }()
	imageForStreams(t)
	for _, args := range printing {
		var errs strings.Builder
		c := separately(args)
		c.Stdout, c.Stderr = full, &errs
		want := cli.ExitFailed
		if strings.HasPrefix(args, "compare") {
			want = cli.ExitNotCompared
		}
		err := c.Run()
		if code := c.ProcessState.ExitCode(); code != want || errs.String() != "zimg: write /dev/stdout: no space left on device\n" {
			t.Errorf("zimg %s: %v, %q", args, err, errs.String())
		}
	}
}

// A reader that has seen enough, like head, is no failure to speak of: SIGPIPE ends the command.
func TestClosedOutput(t *testing.T) {
	imageForStreams(t)
	for _, args := range printing {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Close()
		var errs strings.Builder
		c := separately(args)
		c.Stdout, c.Stderr = w, &errs
		err = c.Run()
		_ = w.Close()
		if s, ok := c.ProcessState.Sys().(syscall.WaitStatus); !ok || s.Signal() != syscall.SIGPIPE || errs.Len() > 0 {
			t.Errorf("zimg %s: %v, %q", args, err, errs.String())
		}
	}
}

// Ctrl-C ends a command as it ends others, by the signal, and leaves what was there.
func TestInterrupt(t *testing.T) {
	imageForStreams(t)
	zimg(t, "convert", "-q", "d.zimg", "before.zimg")
	for _, args := range []string{
		"restore d.zimg", "write --zone 1 d.zimg", "append -q --zone 1 d.zimg -",
		"create -p --preallocation full --zones 32 --zone-size 64M new.zimg",
	} {
		in, feed, err := os.Pipe() // to read from without end
		if err != nil {
			t.Fatal(err)
		}
		var errs bytes.Buffer
		c := separately(args)
		c.Stdin, c.Stderr = in, &errs
		var started *os.File // shows that it is at work
		if strings.HasPrefix(args, "create") {
			var w *os.File
			if started, w, err = os.Pipe(); err != nil {
				t.Fatal(err)
			}
			c.Stderr = w
			defer func() { _ = w.Close() }()
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		if started != nil {
			if _, err := started.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		} else {
			// A full pipe that is being emptied: the command is at its input.
			if _, err := feed.Write(bytes.Repeat([]byte(" "), 1<<16+1)); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		err = c.Wait()
		if s, ok := c.ProcessState.Sys().(syscall.WaitStatus); !ok || s.Signal() != syscall.SIGINT {
			t.Errorf("zimg %s: %v, %s", args, err, errs.String())
		}
		if started == nil && errs.String() != "zimg: interrupted\n" {
			t.Errorf("zimg %s: %q", args, errs.String())
		}
		_, _ = feed.Close(), in.Close()
	}
	zimg(t, "compare", "before.zimg", "d.zimg")
	zimg(t, "check", "--data", "d.zimg")
	if left, err := filepath.Glob("*new*"); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	if left, err := filepath.Glob(".*new*"); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}
