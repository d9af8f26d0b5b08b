// Package zonemap draws the zones of a namespace: characters for a terminal (term.go), squares in an SVG (svg.go).
package zonemap

import (
	"fmt"

	"zimg/layout"
)

// cell is one place of a map: a zone, or several in a row where there are more
// zones than places.
type cell struct {
	first, count uint64
	written      layout.LBA // of all its zones together
	capacity     layout.LBA
	counts       layout.Counts
}

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
	if c.count == 1 {
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

// mapCells gathers the zones of n into at most limit cells of equal size.
func mapCells(n *layout.Namespace, zones layout.Zones, limit uint64) ([]cell, error) {
	per := (n.ZoneCount + limit - 1) / limit
	cells := make([]cell, 0, (n.ZoneCount+per-1)/per)
	var i uint64
	for z, err := range zones.All(0, n.ZoneCount) {
		if err != nil {
			return nil, err
		}
		if i%per == 0 {
			cells = append(cells, cell{first: i})
		}
		c := &cells[len(cells)-1]
		c.count++
		if z.Written >= z.Start {
			c.written += min(z.Written-z.Start, z.Cap)
		}
		c.capacity += z.Cap
		if s := z.State.Index(); s >= 0 {
			c.counts[s]++
		}
		i++
	}
	return cells, nil
}
