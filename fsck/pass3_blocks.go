package fsck

import (
	"errors"
	"fmt"
	"io"

	"zimg/image"
	"zimg/image/zns"
	"zimg/layout"
)

// blockChunk is how many table blocks are read at a time.
const blockChunk = 1024

// checkBlocks compares every table block of both slots with the checksums. A
// damaged block of the live slot is restored from the other slot if that has the
// very bytes; what both have lost is rebuilt from the other tables.
func (s *state) checkBlocks() error {
	if s.fresh {
		return nil // none of them is on the disk yet
	}
	live := s.live
	var sums [2][]uint32 // nil for a slot that is not sound
	for i, slot := range s.slots {
		if slot == nil {
			continue
		}
		var err error
		if sums[i], err = slot.Sums(); err != nil {
			return err
		}
	}
	var lost, damaged, older []uint64
	var flipped []image.Flip
	total := s.surgeon.TableBlocks()
	length := min(blockChunk, total) * layout.BlockLen
	bufs := [2][]byte{make([]byte, length), make([]byte, length)}
	for first := uint64(0); first < total; first += blockChunk {
		n := min(blockChunk, total-first)
		for i := range bufs {
			if err := s.readBlocks(bufs[i][:n*layout.BlockLen], i, first); err != nil {
				return err
			}
		}
		for k := range n {
			num := first + k
			mine := bufs[live][k*layout.BlockLen:][:layout.BlockLen]
			other := bufs[1-live][k*layout.BlockLen:][:layout.BlockLen]
			want := sums[live][num]
			if layout.Checksum(mine) == want {
				if err := s.checkReserved(num, mine); err != nil {
					return err
				}
			} else if layout.Checksum(other) == want {
				damaged = append(damaged, num)
				// In memory whatever the mode, so that the later passes see it.
				s.surgeon.SetBlock(num, other)
			} else if bit, ok := image.CorrectBlock(mine, want); ok {
				flipped = append(flipped, image.Flip{Region: s.surgeon.RegionOf(num), Off: s.surgeon.TableOff(live, num) + bit/8, Bit: uint8(bit % 8)})
				s.surgeon.SetBlock(num, mine)
			} else {
				lost = append(lost, num)
			}
			if sums[1-live] != nil && layout.Checksum(other) != sums[1-live][num] {
				older = append(older, num)
			}
		}
		if s.o.Progress != nil {
			if err := s.o.Progress(int64(first), int64(total)); err != nil {
				return err
			}
		}
	}
	// A commit would give what is lost a checksum: so a repair that may not give
	// anything up repairs nothing else either.
	s.blocked = s.blocked || len(lost) > 0 && s.o.Mode == Safe
	for _, num := range damaged {
		f := s.inMeta(BlockDamaged, s.surgeon.TableOff(live, num), fmt.Sprintf("slot %d, %s", live, s.surgeon.RegionOf(num)))
		if err := s.found(f, func() error { return nil }); err != nil {
			return err
		}
	}
	for _, f := range flipped {
		if err := s.flipped(f, live); err != nil {
			return err
		}
	}
	if len(older) > 0 {
		f := s.inMeta(OlderDamaged, s.surgeon.TableOff(1-live, older[0]), fmt.Sprintf("slot %d, %d blocks, the first in %s", 1-live, len(older), s.surgeon.RegionOf(older[0])))
		if err := s.found(f, func() error { return nil }); err != nil {
			return err
		}
	}
	return s.rebuild(lost)
}

// readBlocks reads table blocks of slot i; after the end of the file all is zero.
func (s *state) readBlocks(b []byte, i int, first uint64) error {
	clear(b)
	_, err := s.files.Meta.ReadAt(b, s.surgeon.TableOff(i, first))
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// checkReserved looks for reserved bits in descriptors, which decoding passes over.
func (s *state) checkReserved(num uint64, b []byte) error {
	for _, sp := range s.spaces {
		first, last := blocksOf(s.im, s.surgeon.Tables(sp.img).Desc, sp.ns.ZoneCount*layout.DescriptorSize)
		if num < first || num >= last {
			continue
		}
		zone := (num - first) * layout.DescriptorsPerBlock
		for k := 0; k < layout.DescriptorsPerBlock && zone < sp.ns.ZoneCount; k, zone = k+1, zone+1 {
			d := b[k*layout.DescriptorSize:]
			bad := layout.DescriptorReserved(d)
			if bad < 0 {
				continue
			}
			f := Finding{
				Code: ZoneAttributes, Namespace: sp.ns.ID, Zone: zone, InZone: true, File: s.files.MetaName(),
				Off: s.surgeon.TableOff(s.live, num) + int64(k*layout.DescriptorSize+bad), Got: fmt.Sprintf("%#02x", d[bad]), Want: "reserved bits 0",
			}
			if err := s.found(f, func() error {
				z, err := layout.DecodeZoneDescriptor(d)
				if err != nil {
					return err
				}
				z.AttrsInfo &= 0x0F // a type with reserved bits is for the pass over zones
				z.Encode(d)         // the repair of the next zone adds to this one
				s.surgeon.SetBlock(num, b)
				return nil
			}); err != nil {
				return err
			}
		}
	}
	return nil
}

// blocksOf are the numbers of the table blocks of a table, from TableOff on.
func blocksOf(im *image.Image, table layout.Bytes, length uint64) (first, end uint64) {
	first = uint64(table-im.Plan().TableOff) / layout.BlockLen
	return first, first + (length+layout.BlockLen-1)/layout.BlockLen
}

// rebuild makes blocks that both slots have lost: a block of descriptors from
// the write-pointer array, one of that from the descriptors, extensions as zeroes.
func (s *state) rebuild(lost []uint64) error {
	if len(lost) == 0 {
		return nil
	}
	zero := make([]byte, layout.BlockLen)
	for _, num := range lost {
		f := s.inMeta(BlockLost, s.surgeon.TableOff(s.live, num), s.surgeon.RegionOf(num))
		if err := s.found(f, func() error { return nil }); err != nil {
			return err
		}
		s.surgeon.SetBlock(num, zero)
	}
	for _, num := range lost {
		if err := s.rebuildBlock(num); err != nil {
			return err
		}
	}
	return nil
}

func (s *state) rebuildBlock(num uint64) error {
	b := make([]byte, layout.BlockLen)
	for _, sp := range s.spaces {
		t := s.surgeon.Tables(sp.img)
		if first, end := blocksOf(s.im, t.Desc, sp.ns.ZoneCount*layout.DescriptorSize); num >= first && num < end {
			zone := (num - first) * layout.DescriptorsPerBlock
			for k := 0; k < layout.DescriptorsPerBlock && zone < sp.ns.ZoneCount; k, zone = k+1, zone+1 {
				old, err := sp.zones.Zone(zone)
				if err != nil {
					return err
				}
				z := sp.ns.EmptyZone(zone)
				z = zns.WrittenTo(sp.ns, z, min(max(old.Written, z.Start), z.End()))
				z.Encode(b[k*layout.DescriptorSize:])
			}
			s.surgeon.SetBlock(num, b)
		}
		if first, end := blocksOf(s.im, t.WP, sp.ns.ZoneCount*layout.WPLen); num >= first && num < end {
			zone := (num - first) * layout.WPsPerBlock
			for k := 0; k < layout.WPsPerBlock && zone < sp.ns.ZoneCount; k, zone = k+1, zone+1 {
				written, err := s.writtenOf(sp, zone)
				if err != nil {
					return err
				}
				layout.EncodeWP(b, k, written)
			}
			s.surgeon.SetBlock(num, b)
		}
	}
	return nil
}

// writtenOf is how far a zone is written according to its descriptor, or, where that does
// not show it, to its data.
func (s *state) writtenOf(sp space, zone uint64) (layout.LBA, error) {
	z, err := sp.zones.Zone(zone)
	if err != nil {
		return 0, err
	}
	switch {
	case z.Type == layout.Conventional:
		return z.End(), nil
	case z.State.HasWP():
		return z.WP, nil
	case z.State == layout.Offline:
		return z.Start, nil
	}
	return newScanner(s.files).zoneEnd(sp.ns, zone)
}
