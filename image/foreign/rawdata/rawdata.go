// Package rawdata reads and writes the plain block device that a zoned namespace of QEMU uses:
// the data of all zones and, with the property ms, the per-block metadata after it. There
// are no zones in it; they are inferred from the data, as far as possible.
//
// Layout (QEMU hw/nvme/ns.c, "hw/block/nvme: add metadata support", 2021), for a file of S bytes:
//
//	 0                        nlbas*lbs                 nlbas*(lbs+ms)   S
//	+------------------------+-------------------------+----------------+
//	| data of block 0, 1 ... | metadata of block 0 ... | unused         |
//	+------------------------+-------------------------+----------------+
//	 nlbas = S / (lbs + ms), rounded down; zones = nlbas / zone size, rounded down
//
// S is rounded up to 512. The metadata of blocks after the last zone exists, but is not used.
package rawdata

import (
	"errors"
	"fmt"
	"io"
	"iter"

	"zimg/image/disk"
	"zimg/image/foreign"
	"zimg/image/zns"
	"zimg/layout"
)

// Format is plain data.
var Format = &foreign.Format{
	Name: "raw", Title: "plain data, and LBA metadata at its end (QEMU's ms); zones from the data",
	Shape: foreign.OneFile, Original: "QEMU",
	Holds: foreign.Holds{
		NoZones: true,
		States:  []layout.ZoneState{layout.Empty, layout.Closed, layout.Full}, Capacity: true, BlockMeta: true, MinBits: 9, MaxBits: 16,
	},
	Decode: decode,
	Encode: encode,
}

func decode(in *foreign.Input) (*foreign.Decoded, error) {
	if in.Geometry == nil || in.Unsaid.ZoneSize {
		return nil, in.NeedGeometry()
	}
	if err := in.RefuseContainer(); err != nil {
		return nil, err
	}
	file, err := in.Open(in.Path)
	if err != nil {
		return nil, err
	}
	held, err := file.Size()
	if err != nil {
		return nil, err
	}
	size := foreign.DeviceLength(held)
	n := *in.Geometry
	n.ID = 1
	each := n.BlockSize() + int64(n.MS)
	blocks := size / each
	have := uint64(blocks) / uint64(n.ZoneSize)
	switch {
	case have == 0:
		return nil, foreign.Short(file, "the zones", int64(n.ZoneSize)*each)
	case n.ZoneCount > have:
		return nil, foreign.Field(file, "plain data", "zones", 0, have, n.ZoneCount)
	case n.ZoneCount == 0:
		n.ZoneCount = have
	}
	n.Blocks = layout.LBA(n.ZoneCount) * n.ZoneSize
	d := &foreign.Decoded{Assumed: []string{"zones are written up to their last byte that is not zero; what is written to its end is Full, the rest Closed"}}
	if in.Unsaid.BlockSize {
		d.Assumed = append(d.Assumed, fmt.Sprintf("blocks of %d bytes, since no block size was given", n.BlockSize()))
	}
	moff := blocks * n.BlockSize()
	c := &foreign.Content{NS: &n, Data: foreign.Linear(file, 0, min(moff, held))}
	if n.MS > 0 {
		c.BlockMeta = foreign.Extent{File: file, FileOff: moff, Len: max(0, min(int64(n.Blocks)*int64(n.MS), held-moff))}
	}
	c.Zones = &scanned{n: &n, file: file}
	d.Contents = []*foreign.Content{c}
	if left := size - int64(n.Blocks)*each; left > 0 {
		d.Facts = append(d.Facts, foreign.Fact{Key: "after the zones", Value: fmt.Sprintf("%d bytes", left)})
	}
	d.Lost, err = stray(file, &n, moff)
	return d, err
}

// stray says where there is data that no zone can have: after the last one, and above
// capacities. Then it is the geometry that is likely to be wrong.
func stray(file disk.File, n *layout.Namespace, moff int64) ([]string, error) {
	var lost []string
	end, err := foreign.LastByte(file, int64(n.Size()), moff)
	if err != nil {
		return nil, err
	}
	if end > int64(n.Size()) {
		lost = append(lost, fmt.Sprintf("data after the last zone, up to byte %d; is the zone size right?", end))
	}
	if n.ZoneCap == n.ZoneSize {
		return lost, nil
	}
	zone, room := int64(n.ByteOff(n.ZoneSize)), int64(n.ByteOff(n.ZoneCap))
	for at := int64(0); at < int64(n.Size()); {
		data, err := file.SeekData(at)
		if errors.Is(err, io.EOF) || err == nil && data >= int64(n.Size()) {
			break
		}
		if err != nil {
			return nil, err
		}
		i := data / zone
		at = (i + 1) * zone
		end, err := foreign.LastByte(file, i*zone+room, at)
		if err != nil {
			return nil, err
		}
		if end > i*zone+room {
			return append(lost, fmt.Sprintf("data above the capacity of zones, of zone %d first, up to byte %d; is the zone capacity right?", i, end)), nil
		}
	}
	return lost, nil
}

// scanned are zones as the data says.
type scanned struct {
	n    *layout.Namespace
	file disk.File
}

// Zone looks at the data of zone i.
func (s *scanned) Zone(i uint64) (layout.Zone, error) {
	z := s.n.EmptyZone(i)
	from, to := int64(s.n.ByteOff(z.Start)), int64(s.n.ByteOff(z.End()))
	end, err := foreign.LastByte(s.file, from, to)
	if err != nil || end == from {
		return z, err
	}
	written := z.Start + layout.LBA((end-from+s.n.BlockSize()-1)>>s.n.BlockBits)
	return zns.WrittenTo(s.n, s.n.EmptyZone(i), written), nil
}

// Extension returns nothing.
func (s *scanned) Extension(uint64) ([]byte, error) { return nil, nil }

// All yields zones as Zone finds them.
func (s *scanned) All(first, count uint64) iter.Seq2[layout.Zone, error] {
	return func(yield func(layout.Zone, error) bool) {
		for i := first; i < first+count; i++ {
			z, err := s.Zone(i)
			if !yield(z, err) || err != nil {
				return
			}
		}
	}
}

func encode(out *foreign.Output) error {
	file, err := out.Create(out.Path)
	if err != nil {
		return err
	}
	if err := file.Truncate(int64(out.NS.DataLength())); err != nil {
		return err
	}
	if err := out.CopyLinear(file, 0); err != nil {
		return err
	}
	return out.CopyMeta(file, int64(out.NS.MetadataOff()), out.Tick)
}
