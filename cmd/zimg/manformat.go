package main

import (
	"bufio"
	"io"
	"regexp"
	"strings"

	"zimg/docs"
)

// writeManFormat writes zimg-format(5) from docs/FORMAT.md: headings, paragraphs and lists flow;
// tables and drawings stand as they are.
func writeManFormat(out io.Writer) error {
	w := bufio.NewWriter(out)
	inline := newInline()
	put := func(lines ...string) {
		for _, l := range lines {
			_, _ = w.WriteString(l + "\n") // the error stays until Flush
		}
	}
	put(`.TH ZIMG\-FORMAT 5 "" "zimg `+roff(version)+`" "zimg"`, `.SH NAME`, `zimg\-format \- the format of zimg's images`)
	verbatim := false
	fence := false
	set := func(on bool) {
		if on != verbatim {
			put(map[bool]string{true: ".nf", false: ".fi"}[on])
			verbatim = on
		}
	}
	for _, line := range strings.Split(strings.TrimSpace(docs.Format), "\n") {
		heading := strings.TrimLeft(line, "#")
		switch {
		case strings.HasPrefix(line, "```"):
			fence = !fence
			set(fence)
		case fence || strings.HasPrefix(line, "    ") || strings.HasPrefix(line, "|"):
			set(true)
			put(roff(line))
		case strings.HasPrefix(line, "# "):
			set(false)
			put(".SH DESCRIPTION")
		case strings.HasPrefix(line, "## "):
			set(false)
			put(".SH " + roff(strings.ToUpper(strings.TrimSpace(heading))))
		case strings.HasPrefix(line, "###"):
			set(false)
			put(".SS " + inline(strings.TrimSpace(heading)))
		case line == "":
			set(false)
			put(".PP")
		case strings.HasPrefix(line, "- "):
			set(false)
			put(`.IP \(bu 2`, inline(line[2:]))
		default:
			put(inline(strings.TrimSpace(line)))
		}
	}
	set(false)
	put(".SH SEE ALSO", ".BR zimg (1),", ".BR zimg\\-check (1)")
	return w.Flush()
}

// newInline turns the markup within a line (code, strong, emphasis, links) into fonts. Made when it is
// needed: expressions take longer to compile than most commands run.
func newInline() func(string) string {
	code := regexp.MustCompile("`([^`]*)`")
	strong := regexp.MustCompile(`\*\*([^*]*)\*\*`)
	emphasis := regexp.MustCompile(`\*([^*\s]|[^*\s][^*]*[^*\s])\*`)
	link := regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	return func(s string) string {
		s = roff(link.ReplaceAllString(s, "$1"))
		s = code.ReplaceAllString(s, `\fB$1\fR`)
		s = strong.ReplaceAllString(s, `\fB$1\fR`)
		return emphasis.ReplaceAllString(s, `\fI$1\fR`)
	}
}
