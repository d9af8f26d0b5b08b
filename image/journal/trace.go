package journal

import "zimg/layout"

// A write counts as written when its command has completed: a guest knows of no other. Commands on queues of one number may
// share an identifier, on two drives or on two queues that share a completion queue; their writes count when all of them
// have completed.

// Events lists the events that QEMU is to log.
func Events() []string {
	return []string{
		string(Command), string(Completion), string(Request), string(ResetOf), string(Finish), string(SetExtension), string(Started),
	}
}

// Drive is a zoned namespace whose commands are followed.
type Drive struct {
	Namespace *layout.Namespace
	Backend   string // of QEMU's block layer, as in the trace: "0x55e9c16205b0"
	// Sharers is how many more drives of the run have a namespace of this id.
	Sharers int
	// Active says whether zone i was active, neither Empty nor Full, when the run began; nil: not known.
	Active func(i uint64) bool

	zones     map[uint64]*Zone
	finishAll int64 // where in the trace all active zones were finished last
}

// Begin forgets what happened so far: a run begins, or its zones were saved. active says whether zone i is active now.
func (d *Drive) Begin(active func(i uint64) bool) {
	d.Active, d.zones, d.finishAll = active, nil, 0
}

// Zone is what happened to a zone, as far as it still matters.
type Zone struct {
	Reset        bool       `json:"reset,omitempty"`    // it was reset; the rest happened since
	Finished     bool       `json:"finished,omitempty"` // it was finished
	Unclear      bool       `json:"unclear,omitempty"`  // it, or a zone of another drive, was finished
	ExtensionSet bool       `json:"extension,omitempty"`
	Written      layout.LBA `json:"written,omitempty"` // end of what was written and acknowledged, 0: none
	Sent         layout.LBA `json:"sent,omitempty"`    // end of what was written, acknowledged or not, 0: none

	ResetAt int64 `json:"reset-at,omitempty"` // where in the trace
	Since   int64 `json:"since,omitempty"`    // where in the trace it was first written since
}

// key is the identifier of a command and the number of its queue.
type key struct{ cid, queue uint64 }

// group is the commands of one key that have not all completed.
type group struct {
	at         int64 // in the trace, of the first
	open, done int
	writes     []sent
	finished   *Zone
}

// sent is a write that is under way.
type sent struct {
	zone    *Zone
	end     layout.LBA
	resetAt int64
}

// Fold makes what is known of zones out of the lines of a trace, one line at a time. Its memory is bounded by the zones that
// are used and the commands under way. Folding lines again that were folded before changes nothing, as long as all
// lines after them are folded again too.
type Fold struct {
	drives  []*Drive
	byBack  map[string]*Drive
	groups  map[key]*group
	resets  map[uint64]int // zones about to be zeroed, by their start
	current *group
	nsid    uint64
	writing bool // the current command writes
	shared  bool // something was decided that takes the drives of all images, since the journals were written last
}

// maxGroups bounds the commands under way: far more than the queues of a drive have room for.
const maxGroups = 1 << 18

// NewFold follows drives.
func NewFold(drives []*Drive) *Fold {
	f := &Fold{drives: drives, byBack: map[string]*Drive{}, groups: map[key]*group{}, resets: map[uint64]int{}}
	for _, d := range drives {
		if d.zones == nil {
			d.zones = map[uint64]*Zone{}
		}
		if d.Backend != "" {
			f.byBack[d.Backend] = d
		}
	}
	return f
}

// Mark is the place in the trace from which on it is needed: end, or where the oldest command under way began.
func (f *Fold) Mark(end int64) int64 {
	for _, g := range f.groups {
		end = min(end, g.at)
	}
	return end
}

// Line takes a line of the trace, without its end; at is its place. Lines of other events, or that are not understood, are
// passed over.
func (f *Fold) Line(line string, at int64) {
	e, ok := ParseEvent(line)
	if !ok {
		return
	}
	switch e.Kind {
	case Command:
		f.command(e, at)
	case Completion:
		f.completed(e)
	case Request:
		f.request(e, at)
	case ResetOf:
		if len(f.resets) < maxGroups {
			f.resets[e.SLBA]++
		}
	case Finish:
		f.finish(e, at)
	case SetExtension:
		for _, d := range f.named(e.Zone) {
			d.zone(e.Zone).ExtensionSet = true
		}
	case Started: // what was under way on that drive will not complete
		clear(f.groups)
		f.current = nil
	case FlushOf:
	}
}

func (f *Fold) command(e Event, at int64) {
	f.nsid, f.writing = e.NSID, e.Writes()
	if len(f.groups) > maxGroups {
		clear(f.groups)
	}
	k := key{e.CID, e.Queue}
	if f.groups[k] == nil {
		f.groups[k] = &group{at: at}
	}
	f.current = f.groups[k]
	f.current.open++
}

func (f *Fold) completed(e Event) {
	k := key{e.CID, e.Queue}
	g := f.groups[k]
	if g == nil || e.Queue == 0 { // of the admin queue
		return
	}
	if g.done++; g.done < g.open {
		return
	}
	delete(f.groups, k)
	if e.Status != 0 && g.open == 1 {
		if g.finished != nil {
			g.finished.Finished = false
		}
		return
	}
	for _, w := range g.writes {
		if w.zone.ResetAt == w.resetAt {
			w.zone.Written = max(w.zone.Written, w.end)
		}
	}
}

// request is a write to a block backend: data, zeroes, the zeroes of a reset, or the metadata of blocks.
func (f *Fold) request(e Event, at int64) {
	d := f.byBack[e.Backend]
	if d == nil {
		return
	}
	n := d.Namespace
	off, length := e.Offset, e.Bytes
	size := uint64(n.Blocks) << n.BlockBits
	if length == 0 || off >= size || length > size-off {
		return
	}
	slba := off >> n.BlockBits
	i := slba / uint64(n.ZoneSize)
	z := d.zone(i)
	const zeroes = 2 // BDRV_REQ_ZERO_WRITE
	if e.Flags&zeroes != 0 && slba%uint64(n.ZoneSize) == 0 && length == uint64(n.ByteOff(n.ZoneSize)) && f.resets[slba] > 0 {
		if f.resets[slba]--; f.resets[slba] == 0 {
			delete(f.resets, slba)
		}
		*z = Zone{Reset: true, ResetAt: at}
		return
	}
	end := layout.LBA((off + length + uint64(n.BlockSize()) - 1) >> n.BlockBits)
	z.Sent = max(z.Sent, end)
	if z.Since == 0 {
		z.Since = at
	}
	if f.writing && f.current != nil {
		f.current.writes = append(f.current.writes, sent{z, end, z.ResetAt})
	}
}

func (f *Fold) finish(e Event, at int64) {
	idx := e.Zone
	if e.All {
		if drives := f.named(0); len(drives) == 1 && drives[0].Sharers == 0 {
			drives[0].finishAll = at
		}
		return
	}
	drives := f.named(idx)
	if len(drives) == 1 && drives[0].Sharers == 0 {
		z := drives[0].zone(idx)
		if f.current != nil && !z.Finished {
			f.current.finished = z
		}
		z.Finished = true
		return
	}
	f.unclearFinish(idx, drives)
}

// unclearFinish is the finish of a zone on one of several drives that have a namespace of the same id. It is the zone that is
// active, if only one is: nobody finishes zones that are Full, and hardly anybody those that are Empty.
func (f *Fold) unclearFinish(idx uint64, drives []*Drive) {
	f.shared = true
	var active []*Zone
	for _, d := range drives {
		if z := d.zone(idx); !z.Finished && d.wasActive(idx, z) {
			active = append(active, z)
		}
	}
	if len(active) == 1 && len(drives) == drives[0].Sharers+1 {
		active[0].Finished = true
		return
	}
	for _, z := range active {
		z.Unclear = true
	}
}

// wasActive: z has been written, or was active when the run began.
func (d *Drive) wasActive(i uint64, z *Zone) bool {
	end := layout.LBA(i)*d.Namespace.ZoneSize + d.Namespace.ZoneCap
	if z.Sent > 0 {
		return z.Sent < end
	}
	return !z.Reset && (d.Active == nil || d.Active(i))
}

// named are the drives that the current command may be for and that have a zone idx.
func (f *Fold) named(idx uint64) []*Drive {
	var drives []*Drive
	for _, d := range f.drives {
		if uint64(d.Namespace.ID) == f.nsid && idx < d.Namespace.ZoneCount {
			drives = append(drives, d)
		}
	}
	return drives
}

func (d *Drive) zone(i uint64) *Zone {
	z := d.zones[i]
	if z == nil {
		z = &Zone{}
		d.zones[i] = z
	}
	return z
}
