package man

import (
	"bufio"
	"io"
	"regexp"
	"strings"

	"zimg/docs"
)

// document is a page that is made of one of the documents.
type document struct {
	name    string
	section int
	short   string
	text    string
}

var documents = []document{
	{"zimg-format", 5, "the format of zimg's images", docs.Format},
	{"zimg-formats", 7, "formats that zimg imports and exports", docs.Formats},
	{"zimg-json", 7, "JSON that zimg prints and reads", docs.JSON},
}

// writeDocument writes a document, which is Markdown: headings, paragraphs, lists and tables flow; drawings stand as they
// are.
func (m *writer) writeDocument(out io.Writer, d document) error {
	p := &manPage{w: bufio.NewWriter(out), inline: newInline(), numbered: regexp.MustCompile(`^([0-9]+\.) `)}
	p.put(`'\" t`, m.manHead(d.name, d.section), `.SH NAME`, Roff(d.name)+` \- `+Roff(d.short))
	fence := false
	for _, line := range strings.Split(strings.TrimSpace(d.text), "\n") {
		switch {
		case strings.HasPrefix(line, "```"):
			fence = !fence
			p.block(map[bool]manBlock{true: drawing, false: flowing}[fence])
		case fence || strings.HasPrefix(line, "    "):
			p.block(drawing)
			p.put(Roff(line))
		case strings.HasPrefix(line, "|"):
			p.block(table)
			p.rows = append(p.rows, strings.Split(strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(line), "|"), "|"), "|")) // a cell may be empty
		default:
			p.block(flowing)
			p.flow(line)
		}
	}
	p.block(flowing)
	p.put(".SH SEE ALSO", ".BR zimg (1),", ".BR zimg\\-check (1)")
	return p.w.Flush()
}

// manBlock is a kind of lines that belong together.
type manBlock int

const (
	flowing manBlock = iota
	drawing
	table
)

// manPage is a page on its way from Markdown to man(7). Write errors stay in w until Flush.
type manPage struct {
	w        *bufio.Writer
	inline   func(string) string
	numbered *regexp.Regexp
	in       manBlock
	rows     [][]string // of a table that is being read
	headed   bool       // the last line was a heading
	gap      bool       // a paragraph begins, unless a macro that makes one follows
}

func (p *manPage) put(lines ...string) {
	for _, l := range lines {
		heading := strings.HasPrefix(l, ".SH") || strings.HasPrefix(l, ".SS")
		if p.gap && !heading && !strings.HasPrefix(l, ".IP") {
			_, _ = p.w.WriteString(".PP\n")
		}
		p.gap, p.headed = false, heading
		_, _ = p.w.WriteString(l + "\n")
	}
}

// block ends the block that lines were of, and begins one of kind, if it is another.
func (p *manPage) block(kind manBlock) {
	if kind == p.in {
		return
	}
	switch p.in {
	case drawing:
		p.put(".fi")
	case table:
		p.putTable()
	case flowing:
	}
	if p.in = kind; kind == drawing {
		p.put(".nf")
	}
}

// flow writes a line that is neither of a drawing nor of a table.
func (p *manPage) flow(line string) {
	text := strings.TrimSpace(strings.TrimLeft(line, "#"))
	number := p.numbered.FindStringSubmatch(line)
	switch {
	case strings.HasPrefix(line, "# "):
		p.put(".SH DESCRIPTION")
	case strings.HasPrefix(line, "## "):
		p.put(".SH " + Roff(strings.ToUpper(text)))
	case strings.HasPrefix(line, "###"):
		p.put(".SS " + p.inline(text))
	case line == "":
		p.gap = !p.headed
	case strings.HasPrefix(line, "- "):
		p.put(`.IP \(bu 2`, p.inline(line[2:]))
	case number != nil:
		p.put(".IP "+number[1]+" 3", p.inline(line[len(number[0]):]))
	default:
		p.put(p.inline(text))
	}
}

// putTable writes the rows for tbl(1): the first is the head, the second Markdown's line below it; the last
// column wraps.
func (p *manPage) putTable() {
	columns := len(p.rows[0])
	layout := strings.Repeat("l ", columns-1) + "lx"
	bold := strings.Repeat("lb ", columns-1) + "lbx"
	p.put(".TS", "tab(|);", bold, layout+".")
	for i, row := range p.rows {
		if i == 1 {
			continue
		}
		for c := range row {
			row[c] = p.inline(strings.TrimSpace(row[c]))
		}
		last := len(row) - 1
		p.put(strings.Join(row[:last], "|") + "|T{\n" + row[last] + "\nT}")
	}
	p.put(".TE")
	p.rows = nil
}

// newInline turns the markup within a line (code, strong, emphasis, links) into fonts. Made when it is
// needed: expressions take longer to compile than most commands run.
func newInline() func(string) string {
	code := regexp.MustCompile("`([^`]*)`")
	strong := regexp.MustCompile(`\*\*([^*]*)\*\*`)
	emphasis := regexp.MustCompile(`\*([^*\s]|[^*\s][^*]*[^*\s])\*`)
	link := regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	return func(s string) string {
		s = Roff(link.ReplaceAllString(s, "$1"))
		s = code.ReplaceAllString(s, `\fB$1\fR`)
		s = strong.ReplaceAllString(s, `\fB$1\fR`)
		return emphasis.ReplaceAllString(s, `\fI$1\fR`)
	}
}
