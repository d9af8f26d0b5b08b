package foreign

import (
	"fmt"
	"slices"

	"zimg/image/zns"
	"zimg/layout"
)

// Holds is what a format can hold. docs/FORMATS.md has the same as a table.
type Holds struct {
	// NoZones: the format holds data alone.
	NoZones bool
	// States that a zone can be in; those of open zones only if a file may have them at rest.
	States       []layout.ZoneState
	ClosedEmpty  bool // Closed zones with nothing written
	Conventional bool
	Capacity     bool // a zone capacity below the zone size
	Extensions   int  // largest zone descriptor extension, bytes; 0 for none
	Attributes   layout.ZoneAttrs
	FullWritten  bool // how far a finished zone was written
	ROWritten    bool // how far a Read Only zone was written
	BlockMeta    bool // per-block metadata
	Limits       bool // max-open and max-active
	MaxOpen      bool // max-open alone
	Geometry     bool // zone size and number of zones
	BlockSize    bool // the logical block size
	MinBits      uint8
	MaxBits      uint8 // log2 of the block sizes allowed
	// Notes are what users of the original program have to know of such a namespace; nil for nothing.
	Notes func(n *layout.Namespace) []string
	// Restrict refuses a namespace for a reason that nothing above says.
	Restrict func(n *layout.Namespace) error
	// Zone refuses a zone for a reason that nothing above says: it returns what is lost, and what
	// becomes of the zone.
	Zone func(n *layout.Namespace, z layout.Zone) (layout.Zone, string)
}

// Loss is something that a namespace has and a format cannot hold.
type Loss struct {
	What  string // "Offline zones (they become Empty)"
	Count uint64 // of zones; 0 if it is about the namespace
	First uint64
}

func (l Loss) String() string {
	switch l.Count {
	case 0:
		return l.What
	case 1:
		return fmt.Sprintf("%s: zone %d", l.What, l.First)
	}
	return fmt.Sprintf("%s: %d zones, the first is zone %d", l.What, l.Count, l.First)
}

// Fitted is a Content as a format will hold it.
type Fitted struct {
	*Content
	Losses []Loss   // refused without leave
	Notes  []string // what a user should know, but loses nothing by
}

// Lost is what f loses, for people.
func (f *Fitted) Lost() []string {
	var list []string
	for _, l := range f.Losses {
		list = append(list, l.String())
	}
	return list
}

// Fit makes c fit. Open zones become Closed, as by a power cycle, unless keepOpen asks
// for them and the format has them. An error is something that no leave makes possible.
func (h *Holds) Fit(c *Content, keepOpen bool) (*Fitted, error) {
	n := *c.NS
	f := &Fitted{}
	refuse := func(format string, args ...any) error {
		return layout.Errorf(layout.ErrGeometry, "namespace %d: %s", n.ID, fmt.Sprintf(format, args...))
	}
	if !n.Zoned() {
		return nil, refuse("it has no zones to export; format raw holds its data")
	}
	if n.BlockBits < h.MinBits || n.BlockBits > h.MaxBits {
		return nil, refuse("blocks of %d bytes are not supported by the format (%d to %d)", n.BlockSize(), 1<<h.MinBits, 1<<h.MaxBits)
	}
	lose := func(what string) { f.Losses = append(f.Losses, Loss{What: what}) }
	if n.MS > 0 && !h.BlockMeta {
		lose(fmt.Sprintf("%d bytes of metadata per block", n.MS))
		n.MS, n.PI, n.PIFormat, n.PIFirst, n.ExtLBA = 0, 0, 0, false, false
	}
	if h.NoZones {
		lose("zone states and write pointers (importing infers them from the data)")
	}
	if n.ZRWAS > 0 {
		f.Notes = append(f.Notes, "the zone random write area is not in the format; give it to the device")
		n.ZRWAS, n.ZRWAFG, n.NumZRWA = 0, 0, 0
	}
	if n.ZoneCap != n.ZoneSize && !h.Capacity {
		lose(fmt.Sprintf("zone capacity %d of %d blocks (zones can be written to their end)", n.ZoneCap, n.ZoneSize))
		n.ZoneCap = n.ZoneSize
	}
	if open, active := n.MaxOpen(), n.MaxActive(); !h.Limits {
		if !h.MaxOpen && open != 0 {
			f.Notes = append(f.Notes, fmt.Sprintf("max-open %d is not in the format; give it to the device", open))
		}
		switch {
		case active != 0 && h.MaxOpen:
			f.Notes = append(f.Notes, fmt.Sprintf("max-active %d is not in the format, which limits open zones alone", active))
		case active != 0:
			f.Notes = append(f.Notes, fmt.Sprintf("max-active %d is not in the format; give it to the device", active))
		}
	}
	if n.ExtSize() > h.Extensions { // the zones that have one are counted below
		f.Notes = append(f.Notes, fmt.Sprintf("descriptor extensions of %d bytes are not in the format", n.ExtSize()))
		n.ZDES = 0
	}
	if h.Restrict != nil {
		if err := h.Restrict(&n); err != nil {
			return nil, layout.Errorf(layout.ErrGeometry, "namespace %d: %w", n.ID, err)
		}
	}
	if h.Notes != nil {
		f.Notes = append(f.Notes, h.Notes(&n)...)
	}
	seen := map[string]int{}
	var i uint64
	for z, err := range c.Zones.All(0, n.ZoneCount) {
		if err != nil {
			return nil, err
		}
		if z.Cap != c.NS.ZoneCap && z.Type != layout.Conventional {
			return nil, refuse("zone %d has a capacity of %d blocks instead of %d, and the format holds only one", i, z.Cap, c.NS.ZoneCap)
		}
		_, lost := h.fitZone(&n, z, keepOpen)
		for _, what := range lost {
			k, ok := seen[what]
			if !ok {
				k = len(f.Losses)
				seen[what] = k
				f.Losses = append(f.Losses, Loss{What: what, First: i})
			}
			f.Losses[k].Count++
		}
		i++
	}
	f.Content = &Content{NS: &n, Data: c.Data, BlockMeta: c.BlockMeta, Zones: &Mapped{Zones: c.Zones, Map: func(_ uint64, z layout.Zone) layout.Zone {
		z, _ = h.fitZone(&n, z, keepOpen)
		return z
	}}}
	return f, nil
}

// fitZone is z as the format gives it back, and what is lost.
func (h *Holds) fitZone(n *layout.Namespace, z layout.Zone, keepOpen bool) (layout.Zone, []string) {
	var lost []string
	if z.Type == layout.Conventional && !h.Conventional {
		lost = append(lost, "conventional zones (they become Full)")
		z.Type, z.State, z.Written = layout.SeqWriteRequired, layout.Full, z.Start+n.ZoneCap
	}
	if z.Type != layout.Conventional {
		z.Cap = n.ZoneCap
	} else {
		z.Cap, z.Written = n.ZoneSize, z.Start+n.ZoneSize
	}
	if z.Attrs&layout.ZDEV != 0 && n.ZDES == 0 {
		lost = append(lost, "zone descriptor extensions")
	}
	z.Attrs &= h.Attributes
	if n.ZDES == 0 {
		z.Attrs &^= layout.ZDEV
	}
	z.AttrsInfo = 0
	if !slices.Contains(h.States, z.State) || z.State.Open() && !keepOpen {
		switch {
		case z.State.Open():
			z = zns.AtRest(n, z)
		case z.State == layout.ReadOnly:
			lost = append(lost, "Read Only zones (they can be written again)")
			z = restored(n, z)
		case z.State == layout.Offline:
			lost = append(lost, "Offline zones (they become Empty)")
			z.Written = z.Start
			z = restored(n, z)
		case z.State == layout.Closed: // a format that knows only the write pointer of open zones
			z = zns.AtRest(n, z)
		}
	}
	if z.State == layout.Closed && z.Written == z.Start && !h.ClosedEmpty {
		z.State, z.Attrs = layout.Empty, z.Attrs&^layout.ZDEV
	}
	switch {
	case z.State == layout.Full && !h.FullWritten, z.State == layout.ReadOnly && !h.ROWritten:
		z.Written = z.End()
	case z.State == layout.Offline:
		z.Written = z.Start
	}
	if h.Zone != nil {
		var what string
		if z, what = h.Zone(n, z); what != "" {
			lost = append(lost, what)
		}
	}
	return z, lost
}

// restored is z as an ordinary zone, written as far as it was.
func restored(n *layout.Namespace, z layout.Zone) layout.Zone {
	z.Attrs &^= layout.ZDEV
	return zns.WrittenTo(n, z, z.Written)
}
