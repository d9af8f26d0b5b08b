package fsck

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"zimg/image"
	"zimg/image/disk"
	"zimg/image/live"
	"zimg/image/zns"
	"zimg/layout"
)

// checkServed takes the zones of an image that was being served when its owner died: from the live file, where each is
// as the host has seen it, or after a power failure from the last flush. Nothing has to be inferred from the data.
func (s *state) checkServed() error {
	h := s.im.Header()
	if s.fresh || s.flags&layout.InUse == 0 || h.Session.Kind != layout.Served {
		return nil
	}
	condition, err := s.im.Condition()
	if err != nil || condition == image.InUse { // it is being served, and the zones are changing
		return err
	}
	s.served = true
	v, err := live.NewView(s.im, live.Options{BootID: s.o.bootID()})
	lost := errors.Is(err, live.ErrNoRecords)
	if lost {
		v, err = live.NewView(s.im, live.Options{BootID: s.o.bootID(), LoseUnflushed: true})
	}
	if err != nil {
		return err
	}
	defer func() { _ = v.Close() }()
	owner := fmt.Sprintf("pid %d, since %s", h.Session.PID, h.Session.Start.UTC().Format(time.RFC3339))
	f := Finding{Code: DriveDied, Detail: owner}
	switch {
	case lost:
		f = Finding{Code: LiveFileLost, File: v.FileName(), Detail: v.Reason}
	case v.Source == live.Commits:
		f = Finding{Code: DrivePower, Detail: v.Reason}
	}
	if err := s.damagedRecords(v); err != nil {
		return err
	}
	return s.found(f, func() error { return s.takeZones(v) })
}

// damagedRecords takes the zones whose records are damaged from the slots and the data. A repair that may not give
// anything up leaves the whole image to one that may, since the image would be clean after it.
func (s *state) damagedRecords(v *live.View) error {
	for r, err := range v.Repairs() {
		if err != nil {
			return err
		}
		if r.Damaged == nil {
			continue
		}
		s.blocked = s.blocked || s.o.Mode == Safe
		n := r.Namespace
		z := r.Now
		if layout.CheckZone(n.Namespace, r.Zone, z) != nil { // nor is the zone in the slots to be believed
			z = n.EmptyZone(r.Zone)
		}
		end, err := image.NonZeroEnd(n.File(), n.Namespace, z.Written, z.End())
		if err != nil {
			return err
		}
		switch {
		case end <= z.Written || z.State == layout.Offline || z.Type == layout.Conventional:
		case z.State.HasWP():
			z = zns.WrittenTo(n.Namespace, z, end)
		default:
			z.Written = end
		}
		f := Finding{
			Code: LiveRecordDamaged, Namespace: n.ID, Zone: r.Zone, InZone: true, File: v.FileName(), Off: v.RecordOff(n, r.Zone),
			Got: r.Damaged.Error(), Want: zoneText(z), Source: "data",
		}
		if err := s.found(f, func() error { return n.SetZone(r.Zone, z) }); err != nil {
			return err
		}
	}
	return nil
}

// takeZones brings the zones into the image, in memory.
func (s *state) takeZones(v *live.View) error {
	for r, err := range v.Repairs() {
		if err != nil {
			return err
		}
		if r.Damaged != nil {
			continue
		}
		if r.Ext != nil {
			if err := r.Namespace.SetExtension(r.Zone, r.Ext); err != nil {
				return err
			}
		}
		if err := r.Namespace.SetZone(r.Zone, r.Now); err != nil {
			return err
		}
		if r.Discard {
			s.discardBlocks(r.Namespace.Namespace, r.DiscardFrom, layout.LBA(r.Zone+1)*r.Namespace.ZoneSize)
		}
	}
	// Elsewhere, or if it is not a file, it stays and means nothing any more.
	name := v.FileName()
	if _, _, err := s.undoName(name); err == nil && disk.CheckBeside(s.o.fs(), filepath.Dir(name), filepath.Base(name)) == nil {
		s.remove = append(s.remove, name)
	}
	return nil
}

// discardBlocks plans to discard blocks and their metadata; ranges side by side become one.
func (s *state) discardBlocks(n *layout.Namespace, from, to layout.LBA) {
	ms := layout.Bytes(n.MS)
	for _, d := range []discard{
		{int(n.DataFile), int64(n.DataOff + n.ByteOff(from)), int64(n.ByteOff(to - from))},
		{int(n.DataFile), int64(n.DataOff + n.MetadataOff() + layout.Bytes(from)*ms), int64(layout.Bytes(to-from) * ms)},
	} {
		if d.len == 0 {
			continue
		}
		for back := 1; back <= 2 && back <= len(s.discard); back++ { // blocks and metadata take turns
			last := &s.discard[len(s.discard)-back]
			if last.file == d.file && last.off+last.len == d.off {
				last.len += d.len
				d.len = 0
				break
			}
		}
		if d.len > 0 {
			s.discard = append(s.discard, d)
		}
	}
}

// commitServed makes the zones of a served image count, before anything is discarded that older ones call written.
// The image stays in use, so that a crash changes nothing.
func (s *state) commitServed() error {
	if err := s.im.SyncData(); err != nil {
		return err
	}
	s.surgeon.AllowWrites()
	return s.im.BeginSession(s.im.Header().Session)
}
