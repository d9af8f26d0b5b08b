package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zimg/image/imagetest"
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
	{"report", "IMAGE"},
	{"map", "IMAGE"},
	{"dump", "IMAGE"},
	{"read", "--zone", "1", "IMAGE"},
	{"qemu-args", "IMAGE"},
	{"check", "--data", "IMAGE"},
	{"check", "--repair=all", "--dry-run", "IMAGE"},
	{"compare", "IMAGE", "IMAGE"},
	{"convert", "IMAGE", "OUT1"},
	{"convert", "-O", "qcow2", "IMAGE", "OUT2"},
	{"zone", "finish", "IMAGE", "1"},
	{"append", "--zone", "0", "IMAGE", "/dev/null"},
	{"snapshot", "-c", "s", "IMAGE"},
	{"resize", "IMAGE", "--zones", "9"},
	{"check", "--repair", "IMAGE"},
	{"check", "--repair=all", "IMAGE"},
	{"undo", "IMAGE"},
}

// Every command on every hostile file, each in little memory and time: no
// crash, no internal error, and no other file is touched.
func TestHostileFiles(t *testing.T) {
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
	step := 1
	if testing.Short() {
		step = 29
	}
	t.Run("files", func(t *testing.T) {
		for i := 0; i < len(list); i += step {
			f := list[i]
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

// hostileCommand runs one command under the limits.
func hostileCommand(t *testing.T, zimg, path string, command []string) {
	t.Helper()
	args := []string{fmt.Sprintf("--data=%d", hostileMemory), "--fsize=67108864", "--core=0", zimg}
	for _, a := range command {
		switch {
		case a == "IMAGE":
			a = path
		case strings.HasPrefix(a, "OUT"):
			a = filepath.Join(filepath.Dir(path), a)
		}
		args = append(args, a)
	}
	ctx, cancel := context.WithTimeout(t.Context(), hostileTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "prlimit", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err := cmd.Run()
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
}
