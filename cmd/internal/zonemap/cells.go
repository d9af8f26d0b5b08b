// Package zonemap draws the zones of a namespace: characters for a terminal (term.go), squares in an SVG (svg.go).
package zonemap

import (
	"fmt"

	"zimg/image"
	"zimg/layout"
)

// Namespace is a namespace to be drawn.
type Namespace struct {
	NS    *layout.Namespace
	Zones layout.Zones
	// Ranges are the zones to draw, in order; nil for all of them.
	Ranges []image.ZoneRange
	// Wanted, if not nil, says which states are drawn: the places of other zones stay empty.
	Wanted func(layout.ZoneState) bool
}

// cell is one place of a map: a zone, or several in a row where there are more
// zones than places.
type cell struct {
	first, count uint64
	written      layout.LBA // of all its zones together
	capacity     layout.LBA
	counts       layout.Counts // of the zones that are drawn
}

// blank reports whether none of the zones of c is drawn.
func (c *cell) blank() bool { return c.counts == layout.Counts{} }

// mapPriority orders states by what a reader looks for first: the state that
// gives a cell of several zones its colour.
var mapPriority = [...]layout.ZoneState{
	layout.Offline, layout.ReadOnly, layout.ExplicitlyOpened, layout.ImplicitlyOpened,
	layout.Closed, layout.NotWP, layout.Full, layout.Empty,
}

// state is the state that the cell is drawn as.
func (c *cell) state() layout.ZoneState {
	for _, s := range mapPriority {
		if c.counts[s.Index()] > 0 {
			return s
		}
	}
	return layout.Empty
}

// fill is how much of the cell's capacity is written, 0 to 1.
func (c *cell) fill() float64 {
	if c.capacity == 0 {
		return 0
	}
	return float64(c.written) / float64(c.capacity)
}

// title names the cell's zones and what is in them.
func (c *cell) title() string {
	if c.count == 1 && !c.blank() {
		return fmt.Sprintf("zone %d: %v, %d of %d blocks written", c.first, c.state(), c.written, c.capacity)
	}
	t := fmt.Sprintf("zones %d-%d:", c.first, c.first+c.count-1)
	for i, n := range c.counts {
		if n > 0 {
			t += fmt.Sprintf(" %d %v,", n, layout.ZoneStates[i])
		}
	}
	return t + fmt.Sprintf(" %.0f%% written", 100*c.fill())
}

// mapCells gathers the zones of m into cells: at most limit of them, and at most one more for each range.
func mapCells(m Namespace, limit uint64) ([]cell, error) {
	ranges := m.Ranges
	if ranges == nil {
		ranges = []image.ZoneRange{{First: 0, Last: m.NS.ZoneCount - 1}}
	}
	var total uint64
	for _, r := range ranges {
		total += r.Last - r.First + 1
	}
	per := (total + limit - 1) / limit
	cells := make([]cell, 0, total/per+uint64(len(ranges)))
	for _, r := range ranges {
		i := r.First
		for z, err := range m.Zones.All(r.First, r.Last-r.First+1) {
			if err != nil {
				return nil, err
			}
			if (i-r.First)%per == 0 {
				cells = append(cells, cell{first: i})
			}
			cells[len(cells)-1].add(z, m.Wanted)
			i++
		}
	}
	return cells, nil
}

// add adds a zone to c.
func (c *cell) add(z layout.Zone, wanted func(layout.ZoneState) bool) {
	c.count++
	if wanted != nil && !wanted(z.State) {
		return
	}
	if z.Written >= z.Start {
		c.written += min(z.Written-z.Start, z.Cap)
	}
	c.capacity += z.Cap
	if s := z.State.Index(); s >= 0 {
		c.counts[s]++
	}
}
