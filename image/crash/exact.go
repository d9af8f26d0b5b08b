package crash

import (
	"encoding/hex"
	"fmt"
	"strings"

	"zimg/image/writelog"
	"zimg/layout"
)

// A recording of zimg's own drive is exact: the log has marks for what happens to zones, which is all that cannot be
// read off the requests. The first mark says that it is such a log. A zone's lock is held from the data to the mark, so
// the log is in the order in which commands took effect. The texts of marks:
//
//	zimg-drive 1                              the log is exact; 1 is the version of this format
//	zimg-reset NSID ZONE                      the next entry, a discard of all of the zone, is its reset
//	zimg-finish NSID ZONE                     the zone was finished
//	zimg-zone NSID ZONE STATE TYPE ATTRIBUTES INFORMATION WP WRITTEN [EXTENSION]
//	                                          the zone is changed in another way, to this. Numbers are decimal, and those
//	                                          of a zone descriptor (ZNS 1.1, figure 37); the extension is in hexadecimal
//
// A discard in a zone that is not its reset is a write of zeroes. Write pointers follow from the writes, and opening
// and closing a zone leaves nothing that a power failure would not undo; so neither has a mark.
const (
	markDrive  = "zimg-drive 1"
	markReset  = "zimg-reset %d %d"
	markFinish = "zimg-finish %d %d"
	markZone   = "zimg-zone %d %d %d %d %d %d %d %d"

	// maxMark is longer than a mark with the longest extension.
	maxMark = 64<<10 + 256
)

// ZoneChange is what a ZoneSet makes of a zone.
type ZoneChange struct {
	Zone layout.Zone
	Ext  []byte // its extension if that changes, else nil
}

// exact reports whether the log begins with the mark of one that is exact.
func (r *Recording) exact() bool {
	for i, e := range r.Log.Entries {
		text, err := r.mark(i)
		return err == nil && e.Flags == writelog.Mark && text == markDrive
	}
	return false
}

// mark is the text of entry i, "" if it is not a mark that could be one of a drive.
func (r *Recording) mark(i int) (string, error) {
	e := r.Log.Entries[i]
	if e.Flags&writelog.Mark == 0 || e.MarkLen > maxMark || e.MarkLen == 0 {
		return "", nil
	}
	b := make([]byte, e.MarkLen)
	if _, err := r.file.ReadAt(b, e.DataOff); err != nil {
		return "", err
	}
	return string(b), nil
}

// buildExact turns a log that is exact into steps.
func (r *Recording) buildExact() error {
	h := &history{Recording: r, log: r.Log.Entries}
	resets := false // the entry before says that this one is a reset
	for i, e := range h.log {
		var err error
		switch {
		case e.Flags&writelog.Mark != 0:
			resets, err = h.marked(i)
		case e.Flags&writelog.Flush != 0:
			r.add(Step{Op: Flush, Entry: i})
		case e.Length > 0:
			err = h.exactEntry(i, resets)
			resets = false
		}
		if err != nil {
			return fmt.Errorf("entry %d at byte %d: %w", i, r.Log.Pos(i), err)
		}
		r.after = append(r.after, uint32(len(r.steps)))
	}
	return nil
}

// marked adds the step of a mark, if it has one, and reports whether the mark is for the next entry.
func (h *history) marked(i int) (resets bool, err error) {
	text, err := h.mark(i)
	if err != nil {
		return false, err
	}
	var id layout.NSID
	var zone uint64
	switch {
	case strings.HasPrefix(text, "zimg-reset "):
		return true, nil
	case strings.HasPrefix(text, "zimg-finish "):
		if _, err := fmt.Sscanf(text, markFinish, &id, &zone); err != nil {
			return false, layout.Errorf(layout.ErrDamaged, "mark %q", text)
		}
		ns, err := h.zoneOf(id, zone)
		if err == nil {
			h.add(Step{Op: ZoneFinish, NS: ns, Zone: zone})
		}
		return false, err
	case strings.HasPrefix(text, "zimg-zone "):
		s, err := h.parseZone(text)
		if err == nil {
			h.add(Step{Op: ZoneSet, NS: s.NS, Entry: i})
		}
		return false, err
	}
	return false, nil // somebody else's
}

// zoneOf is the index of namespace id, which has the zone.
func (r *Recording) zoneOf(id layout.NSID, zone uint64) (int, error) {
	for i, n := range r.ns {
		if n.ID == id {
			return i, n.CheckZoneNumber(zone)
		}
	}
	return 0, layout.Errorf(layout.ErrRange, "there is no namespace %d", id)
}

// zoneSet is the step of mark i, which was parsed before.
func (r *Recording) zoneSet(i int) Step {
	text, err := r.mark(i)
	if err == nil {
		if s, err := r.parseZone(text); err == nil {
			s.Entry = i
			return s
		}
	}
	return Step{Op: Flush, Entry: i} // the log has changed since it was opened
}

// parseZone decodes the mark of a zone that was set.
func (r *Recording) parseZone(text string) (Step, error) {
	damaged := layout.Errorf(layout.ErrDamaged, "mark %.100q", text)
	words := strings.Fields(text)
	s := Step{Op: ZoneSet}
	var id layout.NSID
	z := &s.Set.Zone
	_, err := fmt.Sscanf(text, markZone, &id, &s.Zone, &z.State, &z.Type, &z.Attrs, &z.AttrsInfo, &z.WP, &z.Written)
	if err != nil || len(words) < 9 || len(words) > 10 {
		return s, damaged
	}
	if s.NS, err = r.zoneOf(id, s.Zone); err != nil {
		return s, err
	}
	n := r.ns[s.NS]
	was, err := n.Zone(s.Zone)
	if err != nil {
		return s, err
	}
	z.Start, z.Cap = was.Start, was.Cap
	if len(words) == 10 {
		if s.Set.Ext, err = hex.DecodeString(words[9]); err != nil || len(s.Set.Ext) > n.ExtSize() {
			return s, damaged
		}
	}
	if z.Type != was.Type || layout.CheckZone(n.Namespace, s.Zone, *z) != nil || z.Attrs&layout.ZRWAV != 0 && n.ZRWAS == 0 {
		return s, damaged
	}
	return s, nil
}

// exactEntry adds the step of entry i, a write or a discard.
func (h *history) exactEntry(i int, resets bool) error {
	s, n, err := h.find(i)
	if err != nil {
		return err
	}
	if !n.Zoned() {
		h.add(s)
		return nil
	}
	z, err := n.Zone(s.Zone)
	if err != nil {
		return err
	}
	switch {
	case resets && s.Op == Discard && s.Off == int64(n.ByteOff(z.Start)) && s.Length == zoneLen(n):
		s.Op = ZoneReset
	case resets:
		return layout.Errorf(layout.ErrRange, "%d bytes at %d are not all of zone %d of namespace %d, which is reset", s.Length, s.Off, s.Zone, n.ID)
	case s.Off+s.Length > int64(n.ByteOff(z.End())):
		return layout.Errorf(layout.ErrRange, "%d bytes at %d go beyond the capacity of zone %d of namespace %d", s.Length, s.Off, s.Zone, n.ID)
	case s.Op == Discard:
		s.Op = Zeroes
	}
	h.add(s)
	return nil
}
