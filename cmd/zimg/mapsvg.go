package main

import (
	"bufio"
	"fmt"
	"io"

	"zimg/layout"
)

// The geometry of an SVG map, in pixels. More zones than svgCells share cells.
const (
	svgColumns = 64
	svgCells   = svgColumns * 128
	svgSize    = 12
	svgGap     = 2
	svgMargin  = 16
	svgLine    = 18
)

// svgColours are the colours by state; told apart by lightness as well as hue.
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

// mapped is a namespace to be drawn.
type mapped struct {
	ns    *layout.Namespace
	zones layout.Zones
}

// writeSVGMap draws the zones of all namespaces: a square a zone, filled from
// below as far as it is written, with a tooltip.
func writeSVGMap(out io.Writer, title string, namespaces []mapped) error {
	w := bufio.NewWriter(out)
	var cells [][]cell
	height := svgMargin + svgLine
	for _, m := range namespaces {
		c, err := mapCells(m.ns, m.zones, svgCells)
		if err != nil {
			return err
		}
		cells = append(cells, c)
		height += svgLine + svgRows(c)*(svgSize+svgGap) + svgLine
	}
	width := 2*svgMargin + svgColumns*(svgSize+svgGap)
	height += svgMargin + svgLine
	fmt.Fprintf(w, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" font-size=\"12\">\n", width, height, width, height)
	fmt.Fprintf(w, "<rect width=\"%d\" height=\"%d\" fill=\"#ffffff\"/>\n", width, height)
	y := svgMargin + 10
	fmt.Fprintf(w, "<text x=\"%d\" y=\"%d\" font-weight=\"bold\">%s</text>\n", svgMargin, y, escapeXML(title))
	for i, m := range namespaces {
		y += svgLine
		fmt.Fprintf(w, "<text x=\"%d\" y=\"%d\">namespace %d: %d zones</text>\n", svgMargin, y, m.ns.ID, m.ns.ZoneCount)
		y += 6
		for j := range cells[i] {
			svgCell(w, &cells[i][j], svgMargin+j%svgColumns*(svgSize+svgGap), y+j/svgColumns*(svgSize+svgGap))
		}
		y += svgRows(cells[i])*(svgSize+svgGap) + svgLine - 6
	}
	svgLegend(w, y)
	fmt.Fprintln(w, "</svg>")
	return w.Flush()
}

func svgRows(cells []cell) int { return (len(cells) + svgColumns - 1) / svgColumns }

func svgCell(w io.Writer, c *cell, x, y int) {
	colour := svgColours[c.state()]
	filled := int(c.fill()*svgSize + 0.5)
	if c.written > 0 && filled == 0 {
		filled = 1
	}
	fmt.Fprintf(w, "<g><title>%s</title><rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"%s\" fill-opacity=\"0.25\" stroke=\"%s\" stroke-width=\"0.5\"/>",
		escapeXML(c.title()), x, y, svgSize, svgSize, colour, colour)
	if filled > 0 {
		fmt.Fprintf(w, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"%s\"/>", x, y+svgSize-filled, svgSize, filled, colour)
	}
	fmt.Fprintln(w, "</g>")
}

func svgLegend(w io.Writer, y int) {
	x := svgMargin
	for _, s := range layout.ZoneStates {
		fmt.Fprintf(w, "<rect x=\"%d\" y=\"%d\" width=\"10\" height=\"10\" fill=\"%s\"/><text x=\"%d\" y=\"%d\" font-size=\"11\">%v</text>\n", x, y, svgColours[s], x+14, y+9, s)
		x += 26 + 6*len(s.String())
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
