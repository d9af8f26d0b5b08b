package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"zimg/image/imagetest"
	"zimg/layout"
)

// What a command may need for a hostile file of a megabyte.
const (
	hostileMemory = 256 << 20
	hostileTime   = 60 * time.Second // a machine may be busy; each takes milliseconds
)

// hostileCommands are run on every file of the corpus, in this order; IMAGE
// stands for its path and OUT for one that does not exist.
var hostileCommands = [][]string{
	{"info", "IMAGE"},
	{"info", "--output", "json", "IMAGE"},
	{"info", "-U", "IMAGE"},
	{"report", "IMAGE"},
	{"report", "--output", "json", "IMAGE"},
	{"map", "IMAGE"},
	{"dump", "IMAGE"},
	{"read", "--zone", "1", "IMAGE"},
	{"qemu-args", "IMAGE"},
	{"check", "--data", "IMAGE"},
	{"check", "--repair=all", "--dry-run", "IMAGE"},
	{"check", "IMAGE", "IMAGE"},
	{"compare", "IMAGE", "IMAGE"},
	{"run", "--dry-run", "--allow-lost-faults", "IMAGE", "--", "qemu-system-x86_64"},
	{"fault", "list", "IMAGE"},
	{"fault", "add", "--zone", "0", "--status", "busy", "IMAGE"},
	{"dump", "IMAGE", "OUT3"},
	{"create", "--from", "OUT3", "OUT4"},
	{"create", "--like", "IMAGE", "--zones", "2", "OUT5"},
	{"convert", "IMAGE", "OUT1"},
	{"convert", "--lossy", "-O", "qcow2", "IMAGE", "OUT2"},
	{"convert", "--geometry", "max-open=0,max-active=0", "IMAGE", "OUT6"},
	{"serve", "--listen", "127.0.0.1:0", "--ready-fd", "3", "IMAGE"},
	{"restore", "IMAGE", "OUT3"},
	{"zone", "finish", "IMAGE", "1"},
	{"zone", "reset", "IMAGE", "0,2-3"},
	{"zone", "set-wp", "--written", "50%", "IMAGE", "1"},
	{"append", "--zone", "0", "IMAGE", "/dev/null"},
	{"write", "--zone", "2", "IMAGE", "SOME"},
	{"snapshot", "-c", "s", "IMAGE"},
	{"snapshot", "-l", "IMAGE"},
	{"snapshot", "-a", "s", "IMAGE"},
	{"resize", "IMAGE", "9"},
	{"convert", "--in-place", "--layout", "sidecar", "IMAGE"},
	{"check", "--repair", "IMAGE"},
	{"check", "--repair=all", "IMAGE"},
	{"serve", "--listen", "127.0.0.1:0", "--ready-fd", "3", "IMAGE"},
	{"undo", "IMAGE"},
	{"snapshot", "-d", "s", "IMAGE"},
}

// Every command on every hostile file, each in little memory and time: no
// crash, no internal error, and no other file is touched.
func TestHostileFiles(t *testing.T) {
	imagetest.NeedsPrograms(t, "prlimit")
	list, err := imagetest.Hostile()
	if err != nil {
		t.Fatal(err)
	}
	zimg, err := os.Executable() // it is zimg if it is called so, see TestMain
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.Symlink(zimg, filepath.Join(bin, "zimg")); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	victim := filepath.Join(dir, "victim")
	if err := os.WriteFile(victim, []byte("precious"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Run("files", func(t *testing.T) {
		for _, f := range list {
			t.Run(f.Name, func(t *testing.T) {
				t.Parallel()
				path, err := f.Unpack(filepath.Join(dir, f.Name))
				if err != nil {
					t.Fatal(err)
				}
				commands := hostileCommands
				if strings.HasSuffix(f.Name, ".zundo") {
					commands = [][]string{{"undo", "IMAGE"}, {"undo", "--force", "IMAGE"}}
				}
				if err := os.WriteFile(filepath.Join(filepath.Dir(path), "SOME"), make([]byte, 512), 0o666); err != nil {
					t.Fatal(err)
				}
				for _, c := range commands {
					hostileCommand(t, filepath.Join(bin, "zimg"), path, c)
				}
				if err := os.RemoveAll(filepath.Join(dir, f.Name)); err != nil {
					t.Error(err)
				}
			})
		}
	})
	if b, err := os.ReadFile(victim); err != nil || string(b) != "precious" {
		t.Errorf("another file was changed: %q, %v", b, err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("files were made elsewhere: %v, %v", left, err)
	}
}

// None of the commands is refused for its usage: on an image that is not hostile, each does what it is for.
func TestHostileCommandsAreCommands(t *testing.T) {
	imagetest.NeedsPrograms(t, "prlimit")
	t.Parallel()
	zimg, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(zimg, filepath.Join(dir, "zimg")); err != nil {
		t.Fatal(err)
	}
	b, err := imagetest.HostileBase(layout.Trailing)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "base.zimg")
	if err := errors.Join(os.WriteFile(path, b, 0o666), os.WriteFile(filepath.Join(dir, "SOME"), make([]byte, 512), 0o666)); err != nil {
		t.Fatal(err)
	}
	for _, c := range hostileCommands {
		want := 0
		switch {
		case c[0] == "fault": // nobody serves the image
			want = 1
		case c[0] == "undo": // there is nothing to undo
			want = 1
		}
		if got := hostileCommand(t, filepath.Join(dir, "zimg"), path, c); got != want {
			t.Errorf("zimg %s: exit status %d, want %d", strings.Join(c, " "), got, want)
		}
	}
}

// hostileCommand runs one command under the limits and returns its exit status.
func hostileCommand(t *testing.T, zimg, path string, command []string) int {
	t.Helper()
	args := []string{fmt.Sprintf("--data=%d", hostileMemory), "--fsize=67108864", "--core=0", zimg}
	for _, a := range command {
		switch {
		case a == "IMAGE":
			a = path
		case strings.HasPrefix(a, "OUT") || a == "SOME":
			a = filepath.Join(filepath.Dir(path), a)
		}
		args = append(args, a)
	}
	ctx, cancel := context.WithTimeout(t.Context(), hostileTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "prlimit", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	run := cmd.Run
	if command[0] == "serve" {
		run = func() error { return serveOnce(cmd) }
	}
	err := run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	code := cmd.ProcessState.ExitCode()
	text := stderr.String()
	if code < 0 || code > 3 && code != 64 || strings.Contains(text, "goroutine ") || strings.Contains(text, "fatal error") || strings.Contains(text, "internal error") {
		t.Errorf("zimg %s: exit status %d, %v\n%s", strings.Join(command, " "), code, ctx.Err(), text)
	}
	if code != 0 && text == "" && command[0] != "compare" && command[0] != "check" {
		t.Errorf("zimg %s: exit status %d without a word", strings.Join(command, " "), code)
	}
	return code
}

// serveOnce runs zimg serve until hosts could connect.
func serveOnce(cmd *exec.Cmd) error {
	ready, theirs, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd.ExtraFiles = []*os.File{theirs}
	if err := errors.Join(cmd.Start(), theirs.Close()); err != nil {
		return errors.Join(err, ready.Close())
	}
	address, err := io.ReadAll(ready) // until it has said where, or has ended
	if err == nil && len(address) > 0 {
		err = cmd.Process.Signal(syscall.SIGTERM)
	}
	return errors.Join(err, ready.Close(), cmd.Wait())
}
