package fsck

import (
	"zimg/image"
	"zimg/layout"
)

// renew makes new metadata with the geometry that was given. All zones are Empty; the
// pass over the data finds out what they are.
func (s *state) renew(why string) error {
	plan, err := s.o.Geometry(s.files.Kind)
	if err != nil {
		return err
	}
	uuid := image.NewUUID()
	if s.loc != nil {
		uuid = s.loc.UUID
	}
	s.loc = plan.Locator(uuid)
	s.blocked = s.o.Mode == Safe
	f := s.inMeta(MetadataLost, int64(s.loc.MetaOff), why)
	if err := s.found(f, func() error { s.locator = true; return nil }); err != nil {
		return err
	}
	h := &layout.Header{UUID: uuid, Generation: 1, Flags: layout.InUse, Counts: make([]layout.Counts, len(plan.Entries))}
	for i, e := range plan.Entries {
		h.Counts[i][layout.Empty.Index()] = e.ZoneCount
	}
	plan.Header(h)
	s.slots = [2]*image.Slot{image.NewSlot(h, plan, make([]uint32, plan.ChecksumCount)), nil}
	s.assemble(0)
	s.fresh = true
	return s.emptyTables(plan)
}

// emptyTables puts the tables of plan into the image, all zones Empty.
func (s *state) emptyTables(plan *layout.Plan) error {
	tables := make([]byte, plan.ChecksumCount*layout.BlockLen)
	copy(tables, layout.EncodeTable(plan.Entries))
	for _, e := range plan.Entries {
		if !e.Zoned() {
			continue
		}
		desc, wps := tables[e.Tables.Desc-plan.TableOff:], tables[e.Tables.WP-plan.TableOff:]
		for i := range e.ZoneCount {
			z := e.EmptyZone(i)
			z.Encode(desc[i*layout.DescriptorSize:])
			layout.EncodeWP(wps[i*layout.WPLen:], 0, z.Written)
		}
	}
	for num := range plan.ChecksumCount {
		s.surgeon.SetBlock(num, tables[num*layout.BlockLen:][:layout.BlockLen])
	}
	return nil
}
