package zonefile

import (
	"fmt"

	"zimg/image/foreign"
	"zimg/layout"
)

// links are the list pointers of a zone and the state it is in.
type links struct {
	next, prev uint32
	state      layout.ZoneState
}

// checkLists compares the lists' sizes, as QEMU does, and their links, as it does not. all is nil
// if the zones themselves are not sound.
func (r *region) checkLists(all []links, counts layout.Counts, found func(foreign.Problem) error) error {
	crossed := func(s layout.ZoneState) layout.ZoneState { return s }
	if r.old {
		crossed = func(s layout.ZoneState) layout.ZoneState {
			return map[layout.ZoneState]layout.ZoneState{layout.ExplicitlyOpened: layout.ImplicitlyOpened, layout.ImplicitlyOpened: layout.ExplicitlyOpened}[s]
		}
	}
	for _, l := range []struct {
		list
		state, counted layout.ZoneState
		off            int64
		code           int
	}{
		{r.hdr.exp, layout.ExplicitlyOpened, crossed(layout.ExplicitlyOpened), OffExpOpen, 16},
		{r.hdr.imp, layout.ImplicitlyOpened, crossed(layout.ImplicitlyOpened), OffImpOpen, 17},
		{r.hdr.cl, layout.Closed, layout.Closed, OffClosed, 18},
		{r.hdr.full, layout.Full, layout.Full, OffFull, 19},
	} {
		at := r.problem(foreign.Odd, r.base+l.off, "")
		if have := counts[l.counted.Index()]; have != uint64(l.size) {
			at.Verdict, at.Got, at.Want = foreign.Wiped, fmt.Sprint(l.size), fmt.Sprint(have)
			at.Text = fmt.Sprintf("size of the list of %v zones; condition %d fails and QEMU resets all zones", l.state, l.code)
			if l.counted != l.state {
				at.Text += fmt.Sprintf(": up to series v3 it compares it with the number of %v zones", l.counted)
			}
			if err := found(at); err != nil {
				return err
			}
		}
		if all == nil || counts[l.state.Index()] != uint64(l.size) {
			continue
		}
		if text := walk(all, l.list, l.state); text != "" {
			at.Text, at.Verdict, at.Got, at.Want = fmt.Sprintf("list of %v zones: %s", l.state, text), foreign.Odd, "", ""
			if err := found(at); err != nil {
				return err
			}
		}
	}
	return nil
}

// walk follows a list and says where it is broken.
func walk(all []links, l list, state layout.ZoneState) string {
	prev, at := uint32(Nil), l.head
	for n := uint32(0); n < l.size; n++ {
		switch {
		case uint64(at) >= uint64(len(all)):
			return fmt.Sprintf("entry %d is zone %d, which does not exist", n, at)
		case all[at].state != state:
			return fmt.Sprintf("entry %d is zone %d, which is %v", n, at, all[at].state)
		case all[at].prev != prev:
			return fmt.Sprintf("zone %d does not point back to the one before it", at)
		}
		prev, at = at, all[at].next
	}
	if at != Nil || l.tail != prev {
		return "does not end with its tail"
	}
	return ""
}
