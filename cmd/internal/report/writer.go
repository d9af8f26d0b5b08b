// Package report prints zones one by one as they are read, in zimg's own forms (own.go) and in those of blkzone,
// nvme-cli and zbd (foreign.go), so that a million of them need no memory.
package report

import (
	"bufio"
	"slices"

	"zimg/layout"
)

// Formats by name. Each prints zones one by one as they are read, so that
// a million of them take no memory.
var Formats = map[string]func(w *bufio.Writer, from Source) Writer{
	"table":   func(w *bufio.Writer, _ Source) Writer { return &tableReport{w: w} },
	"json":    func(w *bufio.Writer, from Source) Writer { return &jsonReport{w: w, from: from} },
	"csv":     func(w *bufio.Writer, _ Source) Writer { return &csvReport{w: w} },
	"blkzone": func(w *bufio.Writer, _ Source) Writer { return &blkzoneReport{w: w} },
	"nvme":    func(w *bufio.Writer, _ Source) Writer { return &nvmeReport{w: w} },
	"zbd":     func(w *bufio.Writer, _ Source) Writer { return &zbdReport{w: w} },
	"zbd-csv": func(w *bufio.Writer, _ Source) Writer { return &zbdCSVReport{w: w} },
}

// Source is the image that a report is of.
type Source struct {
	Path  string
	State string // how it was left, as info shows it; "" for foreign formats
}

// Writer prints a report. Write errors stay in the bufio.Writer until its Flush.
type Writer interface {
	Begin()
	// Namespace begins the zones of n; total is how many will come.
	Namespace(n *Namespace, total uint64)
	Zone(n *Namespace, i uint64, z layout.Zone, ext []byte)
	EndNamespace()
	End()
}

// Namespace is a namespace to be reported, of whatever origin.
type Namespace struct {
	*layout.Namespace
	Zones layout.Zones
	Alone bool // the only one in its image
}

// Counts counts zones by state.
func (s *Namespace) Counts() (layout.Counts, error) {
	var c layout.Counts
	for z, err := range s.Zones.All(0, s.ZoneCount) {
		if err != nil {
			return c, err
		}
		if i := z.State.Index(); i >= 0 {
			c[i]++
		}
	}
	return c, nil
}

// StateKeys are the names of the states in JSON and on the command line, in the order of layout.ZoneStates.
var StateKeys = layout.ZoneStateKeys()

// stateGroups are names for several states.
var stateGroups = []struct {
	name   string
	states []layout.ZoneState
}{
	{"open", []layout.ZoneState{layout.ImplicitlyOpened, layout.ExplicitlyOpened}},
	{"active", []layout.ZoneState{layout.ImplicitlyOpened, layout.ExplicitlyOpened, layout.Closed}},
	{"nonempty", []layout.ZoneState{
		layout.ImplicitlyOpened, layout.ExplicitlyOpened, layout.Closed, layout.Full, layout.ReadOnly, layout.Offline, layout.NotWP,
	}},
}

// StateNames are all names that States knows.
func StateNames() []string {
	names := slices.Clone(StateKeys[:])
	for _, g := range stateGroups {
		names = append(names, g.name)
	}
	return names
}

// States is a set of zone states; nil is all of them.
type States map[layout.ZoneState]bool

// ParseStates is the set that the names stand for, all states if there are none. It returns the first name that is not
// one of StateNames as unknown.
func ParseStates(names []string) (set States, unknown string) {
	for _, name := range names {
		var states []layout.ZoneState
		if i := slices.Index(StateKeys[:], name); i >= 0 {
			states = []layout.ZoneState{layout.ZoneStates[i]}
		}
		for _, g := range stateGroups {
			if g.name == name {
				states = g.states
			}
		}
		if states == nil {
			return nil, name
		}
		if set == nil {
			set = States{}
		}
		for _, s := range states {
			set[s] = true
		}
	}
	return set, ""
}

// Has reports whether s is in the set.
func (set States) Has(s layout.ZoneState) bool { return set == nil || set[s] }
