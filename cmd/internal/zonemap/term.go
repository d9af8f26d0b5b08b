package zonemap

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"zimg/layout"
)

// mapRows is how many lines a terminal map takes at the most; with more zones
// than fit, a character stands for several.
const mapRows = 32

// mapGlyphs are eighths of a block: how far a zone is written.
var mapGlyphs = []rune("▁▂▃▄▅▆▇█")

// The characters of zones that have nothing to do with how far they are written.
const (
	mapShort   = '▓' // Full, finished short of its capacity
	mapNothing = '_' // opened or closed, nothing written
)

// mapColours are SGR codes; the glyph alone tells the states apart as well.
var mapColours = map[layout.ZoneState]string{
	layout.Empty:            "90",
	layout.ImplicitlyOpened: "32",
	layout.ExplicitlyOpened: "92",
	layout.Closed:           "33",
	layout.Full:             "34",
	layout.ReadOnly:         "35",
	layout.Offline:          "31",
	layout.NotWP:            "36",
}

// glyph is the character that c is drawn as.
func (c *cell) glyph() rune {
	switch c.state() { //nolint:exhaustive // the rest is told by the fill
	case layout.Offline:
		return 'X'
	case layout.ReadOnly:
		return 'R'
	case layout.NotWP:
		return 'C'
	}
	switch fill := c.fill(); {
	case c.counts[layout.Full.Index()] == c.count && fill < 1:
		return mapShort
	case fill <= 0 && c.counts[layout.Empty.Index()] == c.count:
		return '·'
	case fill <= 0:
		return mapNothing
	default:
		return mapGlyphs[min(len(mapGlyphs)-1, int(fill*float64(len(mapGlyphs))))]
	}
}

// Terminal draws the zones of n in lines of at most width columns.
func Terminal(out io.Writer, n *layout.Namespace, zones layout.Zones, width int, colour bool) error {
	label := len(fmt.Sprint(n.ZoneCount-1)) + 1
	columns := max(8, width-label)
	columns -= columns % 8
	cells, err := mapCells(n, zones, uint64(columns)*mapRows)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(out)
	var totals layout.Counts
	for start := 0; start < len(cells); start += columns {
		row := cells[start:min(start+columns, len(cells))]
		fmt.Fprintf(w, "%*d ", label-1, row[0].first)
		last := ""
		for i := range row {
			c := &row[i]
			for s, k := range c.counts {
				totals[s] += k
			}
			if code := mapColours[c.state()]; colour && code != last {
				fmt.Fprintf(w, "\x1b[%sm", code)
				last = code
			}
			fmt.Fprint(w, string(c.glyph()))
		}
		if colour {
			fmt.Fprint(w, "\x1b[0m")
		}
		fmt.Fprintln(w)
	}
	for _, line := range mapLegend(cells, totals, width, colour) {
		fmt.Fprintln(w, line)
	}
	return w.Flush()
}

// mapLegend says what the characters mean, wrapped to width.
func mapLegend(cells []cell, totals layout.Counts, width int, colour bool) []string {
	var items []string
	if len(cells) > 0 && cells[0].count > 1 {
		items = append(items, fmt.Sprintf("one character = %d zones", cells[0].count))
	}
	plain := map[layout.ZoneState]string{
		layout.Empty: "·", layout.ImplicitlyOpened: "▁-█", layout.ExplicitlyOpened: "▁-█", layout.Closed: "▁-█",
		layout.Full: "█", layout.ReadOnly: "R", layout.Offline: "X", layout.NotWP: "C",
	}
	var lines []string
	line, used := "", 0
	add := func(text, sgr string) {
		length := len([]rune(text))
		if used > 0 && used+2+length > width {
			lines, line, used = append(lines, line), "", 0
		}
		if used > 0 {
			line, used = line+"  ", used+2
		}
		if sgr != "" {
			text = "\x1b[" + sgr + "m" + text + "\x1b[0m"
		}
		line, used = line+text, used+length
	}
	for _, text := range items {
		add(text, "")
	}
	drawn := map[rune]bool{}
	for i := range cells {
		drawn[cells[i].glyph()] = true
	}
	if drawn[mapShort] && !drawn[mapGlyphs[len(mapGlyphs)-1]] {
		plain[layout.Full] = string(mapShort)
	}
	for i, s := range layout.ZoneStates {
		if totals[i] == 0 {
			continue
		}
		sgr := ""
		if colour {
			sgr = mapColours[s]
		}
		add(fmt.Sprintf("%s %d %s", plain[s], totals[i], strings.ToLower(s.String())), sgr)
	}
	if drawn[mapShort] {
		add(string(mapShort)+" finished before its end", "")
	}
	if drawn[mapNothing] {
		add(string(mapNothing)+" active, nothing written", "")
	}
	return append(lines, line)
}
