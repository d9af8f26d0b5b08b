package drive

import (
	"fmt"

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
	n.st.Lock(zone)
	defer n.st.Unlock(zone)
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case action == zns.ActionOpen && r.cmd.DW(13)&sendOpt != 0:
		return statusOf(n.m.OpenZRWA(zone), WriteFault)
	case action == zns.ActionSetZDE:
		return statusOf(n.m.SetExtension(zone, append([]byte(nil), r.data...)), WriteFault)
	case action == zns.ActionFlush:
		return statusOf(n.m.FlushZRWA(r.lba), WriteFault)
	}
	return statusOf(n.act(zone, action), WriteFault)
}

// act does to one zone what can be done to all as well. n.mu is held.
func (n *namespace) act(zone uint64, action zns.Action) error {
	switch action { //nolint:exhaustive // the others are not for all zones
	case zns.ActionClose:
		return n.m.Close(zone)
	case zns.ActionFinish:
		return n.m.Finish(zone)
	case zns.ActionOpen:
		return n.m.Open(zone)
	case zns.ActionReset:
		return n.m.Reset(zone)
	case zns.ActionOffline:
		return n.m.Offline(zone)
	}
	return fmt.Errorf("zone send action %#x: %w", uint8(action), zns.InvalidField)
}

// all is an action with Select All. Each zone is locked in its turn, so that no write to it
// is half-way; Open alone, which writes do not mind, is for all zones or none.
func (n *namespace) all(action zns.Action, area bool) Status {
	if action == zns.ActionOpen {
		if area {
			return InvalidField.fatal()
		}
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
		for _, i := range chosen[:count] {
			if err == nil {
				err = n.actSelected(i, action)
			}
		}
		if err != nil {
			return statusOf(err, WriteFault)
		}
	}
	return Success
}

// actSelected acts on a zone that was selected a moment ago, unless another command has
// changed its state since.
func (n *namespace) actSelected(zone uint64, action zns.Action) error {
	n.st.Lock(zone)
	defer n.st.Unlock(zone)
	n.mu.Lock()
	defer n.mu.Unlock()
	z, err := n.st.Zone(zone)
	if err != nil || !zns.Selects(action, z.State) {
		return err
	}
	return n.act(zone, action)
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
