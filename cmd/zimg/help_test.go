package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"zimg/cmd/internal/man"

	"github.com/spf13/cobra"
)

// Every command says what it is for, in a line and by an example, and its man page has both.
func TestHelpAndManPages(t *testing.T) {
	dir := t.TempDir()
	zimg(t, "man", dir)
	root := newRootCommand(nil)
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Hidden || c.Name() == "help" {
			return
		}
		path := c.CommandPath()
		if c.Short == "" || c.Example == "" {
			t.Errorf("%s: short %q, example %q", path, c.Short, c.Example)
		}
		for _, line := range strings.Split(c.Example, "\n") {
			if c.Example != "" && !strings.Contains(line, "zimg ") {
				t.Errorf("%s: example %q", path, line)
			}
		}
		b, err := os.ReadFile(filepath.Join(dir, strings.ReplaceAll(path, " ", "-")+".1"))
		page := string(b)
		for _, part := range []string{".TH ", man.Roff(c.Short), ".SH SYNOPSIS", ".SH EXAMPLES", ".SH EXIT STATUS", ".SH SEE ALSO"} {
			if strings.Count(page, part) != 1 {
				t.Errorf("%s: man page: %v, %d of %q in %q", path, err, strings.Count(page, part), part, page)
			}
		}
		if strings.Contains(page, ".SH FILES") == c.HasParent() {
			t.Errorf("%s: files are described in zimg(1), and there only", path)
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
	b, err := os.ReadFile(filepath.Join(dir, "zimg-format.5"))
	page := string(b)
	if err != nil || !strings.HasPrefix(page, "'\\\" t\n.TH ") || strings.Count(page, "\n.SH ") < 6 || strings.Contains(page, "```") {
		t.Errorf("zimg-format(5): %v\n%s", err, page)
	}
	for _, pair := range [][2]string{{".nf", ".fi"}, {".TS", ".TE"}, {"T{", "\nT}"}} {
		if n := strings.Count(page, pair[0]+"\n"); n == 0 || n != strings.Count(page, pair[1]+"\n") {
			t.Errorf("zimg-format(5): %d of %s", n, pair[0])
		}
	}
	for _, empty := range []string{".PP\n.PP", ".PP\n.SH", ".PP\n.IP"} {
		if strings.Contains(page, empty) {
			t.Errorf("zimg-format(5): %q", empty)
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, "fsck.zimg.8")); err != nil || string(b) != ".so man1/zimg-check.1\n" {
		t.Errorf("fsck.zimg(8): %v, %q", err, b)
	}
}

// The shells are offered what only zimg knows: values, formats, and from an image its
// namespaces and zones.
func TestCompletion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "d.zimg")
	zimg(t, "create", "-q", "--ns", "zones=3,zone-size=1M", "--ns", "type=nvm,size=1M", "--ns", "zones=5,zone-size=2M", path)
	zimg(t, "zone", "finish", "-q", "--ns", "1", path, "1")
	for _, c := range []struct {
		args []string
		want string // a line of the answer
	}{
		{[]string{"report", path, "--ns", ""}, "2\tnvm, 1M"},
		{[]string{"report", path, "--zone", ""}, "1\tFull, 0 of 256 blocks"},
		{[]string{"zone", "reset", path, ""}, "2\tEmpty, 0 of 256 blocks"},
		{[]string{"zone", "reset", path, ""}, "all"},
		{[]string{"zone", "reset", "--ns", "3", path, ""}, "4\tEmpty, 0 of 512 blocks"},
		{[]string{"report", "--output", ""}, "blkzone"},
		{[]string{"convert", "-O", "zb"}, "zbd-dump\twhat zbd dump makes of a device and zbd restore puts back (zbd-utils)"},
		{[]string{"check", "--repair="}, "--repair=safe"},
		{[]string{"crash", "--unflushed", "t"}, "torn"},
		{[]string{"create", "--like", ""}, "zn540"},
		{[]string{"create", "--ns", "type=nvm,si"}, "type=nvm,size="},
		{[]string{"report", "-o", ""}, "zbd-csv"},
		{[]string{"report", "--state", "full,c"}, "full,closed"},
		{[]string{"help", "zone", ""}, "reset\tmake zones Empty and discard their data"},
		{[]string{"completion", "f"}, "fish"},
	} {
		out := zimg(t, append([]string{"__complete"}, c.args...)...)
		if !strings.Contains("\n"+out, "\n"+c.want+"\n") && !strings.Contains("\n"+out, "\n"+strings.TrimPrefix(c.want, "--repair=")+"\n") {
			t.Errorf("%q: no %q in\n%s", c.args, c.want, out)
		}
	}
}
