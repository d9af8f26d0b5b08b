package main

import (
	"bytes"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	"zimg/cmd/internal/cli"
)

// panicking is an output that panics: a bug in the middle of a command.
type panicking struct{}

func (panicking) Write([]byte) (int, error) { panic("output \x1b[31m lost") }

// A bug is reported in one line that names its place, with an exit status of its own: none of those that check uses.
func TestInternalError(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		want int
	}{
		{[]string{"zimg", "version"}, cli.ExitInternal},
		{[]string{"zimg", "check", "--fsck", "--help"}, fsckFailed},
	} {
		var stderr bytes.Buffer
		code, killed := execute(c.args, streams{strings.NewReader(""), panicking{}, &stderr})
		if code != c.want || killed != nil {
			t.Errorf("%v: exit status %d, %v, want %d", c.args, code, killed, c.want)
		}
		text := stderr.String()
		if !strings.HasPrefix(text, `zimg: internal error: output \x1b[31m lost (zimg/cmd/zimg.panicking.Write, internal_test.go:17)`+"\n") ||
			!strings.Contains(text, "This is a bug in zimg.") || strings.Contains(text, "goroutine") {
			t.Errorf("%v: %s", c.args, text)
		}
	}
}

// buggy is standard error that panics once, when the line of a connection is written that did not keep to the protocol.
// That is in the goroutine of the connection.
type buggy struct {
	io.Writer
	done bool
}

func (b *buggy) Write(p []byte) (int, error) {
	if n, err := b.Writer.Write(p); b.done || !regexp.MustCompile(`connection ended|control socket:|vfio-user`).Match(p) {
		return n, err
	}
	b.done = true
	panic("a bug in a connection")
}

// buggyMain is zimg with such a standard error.
func buggyMain() { os.Exit(run(os.Args, streams{os.Stdin, os.Stdout, &buggy{Writer: os.Stderr}})) }
