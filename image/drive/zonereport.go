package drive

import "zimg/layout"

// Zone Receive Actions, and the fields of dword 13.
const (
	reportZones     = 0x00
	reportExtended  = 0x01
	reportPartial   = 1 << 16
	reportHeaderLen = 64
)

// reportStates are the states that ZRASF, the action specific field, asks for; zero is all.
var reportStates = [...]layout.ZoneState{
	1: layout.Empty, 2: layout.ImplicitlyOpened, 3: layout.ExplicitlyOpened, 4: layout.Closed,
	5: layout.Full, 6: layout.ReadOnly, 7: layout.Offline,
}

// reportTransfer is Transfer for Zone Management Receive.
func (c *Controller) reportTransfer(n *namespace, cmd *Command) (int, Status) {
	if st := n.inRange(cmd.SLBA(), 1); !st.OK() {
		return 0, st
	}
	length := (int64(cmd.DW(12)) + 1) * 4
	action, filter := cmd.DW(13)&0xFF, cmd.DW(13)>>8&0xFF
	switch {
	case length < reportHeaderLen || length > int64(c.d.MaxTransfer()),
		action != reportZones && action != reportExtended,
		action == reportExtended && n.ZDES == 0,
		filter >= uint32(len(reportStates)):
		return 0, InvalidField.fatal()
	}
	return int(length), Success
}

// zoneReport is Zone Management Receive (ZNS 1.1, section 3.4.2): the zones from that of
// the named block on, in one state or all. The host's buffer is filled directly.
func (r *request) zoneReport() Status {
	n := r.n
	action, filter := r.cmd.DW(13)&0xFF, r.cmd.DW(13)>>8&0xFF
	size := layout.DescriptorSize
	if action == reportExtended {
		size += n.ExtSize()
	}
	clear(r.data)
	room := r.data[reportHeaderLen:]
	first := uint64(r.lba / n.ZoneSize)
	partial := r.cmd.DW(13)&reportPartial != 0
	count := uint64(0)
	var failed error
	for i := first; i < n.ZoneCount && (len(room) >= size || !partial); i += zoneChunk {
		if filter == 0 && len(room) < size { // the rest is only counted, and all of it counts
			count = n.ZoneCount - first
			break
		}
		err := n.each(i, func(i uint64, z layout.Zone) bool {
			if filter != 0 && z.State != reportStates[filter] {
				return true
			}
			if len(room) < size {
				if partial {
					return false
				}
				count++
				return true
			}
			count++
			failed = n.describe(room[:size], i, z)
			room = room[size:]
			return failed == nil
		})
		if err == nil {
			err = failed
		}
		if err != nil {
			return statusOf(err, InternalError)
		}
	}
	le.PutUint64(r.data, count)
	return Success
}

// describe writes the descriptor of zone i, and its extension if b has room for it. A
// Read Only or Offline zone has no write pointer. The report still shows one, the end of
// what was written or the start of the zone, because Linux computes with it.
func (n *namespace) describe(b []byte, i uint64, z layout.Zone) error {
	switch z.State { //nolint:exhaustive // others have what is right
	case layout.ReadOnly:
		z.WP = z.Written
	case layout.Offline:
		z.WP = z.Start
	}
	z.Encode(b)
	if len(b) == layout.DescriptorSize || z.Attrs&layout.ZDEV == 0 {
		return nil
	}
	ext, err := n.st.Extension(i)
	copy(b[layout.DescriptorSize:], ext)
	return err
}
