package drive

import (
	"fmt"

	"zimg/image"
	"zimg/image/zns"
	"zimg/layout"
)

// A ZoneChange is what somebody other than a host does to a zone of a drive.
type ZoneChange uint8

// Changes of zones. Those that a host could make as well follow the same rules.
const (
	ChangeClose ZoneChange = iota
	ChangeFinish
	ChangeOpen
	ChangeReset
	ChangeReadOnly // as when a zone's media fails
	ChangeOffline
	ChangeWP // the write pointer to a given block; what was written above it reads as zeroes
)

// ChangeZone changes a zone from outside. Hosts that want to know get the event Zone
// Descriptor Changed, and find the zone in the Changed Zone List. wp is for ChangeWP alone;
// blocks up to it that were not written read as zeroes.
// An error wraps a *zns.StatusError where the state machine refused.
func (d *Drive) ChangeZone(id layout.NSID, zone uint64, change ZoneChange, wp layout.LBA) error {
	n, err := d.zoned(id, zone)
	if err != nil {
		return err
	}
	_, err = d.changeZone(n, zone, nil, change, func(layout.Zone) (layout.LBA, error) { return wp, nil })
	return err
}

// ChangeZoneIf is ChangeZone for a zone in a state for which wanted returns true; others stay as they are. It reports
// whether the zone was changed. wp is for ChangeWP alone.
func (d *Drive) ChangeZoneIf(id layout.NSID, zone uint64, wanted func(layout.ZoneState) bool, change ZoneChange, wp image.Pointer) (bool, error) {
	n, err := d.zoned(id, zone)
	if err != nil {
		return false, err
	}
	return d.changeZone(n, zone, wanted, change, func(z layout.Zone) (layout.LBA, error) { return wp.In(id, zone, z) })
}

// zoned is namespace id, which has the zone.
func (d *Drive) zoned(id layout.NSID, zone uint64) (*namespace, error) {
	n := d.namespace(id)
	if n == nil {
		return nil, layout.Errorf(layout.ErrRange, "there is no namespace %d", id)
	}
	return n, n.CheckZoneNumber(zone)
}

// pointerOf is the write pointer that a zone is to get.
type pointerOf func(layout.Zone) (layout.LBA, error)

func (d *Drive) changeZone(n *namespace, zone uint64, wanted func(layout.ZoneState) bool, change ZoneChange, wp pointerOf) (bool, error) {
	d.still.RLock()
	defer d.still.RUnlock()
	changed, err := n.changeLocked(zone, wanted, change, wp)
	if err != nil || !changed {
		return false, err
	}
	for _, c := range d.attached() {
		c.events.zoneChanged(n.ID, layout.LBA(zone)*n.ZoneSize)
	}
	return true, nil
}

// CheckBlocks returns an error if namespace id does not have the blocks; 0 of them stand for all from lba on.
func (d *Drive) CheckBlocks(id layout.NSID, lba, blocks layout.LBA) error {
	n := d.namespace(id)
	if n == nil {
		return layout.Errorf(layout.ErrRange, "there is no namespace %d", id)
	}
	if lba >= n.Blocks || blocks > n.Blocks-lba {
		return layout.Errorf(layout.ErrRange, "namespace %d has LBAs 0 to %d; there are no %d blocks at %d", id, n.Blocks-1, max(blocks, 1), lba)
	}
	return nil
}

// Still calls f while no command changes anything: those under way end first, others wait. What was answered before is
// in the image, and flushed.
func (d *Drive) Still(f func() error) error {
	d.still.Lock()
	defer d.still.Unlock()
	if err := d.st.Flush(); err != nil {
		return err
	}
	return f()
}

// changeLocked changes a zone under its lock, and reports whether it is another now.
func (n *namespace) changeLocked(zone uint64, wanted func(layout.ZoneState) bool, change ZoneChange, target pointerOf) (bool, error) {
	n.st.Lock(zone)
	defer n.st.Unlock(zone)
	before, err := n.zone(zone)
	if err != nil || wanted != nil && !wanted(before.State) {
		return false, err
	}
	wp, err := target(before)
	if change == ChangeWP && err != nil {
		return false, err
	}
	if change == ChangeWP && wp > before.Written && wp <= before.End() {
		if err := n.st.Zeroes(before.Written, wp-before.Written); err != nil {
			return false, err
		}
	}
	if err := n.change(zone, change, wp); err != nil {
		return false, err
	}
	after, err := n.zone(zone)
	return after != before, err
}

// zone is the zone as it is now.
func (n *namespace) zone(i uint64) (layout.Zone, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.st.Zone(i)
}

func (n *namespace) change(zone uint64, change ZoneChange, wp layout.LBA) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch change {
	case ChangeClose:
		return n.act(zone, zns.ActionClose)
	case ChangeFinish:
		return n.act(zone, zns.ActionFinish)
	case ChangeOpen:
		return n.act(zone, zns.ActionOpen)
	case ChangeReset:
		return n.act(zone, zns.ActionReset)
	case ChangeReadOnly:
		return n.m.SetReadOnly(zone)
	case ChangeOffline:
		return n.m.SetOffline(zone)
	case ChangeWP:
		return n.m.SetWP(zone, wp)
	}
	return &zns.StatusError{Status: zns.InvalidField, NSID: n.ID, Zone: zone, Detail: fmt.Sprintf("change %d", change)}
}

// NamespaceChanged notifies hosts that something about a namespace has changed that
// Identify shows.
func (d *Drive) NamespaceChanged(id layout.NSID) {
	for _, c := range d.attached() {
		c.events.namespaceChanged(id)
	}
}

// attached are the controllers that there are.
func (d *Drive) attached() []*Controller {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []*Controller
	for c := range d.controllers {
		list = append(list, c)
	}
	return list
}
