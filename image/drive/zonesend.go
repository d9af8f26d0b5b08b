package drive

import (
	"zimg/image/zns"
	"zimg/layout"
)

// Fields of dword 13 of Zone Management Send.
const (
	sendAll = 1 << 8 // Select All
	sendOpt = 1 << 9 // of Open: with a random write area (ZRWAA)
)

// sendTransfer is Transfer for Zone Management Send: only Set Zone Descriptor Extension
// has data.
func (n *namespace) sendTransfer(cmd *Command) (int, Status) {
	switch zns.Action(cmd.DW(13)) {
	case zns.ActionClose, zns.ActionFinish, zns.ActionOpen, zns.ActionReset, zns.ActionOffline:
		return 0, Success
	case zns.ActionSetZDE:
		if n.ZDES == 0 || cmd.DW(13)&sendAll != 0 {
			return 0, InvalidField.fatal()
		}
		return n.ExtSize(), Success
	case zns.ActionFlush:
		if cmd.DW(13)&sendAll != 0 {
			return 0, InvalidField.fatal()
		}
		return 0, Success
	}
	return 0, InvalidField.fatal()
}

// zoneSend is Zone Management Send (ZNS 1.1, section 3.4.3).
func (r *request) zoneSend() Status {
	n, action := r.n, zns.Action(r.cmd.DW(13))
	if r.cmd.DW(13)&sendAll != 0 {
		return n.all(action, r.cmd.DW(13)&sendOpt != 0)
	}
	if st := n.inRange(r.lba, 1); !st.OK() {
		return st
	}
	zone := uint64(r.lba / n.ZoneSize)
	if action != zns.ActionFlush && r.lba != layout.LBA(zone)*n.ZoneSize {
		return InvalidField.fatal()
	}
	if st := n.d.faults.check(n.ID, r.lba, 1, FaultZones); !st.OK() {
		return st
	}
	lock := n.lock(zone)
	defer lock.Unlock()
	n.forget(zone)
	if action == zns.ActionReset {
		return n.reset(zone)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	switch action { //nolint:exhaustive // Reset is above
	case zns.ActionClose:
		return statusOf(n.m.Close(zone), WriteFault)
	case zns.ActionFinish:
		return statusOf(n.m.Finish(zone), WriteFault)
	case zns.ActionOpen:
		if r.cmd.DW(13)&sendOpt != 0 {
			return statusOf(n.m.OpenZRWA(zone), WriteFault)
		}
		return statusOf(n.m.Open(zone), WriteFault)
	case zns.ActionOffline:
		return statusOf(n.m.Offline(zone), WriteFault)
	case zns.ActionSetZDE:
		return statusOf(n.m.SetExtension(zone, append([]byte(nil), r.data...)), WriteFault)
	case zns.ActionFlush:
		return statusOf(n.m.FlushZRWA(r.lba), WriteFault)
	}
	return InvalidField.fatal()
}

// reset makes a zone Empty and gives its space back. The zone is locked. If the data
// cannot be discarded the zone is Empty all the same, and reads as zeroes.
func (n *namespace) reset(zone uint64) Status {
	n.mu.Lock()
	c, err := n.m.PlanReset(zone)
	if err == nil {
		err = n.m.Make(c)
	}
	n.mu.Unlock()
	if err != nil {
		return statusOf(err, WriteFault)
	}
	if c.From == c.To {
		return Success
	}
	if r := n.d.o.Recorder; r != nil {
		if err := r.Discard(n.ID, c.To.Start, n.ZoneSize); err != nil {
			return statusOf(err, WriteFault)
		}
	}
	return statusOf(n.st.DiscardZone(zone, c.To.Start), WriteFault)
}

// all is an action with Select All. A reset takes the lock of each zone that it resets,
// the others need none: they touch no data.
func (n *namespace) all(action zns.Action, area bool) Status {
	if action == zns.ActionOpen && area {
		return InvalidField.fatal()
	}
	n.forgetAll()
	if action != zns.ActionReset {
		n.mu.Lock()
		defer n.mu.Unlock()
		return statusOf(n.m.All(action), WriteFault)
	}
	for first := uint64(0); first < n.ZoneCount; first += zoneChunk {
		var chosen [zoneChunk]uint64
		count := 0
		err := n.each(first, func(i uint64, z layout.Zone) bool {
			if zns.Selects(action, z.State) {
				chosen[count] = i
				count++
			}
			return true
		})
		if err != nil {
			return statusOf(err, WriteFault)
		}
		for _, i := range chosen[:count] {
			if st := n.resetSelected(i); !st.OK() {
				return st
			}
		}
	}
	return Success
}

// resetSelected resets a zone that was chosen a moment ago: if another command has made it
// Read Only or Offline meanwhile it is passed over.
func (n *namespace) resetSelected(zone uint64) Status {
	lock := n.lock(zone)
	defer lock.Unlock()
	if st := n.reset(zone); st.Code() != InvalidTransition {
		return st
	}
	return Success
}

// zoneChunk is how many zones are looked at under one lock.
const zoneChunk = 256

// each calls fn for up to zoneChunk zones from first on, until it returns false.
func (n *namespace) each(first uint64, fn func(i uint64, z layout.Zone) bool) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	i := first
	for z, err := range n.st.All(first, min(zoneChunk, n.ZoneCount-first)) {
		if err != nil {
			return err
		}
		if !fn(i, z) {
			return nil
		}
		i++
	}
	return nil
}
