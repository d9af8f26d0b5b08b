package live_test

import (
	"iter"

	"zimg/image/zns"
	"zimg/layout"
)

// zoneState is all that a zone is.
type zoneState struct {
	zone layout.Zone
	ext  string
	data string // of the written blocks, and their metadata
}

func (s zoneState) atRest(n *layout.Namespace) zoneState {
	s.zone = zns.AtRest(n, s.zone)
	if s.zone.Attrs&layout.ZDEV == 0 {
		s.ext = ""
	}
	size := int(s.zone.Written-s.zone.Start) * blockBytes(n)
	for len(s.data) < size { // committed with the area around it, but not written
		s.data += "\x00"
	}
	s.data = s.data[:size]
	return s
}

// blockBytes counts a block with its metadata, which data has after the block.
func blockBytes(n *layout.Namespace) int { return 1<<n.BlockBits + int(n.MS) }

// shadow is a zns.Store in memory.
type shadow struct {
	n     *layout.Namespace
	zones []zoneState
}

func (s *shadow) Zone(i uint64) (layout.Zone, error) { return s.zones[i].zone, nil }

func (s *shadow) SetZone(i uint64, z layout.Zone) error {
	s.zones[i].zone = z
	if z.Attrs&layout.ZDEV == 0 {
		s.zones[i].ext = ""
	}
	data := &s.zones[i].data
	size := int(z.Written-z.Start) * blockBytes(s.n)
	if size < len(*data) {
		*data = (*data)[:size]
	}
	*data += string(make([]byte, size-len(*data))) // a write puts its data there next
	return nil
}

func (s *shadow) SetExtension(i uint64, ext []byte) error {
	s.zones[i].ext = string(ext)
	return nil
}

func (s *shadow) All(first, count uint64) iter.Seq2[layout.Zone, error] {
	return func(yield func(layout.Zone, error) bool) {
		for i := range count {
			if !yield(s.zones[first+i].zone, nil) {
				return
			}
		}
	}
}

// put has the data of n blocks from lba written.
func (s *shadow) put(i uint64, lba layout.LBA, p []byte) {
	z := &s.zones[i]
	at := int(lba-z.zone.Start) * blockBytes(s.n)
	b := []byte(z.data)
	for len(b) < at+len(p) {
		b = append(b, 0)
	}
	copy(b[at:], p)
	z.data = string(b)
}
