package control

import (
	"errors"
	"fmt"
	"slices"

	"zimg/image"
	"zimg/image/drive"
	"zimg/image/zns"
	"zimg/layout"
)

// action is something that is done to a zone.
type action struct {
	change drive.ZoneChange
	all    zns.Action // whose Select All says to which zones it applies; 0 for none
}

var actions = map[string]action{
	"close":     {drive.ChangeClose, zns.ActionClose},
	"finish":    {drive.ChangeFinish, zns.ActionFinish},
	"open":      {drive.ChangeOpen, zns.ActionOpen},
	"reset":     {drive.ChangeReset, zns.ActionReset},
	"read-only": {drive.ChangeReadOnly, 0},
	"offline":   {drive.ChangeOffline, 0},
	"set-wp":    {drive.ChangeWP, 0},
}

// maxFaults bounds the table that each command goes through.
const maxFaults = 1000

// do does what q asks for.
func (s *Server) do(q *Request) *Reply {
	r := &Reply{}
	var err error
	switch {
	case q.Zones != nil:
		r.Changed, err = changeZones(s.o.Drive, q.Zones)
	case q.Fault != nil:
		r.ID, err = AddFault(s.o.Drive, q.Fault)
	case q.Faults:
		for id, f := range s.o.Drive.Faults().List() {
			r.Faults = append(r.Faults, listed(id, f))
		}
		slices.SortFunc(r.Faults, func(a, b ListedFault) int { return a.ID - b.ID })
	case q.Clear != nil && q.Clear.ID == 0:
		s.o.Drive.Faults().Clear()
	case q.Clear != nil:
		if !s.o.Drive.Faults().Remove(q.Clear.ID) {
			err = fmt.Errorf("there is no fault %d", q.Clear.ID)
		}
	case q.Snapshot != nil && s.o.Snapshot != nil:
		err = s.o.Drive.Still(func() error { return s.o.Snapshot(*q.Snapshot) })
	case q.PowerCut != nil && s.o.PowerCut != nil:
		err = s.o.PowerCut(*q.PowerCut)
	default:
		err = fmt.Errorf("a request for something that this process does not know: %w", errors.ErrUnsupported)
	}
	if err != nil {
		r.Error, r.Kind = err.Error(), kindOf(err)
		var hint *image.HintError
		if errors.As(err, &hint) {
			r.Hint = hint.Hint
		}
	}
	return r
}

// changeZones changes zones one after the other, until one is refused.
func changeZones(d *drive.Drive, q *Zones) (changed uint64, err error) {
	a, ok := actions[q.Action]
	switch {
	case !ok:
		return 0, fmt.Errorf("%s is not possible while the image is in use", q.Action)
	case q.All && a.all == 0:
		return 0, fmt.Errorf("%s cannot be applied to all zones at once", q.Action)
	}
	selected := func(layout.ZoneState) bool { return true }
	if q.All {
		selected = func(s layout.ZoneState) bool { return zns.Selects(a.all, s) }
	}
	for _, r := range q.Zones {
		if r.First > r.Last {
			return changed, layout.Errorf(layout.ErrRange, "invalid zones %d to %d", r.First, r.Last)
		}
		for i := r.First; ; i++ {
			one, err := d.ChangeZoneIf(q.NSID, i, selected, a.change, q.Pointer)
			if err != nil {
				return changed, err
			}
			if one {
				changed++
			}
			if i == r.Last {
				break
			}
		}
	}
	return changed, nil
}

// AddFault gives a drive a fault, and returns its number.
func AddFault(d *drive.Drive, f *Fault) (int, error) {
	fault, err := f.drive()
	if err != nil {
		return 0, err
	}
	if err := d.CheckBlocks(f.NSID, f.LBA, f.Blocks); err != nil {
		return 0, err
	}
	if len(d.Faults().List()) >= maxFaults {
		return 0, fmt.Errorf("the drive has %d faults already, and no more are possible", maxFaults)
	}
	return d.Faults().Add(fault), nil
}
