package main

import (
	"os"
	"path/filepath"
	"regexp"
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
	for _, name := range []string{"zimg-format.5", "zimg-formats.7", "zimg-json.7"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		page := string(b)
		if err != nil || !strings.HasPrefix(page, "'\\\" t\n.TH ") || strings.Count(page, "\n.SH ") < 6 || strings.Contains(page, "```") {
			t.Errorf("%s: %v\n%s", name, err, page)
		}
		for _, pair := range [][2]string{{".nf", ".fi"}, {".TS", ".TE"}, {"T{", "\nT}"}} {
			if n := strings.Count(page, pair[0]+"\n"); n == 0 || n != strings.Count(page, pair[1]+"\n") {
				t.Errorf("%s: %d of %s", name, n, pair[0])
			}
		}
		for _, empty := range []string{".PP\n.PP", ".PP\n.SH", ".PP\n.IP"} {
			if strings.Contains(page, empty) {
				t.Errorf("%s: %q", name, empty)
			}
		}
	}
	page := func(name string) string {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for name, parts := range map[string][]string{
		"fsck.zimg.8":  {"fsck.zimg \\- check", `\fB\-C\fR [\fIFD\fR]`},
		"zimg.1":       {"zimg COMMAND [flags]", `\fB\-\-version\fR`, ".BR zimg\\-crash (1)", ".BR zimg\\-json (7)"},
		"zimg-check.1": {`\fB\-\-repair\fR[=\fIMODE\fR]`, ".SH EXIT STATUS\nThe exit status describes the image", ".BR fsck.zimg (8)"},
		"zimg-serve.1": {"(default 127.0.0.1:4420)", "(default 64)"},
	} {
		for _, part := range parts {
			if !strings.Contains(page(name), part) {
				t.Errorf("%s: no %q", name, part)
			}
		}
	}
	if _, see, _ := strings.Cut(page("zimg.1"), ".SH SEE ALSO"); strings.Contains(see, "zimg (1)") {
		t.Error("zimg(1) refers to itself")
	}
}

// What the comparison with other tools says zimg has, it has.
func TestComparison(t *testing.T) {
	b, err := os.ReadFile("../../docs/COMPARISON.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, m := range regexp.MustCompile("`zimg ([^`]*)`").FindAllStringSubmatch(string(b), -1) {
		args := strings.Fields(m[1])
		cmd, rest, err := newRootCommand(args).Find(args)
		if err != nil || !cmd.HasParent() {
			t.Errorf("zimg %s: there is no such command", m[1])
			continue
		}
		found++
		for _, a := range rest {
			name, _, _ := strings.Cut(strings.TrimLeft(a, "-"), "=")
			switch {
			case strings.HasPrefix(a, "--") && cmd.Flags().Lookup(name) == nil, strings.HasPrefix(a, "-") && len(name) == 1 && cmd.Flags().ShorthandLookup(name) == nil:
				t.Errorf("zimg %s: there is no flag %s", m[1], a)
			}
		}
	}
	if found < 60 {
		t.Errorf("%d commands", found)
	}
	for line := range strings.Lines(string(b)) {
		if cells := strings.Split(line, "|"); len(cells) > 3 && strings.HasPrefix(strings.TrimSpace(cells[2]), "no") && strings.TrimSpace(cells[3]) == "" {
			t.Errorf("no reason is given: %s", line)
		}
	}
}

// The shells are offered what only zimg knows: values, formats, and from an image its
// namespaces and zones.
func TestCompletion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "d.zimg")
	zimg(t, "create", "-q", "--ns", "zones=3,zone-size=1M", "--ns", "type=nvm,size=1M", "--ns", "zones=5,zone-size=2M", path)
	zimg(t, "zone", "finish", "-q", "--ns", "1", path, "1")
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "qemu-system-test"), nil, 0o777); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin)
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	zimg(t, "snapshot", "-q", "-c", "first", path)
	zimg(t, "snapshot", "-q", "-c", "second", path)
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
		{[]string{"create", "--ns", "type=nvm,si"}, "type=nvm,size=\tsize of the namespace"},
		{[]string{"report", "-o", ""}, "zbd-csv"},
		{[]string{"report", "--state", "full,c"}, "full,closed"},
		{[]string{"help", "zone", ""}, "reset\tmake zones Empty and discard their data"},
		{[]string{"completion", "f"}, "fish"},
		{[]string{"zone", "reset", path, "0,"}, "0,1\tFull, 0 of 256 blocks"},
		{[]string{"report", "--state", "full,a"}, "full,active"},
		{[]string{"snapshot", path, "-a", ""}, "first\t2023-11-14T22:13:20Z"},
		{[]string{"snapshot", path, "--delete", ""}, "second\t2023-11-14T22:13:20Z"},
		{[]string{"run", path, "--", ""}, "qemu-system-test"},
		{[]string{"create", "-o", "nvme-ns,zoned.zone_c"}, "nvme-ns,zoned.zone_capacity=\twritable part of a zone"},
		{[]string{"create", "--li"}, "--like\tuse the geometry of NAME: btrfs, f2fs, xfs, zenfs, zn540, zonefs; or of an image or zoned device"},
	} {
		out := zimg(t, append([]string{"__complete"}, c.args...)...)
		if !strings.Contains("\n"+out, "\n"+c.want+"\n") && !strings.Contains("\n"+out, "\n"+strings.TrimPrefix(c.want, "--repair=")+"\n") {
			t.Errorf("%q: no %q in\n%s", c.args, c.want, out)
		}
	}
}
