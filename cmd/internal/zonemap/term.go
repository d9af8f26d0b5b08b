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

// How far a zone is written, by state: blocks that grow from below, or, of an open zone, from the left. What is not
// written to its end never looks as if it were.
var (
	mapGlyphs     = []rune("▁▂▃▄▅▆▇")
	mapOpenGlyphs = []rune("▏▎▍▌▋▊▉")
)

// The characters of zones that are not drawn by how far they are written.
const (
	mapEmpty    = '·'
	mapFull     = '█'
	mapShort    = '▓' // Full, and not written to its end
	mapIdle     = '_' // Closed, nothing written
	mapIdleOpen = '|' // open, nothing written
	mapReadOnly = 'R'
	mapOffline  = 'X'
	mapNotWP    = 'C'
)

// mapColours are SGR codes; the glyph alone distinguishes the states, too.
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
	if c.blank() {
		return ' '
	}
	state, fill := c.state(), c.fill()
	open := state == layout.ImplicitlyOpened || state == layout.ExplicitlyOpened
	glyphs := mapGlyphs
	if open {
		glyphs = mapOpenGlyphs
	}
	switch {
	case state == layout.Offline:
		return mapOffline
	case state == layout.ReadOnly:
		return mapReadOnly
	case state == layout.NotWP:
		return mapNotWP
	case state == layout.Full && c.counts[layout.Full.Index()] == c.count && fill < 1:
		return mapShort
	case state == layout.Full && fill >= 1:
		return mapFull
	case state == layout.Empty:
		return mapEmpty
	case fill <= 0 && open:
		return mapIdleOpen
	case fill <= 0:
		return mapIdle
	}
	return glyphs[min(len(glyphs)-1, int(fill*float64(len(glyphs)+1)))]
}

// Terminal draws the zones of m in lines of at most width columns.
func Terminal(out io.Writer, m Namespace, width int, colour bool) error {
	label := len(fmt.Sprint(m.NS.ZoneCount-1)) + 1
	columns := max(8, width-label)
	columns -= columns % 8
	cells, err := mapCells(m, uint64(columns)*mapRows)
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

// zonesPerCell is how many zones a cell stands for.
func zonesPerCell(cells []cell) uint64 {
	var per uint64
	for i := range cells {
		per = max(per, cells[i].count)
	}
	return per
}

// legendItem explains a character, or several.
type legendItem struct {
	text  string
	state layout.ZoneState // whose colour it has
}

// legendItems are the explanations of the characters that are drawn.
func legendItems(cells []cell, totals layout.Counts) []legendItem {
	drawn := map[rune]uint64{} // how often
	for i := range cells {
		drawn[cells[i].glyph()]++
	}
	var items []legendItem
	per := zonesPerCell(cells)
	if per > 1 {
		items = append(items, legendItem{text: fmt.Sprintf("one character = %d zones", per)})
	}
	of := func(glyphs string, n uint64, state layout.ZoneState, more string) {
		items = append(items, legendItem{fmt.Sprintf("%s %d %s%s", glyphs, n, strings.ToLower(state.String()), more), state})
	}
	for i, s := range layout.ZoneStates {
		n := totals[i]
		switch {
		case n == 0:
		case s == layout.Full && drawn[mapShort] > 0 && per == 1:
			if short := drawn[mapShort]; short < n {
				of(string(mapFull), n-short, s, "")
			}
			of(string(mapShort), drawn[mapShort], s, ", not written to the end")
		case s == layout.Full && drawn[mapShort] > 0:
			of(string(mapFull)+string(mapShort), n, s, fmt.Sprintf(" (%c not written to the end)", mapShort))
		case s == layout.ImplicitlyOpened, s == layout.ExplicitlyOpened:
			of(string(mapOpenGlyphs[0])+"-"+string(mapOpenGlyphs[len(mapOpenGlyphs)-1]), n, s, "")
		case s == layout.Closed:
			of(string(mapGlyphs[0])+"-"+string(mapGlyphs[len(mapGlyphs)-1]), n, s, "")
		default:
			of(map[layout.ZoneState]string{
				layout.Empty: string(mapEmpty), layout.Full: string(mapFull), layout.ReadOnly: string(mapReadOnly),
				layout.Offline: string(mapOffline), layout.NotWP: string(mapNotWP),
			}[s], n, s, "")
		}
	}
	if drawn[mapIdle] > 0 {
		items = append(items, legendItem{string(mapIdle) + " closed, nothing written", layout.Closed})
	}
	if drawn[mapIdleOpen] > 0 {
		items = append(items, legendItem{string(mapIdleOpen) + " open, nothing written", layout.ExplicitlyOpened})
	}
	return items
}

// mapLegend says what the characters mean, wrapped to width.
func mapLegend(cells []cell, totals layout.Counts, width int, colour bool) []string {
	var lines []string
	line, used := "", 0
	for _, item := range legendItems(cells, totals) {
		text, length := item.text, len([]rune(item.text))
		if used > 0 && used+2+length > width {
			lines, line, used = append(lines, line), "", 0
		}
		if used > 0 {
			line, used = line+"  ", used+2
		}
		if sgr := mapColours[item.state]; colour && sgr != "" {
			text = "\x1b[" + sgr + "m" + text + "\x1b[0m"
		}
		line, used = line+text, used+length
	}
	return append(lines, line)
}
