// Package man writes man pages: zimg(1) and its commands from the commands themselves, so that the two cannot
// differ, and zimg-format(5), zimg-formats(7) and zimg-json(7) from the documents in docs.
//
//	man.go     a page for each command    format.go  Markdown to man(7)
package man

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"zimg/cmd/internal/cli"
)

// Options say what is printed in the head of each page.
type Options struct {
	Version string
	Date    time.Time // of the source; zero: none is printed
}

// writer writes pages.
type writer struct {
	Options
}

// Write writes a page for root and each command below it, the documents that are pages, and fsck.zimg(8) to the folder dir.
func Write(root *cobra.Command, dir string, o Options) error {
	m := &writer{o}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	for _, d := range documents {
		name := fmt.Sprintf("%s.%d", d.name, d.section)
		if err := writeManFile(filepath.Join(dir, name), func(w io.Writer) error { return m.writeDocument(w, d) }); err != nil {
			return err
		}
	}
	fsck := func(w io.Writer) error {
		_, err := io.WriteString(w, m.manHead("fsck.zimg", 8)+"\n"+manFsck)
		return err
	}
	if err := writeManFile(filepath.Join(dir, "fsck.zimg.8"), fsck); err != nil {
		return err
	}
	return m.writeManTree(root, dir)
}

// writeManTree writes a page for c and one for each command below it.
func (m *writer) writeManTree(c *cobra.Command, dir string) error {
	name := strings.ReplaceAll(c.CommandPath(), " ", "-")
	err := writeManFile(filepath.Join(dir, name+".1"), func(w io.Writer) error { return m.writeManPage(w, c) })
	if err != nil {
		return err
	}
	for _, sub := range c.Commands() {
		if sub.Hidden || sub.Name() == "help" {
			continue
		}
		if err := m.writeManTree(sub, dir); err != nil {
			return err
		}
	}
	return nil
}

func writeManFile(path string, write func(io.Writer) error) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(write(file), file.Close())
}

// writeManPage writes one page in man(7) macros.
func (m *writer) writeManPage(out io.Writer, c *cobra.Command) error {
	w := bufio.NewWriter(out)
	name := strings.ReplaceAll(c.CommandPath(), " ", "-")
	fmt.Fprintln(w, m.manHead(name, 1))
	fmt.Fprintf(w, ".SH NAME\n%s \\- %s\n", Roff(name), Roff(c.Short))
	for i, line := range synopsis(c) {
		if i == 0 {
			fmt.Fprintln(w, ".SH SYNOPSIS")
		} else {
			fmt.Fprintln(w, ".br")
		}
		fmt.Fprintf(w, ".B %s\n", Roff(line))
	}
	text, status := splitExitStatus(c.Long)
	if text != "" {
		fmt.Fprintln(w, ".SH DESCRIPTION")
		manText(w, text)
	}
	if subs := cli.Visible(c); len(subs) > 0 {
		fmt.Fprintln(w, ".SH COMMANDS")
		for _, s := range subs {
			fmt.Fprintf(w, ".TP\n.BR %s (1)\n%s\n", Roff(strings.ReplaceAll(s.CommandPath(), " ", "-")), Roff(s.Short))
		}
	}
	c.InitDefaultHelpFlag()
	c.InitDefaultVersionFlag()
	manFlags(w, "OPTIONS", c.NonInheritedFlags())
	manFlags(w, "GLOBAL OPTIONS", c.InheritedFlags())
	if c.Example != "" {
		fmt.Fprintf(w, ".SH EXAMPLES\n.nf\n%s\n.fi\n", Roff(strings.Trim(c.Example, "\n")))
	}
	fmt.Fprintln(w, ".SH EXIT STATUS")
	manText(w, status)
	if !c.HasParent() {
		_, _ = w.WriteString(manFiles) // the error stays until Flush
	}
	fmt.Fprintf(w, ".SH SEE ALSO\n%s.\n", strings.Join(seeAlso(c), ",\n"))
	return w.Flush()
}

// synopsis is how c is called, one way for each line.
func synopsis(c *cobra.Command) []string {
	if !c.HasParent() {
		return []string{c.Name() + " COMMAND [flags] [arguments]", c.Name() + " --help | --version"}
	}
	return strings.Split(c.UseLine(), " | "+c.Name()+" ")
}

// seeAlso are references to other pages.
func seeAlso(c *cobra.Command) []string {
	pages := []string{"zimg 1"}
	if !c.HasParent() {
		pages = nil
	}
	for p := c.Parent(); p != nil && p.HasParent(); p = p.Parent() {
		pages = append(pages, strings.ReplaceAll(p.CommandPath(), " ", "-")+" 1")
	}
	if c.Name() == "check" {
		pages = append(pages, "fsck.zimg 8")
	}
	for _, d := range documents {
		pages = append(pages, fmt.Sprintf("%s %d", d.name, d.section))
	}
	var list []string
	for _, p := range append(pages, "qemu-img 1", "nvme 1", "blkzone 8") {
		name, section, _ := strings.Cut(p, " ")
		list = append(list, fmt.Sprintf(".BR %s (%s)", Roff(name), section))
	}
	return list
}

// commonExitStatus is that of the commands that say nothing else.
const commonExitStatus = `0 done, 1 failed, 64 wrong usage, 70 internal error (a bug), 75 an image is in use by another
process (--wait waits for it). A command that is ended by SIGINT or SIGTERM (130 or 143 in a shell) leaves the image as it
was before.`

// splitExitStatus takes the paragraph on the exit status out of a command's description.
func splitExitStatus(long string) (text, status string) {
	status = commonExitStatus
	var rest []string
	for _, p := range strings.Split(long, "\n\n") {
		if strings.HasPrefix(p, "Exit status") || strings.HasPrefix(p, "The exit status") {
			status = strings.TrimPrefix(strings.TrimPrefix(p, "Exit status: "), "Exit status, ")
		} else {
			rest = append(rest, p)
		}
	}
	return strings.Join(rest, "\n\n"), status
}

// manFsck is fsck.zimg(8) after its first line.
const manFsck = `.SH NAME
fsck.zimg \- check and repair images of zimg
.SH SYNOPSIS
.B fsck.zimg
[\fB\-n\fR|\fB\-p\fR|\fB\-a\fR|\fB\-y\fR] [\fB\-f\fR] [\fB\-v\fR] [\fB\-t\fR] [\fB\-C\fR [\fIFD\fR]] \fIIMAGE\fR...
.br
.B fsck.zimg \-V
.SH DESCRIPTION
Fsck.zimg is
.BR zimg\-check (1)
with the flags and the exit status of
.BR fsck (8)
and its checkers. It takes the long flags of zimg check, too. It never asks.
.SH OPTIONS
.TP
\fB\-n\fR
change nothing (the default)
.TP
\fB\-p\fR, \fB\-a\fR
repair what can be repaired without a loss
.TP
\fB\-y\fR
repair all
.TP
\fB\-f\fR
compare the write pointers with the data even if the image looks clean
.TP
\fB\-v\fR
list every finding, not only the first of each kind
.TP
\fB\-t\fR
print how long the check took
.TP
\fB\-C\fR [\fIFD\fR]
write lines about the progress to file descriptor FD: pass, done, total and image. Without FD, or with 0, show the progress
on standard error
.TP
\fB\-V\fR
print the version
.SH EXIT STATUS
The sum, over all images, of: 0 sound, 1 errors were repaired, 4 errors are left, 8 an image could not be checked, 16 wrong
usage, 32 interrupted.
.SH SEE ALSO
.BR zimg\-check (1),
.BR zimg\-undo (1),
.BR fsck (8)
`

// manFiles are the sections that only zimg(1) has.
const manFiles = `.SH FILES
.TP
.I IMAGE\fR, or \fIIMAGE\fR and \fIIMAGE\fB.zmeta
an image in trailing layout; or the data and the metadata of one in sidecar layout
.TP
.IB IMAGE .zundo
what the last repair overwrote, for
.BR zimg-undo (1)
.TP
.IB IMAGE .zsnap/ NAME .zimg
a snapshot, see
.BR zimg-snapshot (1)
.TP
.IB IMAGE .zjournal\fR, \fIIMAGE\fB.ztrace
the journal of a run that lasts, or that a crash ended
.SH ENVIRONMENT
.TP
.B NO_COLOR
if set and not empty,
.BR zimg-map (1)
does not colour; nor with TERM=dumb, nor if standard output is not a terminal
.TP
.B SOURCE_DATE_EPOCH
the time, in seconds since 1970, to write into images instead of now
.SH SIGNALS
.TP
.BR SIGINT ", " SIGTERM
end a command and leave the image as it was before; a second one does not wait.
.BR zimg-run (1)
presses the guest\(aqs power button
.TP
.B SIGUSR1
prints how far a command is that can show progress
`

// manHead is the first line of a page. Its date is that of SOURCE_DATE_EPOCH: of the source, not of the day when
// somebody installed it.
func (m *writer) manHead(name string, section int) string {
	date := ""
	if !m.Date.IsZero() {
		date = m.Date.Format(time.DateOnly)
	}
	return fmt.Sprintf(`.TH %s %d "%s" "zimg %s" "zimg"`, strings.ToUpper(Roff(name)), section, date, Roff(m.Version))
}

func manFlags(w io.Writer, title string, flags *pflag.FlagSet) {
	if !flags.HasAvailableFlags() {
		return
	}
	fmt.Fprintf(w, ".SH %s\n", title)
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		head := "\\fB\\-\\-" + Roff(f.Name) + "\\fR"
		if f.Shorthand != "" {
			head = "\\fB\\-" + f.Shorthand + "\\fR, " + head
		}
		switch {
		case value != "" && f.NoOptDefVal != "":
			head += "[=\\fI" + Roff(value) + "\\fR]"
		case value != "":
			head += " \\fI" + Roff(value) + "\\fR"
		}
		fmt.Fprintf(w, ".TP\n%s\n%s\n", head, Roff(usage+defaultOf(f)))
	})
}

// defaultOf is the default of f, if its description does not have it.
func defaultOf(f *pflag.Flag) string {
	switch f.DefValue {
	case "", "0", "[]", "false", "-1":
		return ""
	}
	if strings.Contains(f.Usage, "default") || strings.Contains(f.Usage, "the default") {
		return ""
	}
	return " (default " + f.DefValue + ")"
}

// manText writes paragraphs; indented lines stand as they are.
func manText(w io.Writer, text string) {
	verbatim := false
	for _, line := range strings.Split(strings.Trim(text, "\n"), "\n") {
		indented := strings.HasPrefix(line, "  ")
		if indented != verbatim {
			fmt.Fprintln(w, map[bool]string{true: ".nf", false: ".fi"}[indented])
			verbatim = indented
		}
		if line == "" {
			fmt.Fprintln(w, ".PP")
			continue
		}
		fmt.Fprintln(w, Roff(line))
	}
	if verbatim {
		fmt.Fprintln(w, ".fi")
	}
}

// Roff escapes what roff would take for its own.
func Roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}
