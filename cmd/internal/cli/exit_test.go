package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"zimg/image"
	"zimg/layout"
)

// An error is one line, or one for each of those that were joined, whatever is in the names that it mentions.
func TestErrorLines(t *testing.T) {
	t.Parallel()
	const forged = "a\nzimg: all is well\x1b[31m"
	const shown = `a\nzimg: all is well\x1b[31m`
	missing := &fs.PathError{Op: "stat", Path: forged, Err: syscall.ENOENT}
	denied := &fs.PathError{Op: "open", Path: forged, Err: syscall.EACCES}
	for _, c := range []struct {
		err  error
		want []string
	}{
		{missing, []string{shown + ": no such file or directory"}},
		{denied, []string{"open " + shown + ": permission denied"}},
		{fmt.Errorf("%s: %w", forged, missing), []string{shown + ": " + shown + ": no such file or directory"}},
		{fmt.Errorf("%w (%s)", missing, forged), []string{"stat " + shown + ": no such file or directory (" + shown + ")"}},
		{errors.Join(missing, denied), []string{shown + ": no such file or directory", "open " + shown + ": permission denied"}},
		{&image.HintError{Err: fmt.Errorf("d: %w", errors.Join(denied, errors.New(forged)))}, []string{"d: open " + shown + ": permission denied", shown}},
		{layout.Errorf(layout.ErrRange, "%s is %w", forged, missing), []string{shown + " is " + shown + ": no such file or directory"}},
		{WithExit(3, fmt.Errorf("%s: %w and %w", forged, denied, missing)), []string{shown + ": open " + shown + ": permission denied and " + shown + ": no such file or directory"}},
		{errors.New(""), []string{""}},
	} {
		if got := errorLines(c.err); !slices.Equal(got, c.want) {
			t.Errorf("%q\n got %q\nwant %q", c.err, got, c.want)
		}
	}
}

// What a hint shows can be pasted into a shell, and is one line of a terminal.
func TestShellWord(t *testing.T) {
	t.Parallel()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"disk.zimg":     "disk.zimg",
		"-dash;":        "'./-dash;'",
		"a b;$(id).img": "'a b;$(id).img'",
		"it's":          `'it'\''s'`,
		"two\nlines":    `$'two\x0alines'`,
		"\x1b'\\ü\x80 ": `$'\x1b\'\\ü\x80 '`,
	} {
		got := ShellWord(path)
		if got != want {
			t.Errorf("%q: %s, want %s", path, got, want)
		}
		if out, err := exec.Command(bash, "-c", "printf %s "+got).Output(); err != nil || strings.TrimPrefix(string(out), "./") != path {
			t.Errorf("bash takes %s for %q, %v", got, out, err)
		}
		if out, err := exec.Command("sh", "-c", "printf %s "+POSIXWord(path)).Output(); err != nil || string(out) != path {
			t.Errorf("sh takes %s for %q, %v", POSIXWord(path), out, err)
		}
	}
}
