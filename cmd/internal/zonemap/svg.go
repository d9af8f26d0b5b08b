package zonemap

import (
	"bufio"
	"fmt"
	"io"

	"zimg/cmd/internal/cli"
	"zimg/layout"
)

// The geometry of an SVG map, in pixels. More zones than svgCells share squares.
const (
	svgWidth  = 64 * 14 // of the squares of a row
	svgCells  = 64 * 48
	svgLabel  = 52 // for the number of a row's first zone
	svgMargin = 16
	svgLine   = 18
)

// svgGrids are how many squares stand in a row: few zones get large ones.
var svgGrids = []struct{ upTo, columns int }{{64, 16}, {512, 32}, {svgCells, 64}}

// svgStyle suits the page that the picture is on.
const svgStyle = `<style>.page{fill:#fff}text{fill:#1f2328;font:12px sans-serif}.title{font-weight:bold}.row{font-size:10px;fill:#656d76;text-anchor:end}` +
	`@media(prefers-color-scheme:dark){.page{fill:#0d1117}text{fill:#e6edf3}.title{font-weight:bold}.row{fill:#8d96a0}}</style>`

// svgColours are the colours by state, which differ in lightness as well as in hue.
var svgColours = map[layout.ZoneState]string{
	layout.Empty:            "#d0d7de",
	layout.ImplicitlyOpened: "#2da44e",
	layout.ExplicitlyOpened: "#116329",
	layout.Closed:           "#d4a72c",
	layout.Full:             "#0969da",
	layout.ReadOnly:         "#8250df",
	layout.Offline:          "#cf222e",
	layout.NotWP:            "#57606a",
}

// svgGrid is where the squares of a namespace stand.
type svgGrid struct {
	cells         []cell
	columns, size int // size with the gap to the next one
}

func newSVGGrid(m Namespace) (*svgGrid, error) {
	cells, err := mapCells(m, svgCells)
	if err != nil {
		return nil, err
	}
	g := &svgGrid{cells: cells}
	for i := len(svgGrids) - 1; i >= 0; i-- {
		if len(cells) <= svgGrids[i].upTo {
			g.columns = svgGrids[i].columns
		}
	}
	g.size = svgWidth / g.columns
	return g, nil
}

func (g *svgGrid) height() int { return (len(g.cells) + g.columns - 1) / g.columns * g.size }

// SVG draws the zones of all namespaces: one square per zone, filled from
// below as far as it is written, with a tooltip.
func SVG(out io.Writer, title string, namespaces []Namespace) error {
	w := bufio.NewWriter(out)
	var grids []*svgGrid
	height := svgMargin + svgLine
	for _, m := range namespaces {
		g, err := newSVGGrid(m)
		if err != nil {
			return err
		}
		grids = append(grids, g)
		height += 2*svgLine + g.height()
	}
	width := 2*svgMargin + svgLabel + svgWidth
	height += svgMargin + svgLine
	fmt.Fprintf(w, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\">\n%s\n", width, height, width, height, svgStyle)
	fmt.Fprintf(w, "<rect class=\"page\" width=\"%d\" height=\"%d\"/>\n", width, height)
	y := svgMargin + 10
	fmt.Fprintf(w, "<text class=\"title\" x=\"%d\" y=\"%d\">%s</text>\n", svgMargin, y, escapeXML(title))
	var totals layout.Counts
	for i, g := range grids {
		y += svgLine
		text := fmt.Sprintf("namespace %d: %s", namespaces[i].NS.ID, cli.Count(int(namespaces[i].NS.ZoneCount), "zone", "zones"))
		if per := zonesPerCell(g.cells); per > 1 {
			text += fmt.Sprintf(", one square = %d zones", per)
		}
		fmt.Fprintf(w, "<text x=\"%d\" y=\"%d\">%s</text>\n", svgMargin, y, text)
		y += 8
		g.draw(w, y, &totals)
		y += g.height() + svgLine - 8
	}
	svgLegend(w, y, &totals)
	fmt.Fprintln(w, "</svg>")
	return w.Flush()
}

// draw writes the squares from y down, and adds up their zones.
func (g *svgGrid) draw(w io.Writer, y int, totals *layout.Counts) {
	for i := range g.cells {
		c := &g.cells[i]
		for s, n := range c.counts {
			totals[s] += n
		}
		top := y + i/g.columns*g.size
		if i%g.columns == 0 {
			fmt.Fprintf(w, "<text class=\"row\" x=\"%d\" y=\"%d\">%d</text>\n", svgMargin+svgLabel-6, top+g.size/2+3, c.first)
		}
		if c.blank() {
			continue
		}
		svgCell(w, c, svgMargin+svgLabel+i%g.columns*g.size, top, g.size-2)
	}
}

// svgCell draws c as a square of the given size. What cannot be written any more is crossed out, once
// (Read Only) or twice (Offline).
func svgCell(w io.Writer, c *cell, x, y, size int) {
	filled := int(c.fill()*float64(size) + 0.5)
	if c.written > 0 {
		filled = max(filled, 1)
	}
	fmt.Fprintf(w, "<g><title>%s</title>", escapeXML(c.title()))
	svgSquare(w, c.state(), x, y, size, filled)
	fmt.Fprintln(w, "</g>")
}

// svgSquare is the square of a zone in the given state, filled so far.
func svgSquare(w io.Writer, state layout.ZoneState, x, y, size, filled int) {
	colour := svgColours[state]
	fmt.Fprintf(w, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"%s\" fill-opacity=\"0.25\" stroke=\"%s\"/>", x, y, size, size, colour, colour)
	if filled > 0 {
		fmt.Fprintf(w, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"%s\"/>", x, y+size-filled, size, filled, colour)
	}
	if filled > size/2 {
		colour = "#fff" // to be seen on it
	}
	switch state { //nolint:exhaustive // the rest can be written
	case layout.Offline:
		fmt.Fprintf(w, "<path d=\"M%d %dl%d %dm0 -%dl-%d %d\" stroke=\"%s\" stroke-width=\"2\"/>", x, y, size, size, size, size, size, colour)
	case layout.ReadOnly:
		fmt.Fprintf(w, "<path d=\"M%d %dl%d -%d\" stroke=\"%s\" stroke-width=\"2\"/>", x, y+size, size, size, colour)
	}
}

// svgLegend explains the states that occur.
func svgLegend(w io.Writer, y int, totals *layout.Counts) {
	x := svgMargin + svgLabel
	for i, s := range layout.ZoneStates {
		if totals[i] == 0 {
			continue
		}
		text := fmt.Sprintf("%d %v", totals[i], s)
		filled := 0
		if s == layout.Full || s.HasWP() && s != layout.Empty {
			filled = 5
		}
		svgSquare(w, s, x, y, 10, filled)
		fmt.Fprintf(w, "<text x=\"%d\" y=\"%d\">%s</text>\n", x+15, y+9, text)
		x += 34 + 7*len(text)
	}
}

// escapeXML makes s safe as text of an element.
func escapeXML(s string) string {
	var b []byte
	for _, r := range s {
		switch r {
		case '<':
			b = append(b, "&lt;"...)
		case '>':
			b = append(b, "&gt;"...)
		case '&':
			b = append(b, "&amp;"...)
		case '"':
			b = append(b, "&quot;"...)
		default:
			if r < ' ' {
				r = ' '
			}
			b = append(b, string(r)...)
		}
	}
	return string(b)
}
