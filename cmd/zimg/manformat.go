package main

import (
	"bufio"
	"io"
	"regexp"
	"strings"

	"zimg/docs"
)

// markup is what a document marks up within a line: code, emphasis, links.
var (
	code = regexp.MustCompile("`([^`]*)`")
	bold = regexp.MustCompile(`\*\*([^*]*)\*\*`)
	emph = regexp.MustCompile(`\*([^*\s]|[^*\s][^*]*[^*\s])\*`)
	link = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
)

// writeManFormat writes zimg-format(5) from docs/FORMAT.md: headings, paragraphs and lists flow;
// tables and drawings stand as they are.
func writeManFormat(out io.Writer) error {
	w := bufio.NewWriter(out)
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
			put(".SS " + manInline(strings.TrimSpace(heading)))
		case line == "":
			set(false)
			put(".PP")
		case strings.HasPrefix(line, "- "):
			set(false)
			put(`.IP \(bu 2`, manInline(line[2:]))
		default:
			put(manInline(strings.TrimSpace(line)))
		}
	}
	set(false)
	put(".SH SEE ALSO", ".BR zimg (1),", ".BR zimg\\-check (1)")
	return w.Flush()
}

// manInline is a line of a document with its markup as fonts.
func manInline(s string) string {
	s = roff(link.ReplaceAllString(s, "$1"))
	s = code.ReplaceAllString(s, `\fB$1\fR`)
	s = bold.ReplaceAllString(s, `\fB$1\fR`)
	return emph.ReplaceAllString(s, `\fI$1\fR`)
}
