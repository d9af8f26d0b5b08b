// Package rawdata reads and writes the plain block device behind a zoned namespace of QEMU:
// the data of all zones and, with the property ms, the per-block metadata behind it. There
// are no zones in it; they are taken from the data, as far as that tells.
//
// Layout (QEMU hw/nvme/ns.c, "hw/block/nvme: add metadata support", 2021), for a file of S bytes:
//
//	 0                        nlbas*lbs                 nlbas*(lbs+ms)   S
//	+------------------------+-------------------------+----------------+
//	| data of block 0, 1 ... | metadata of block 0 ... | unused         |
//	+------------------------+-------------------------+----------------+
//	 nlbas = S / (lbs + ms), rounded down; zones = nlbas / zone size, rounded down
package rawdata

import (
	"fmt"
	"iter"

	"zimg/image/disk"
	"zimg/image/foreign"
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
	if in.Geometry == nil {
		return nil, in.NeedGeometry()
	}
	file, err := in.Open(in.Path)
	if err != nil {
		return nil, err
	}
	size, err := file.Size()
	if err != nil {
		return nil, err
	}
	n := *in.Geometry
	n.ID = 1
	each := n.BlockSize() + int64(n.MS)
	blocks := size / each
	if have := uint64(blocks) / uint64(n.ZoneSize); n.ZoneCount == 0 || n.ZoneCount > have {
		if n.ZoneCount > have {
			return nil, foreign.Field(file, "plain data", "zones", 0, have, n.ZoneCount)
		}
		n.ZoneCount = have
	}
	if n.ZoneCount == 0 {
		return nil, foreign.Short(file, "plain data", int64(n.ZoneSize)*each)
	}
	n.Blocks = layout.LBA(n.ZoneCount) * n.ZoneSize
	d := &foreign.Decoded{Assumed: []string{"zones are written up to their last byte that is not zero; what is written to its end is Full, the rest Closed"}}
	c := &foreign.Content{NS: &n, Data: foreign.Linear(file, 0, blocks*n.BlockSize())}
	if n.MS > 0 {
		c.BlockMeta = foreign.Extent{File: file, FileOff: blocks * n.BlockSize(), Len: int64(n.Blocks) * int64(n.MS)}
	}
	c.Zones = &scanned{n: &n, file: file}
	d.Contents = []*foreign.Content{c}
	if left := size - int64(n.Blocks)*each; left > 0 {
		d.Facts = append(d.Facts, foreign.Fact{Key: "behind the zones", Value: fmt.Sprintf("%d bytes", left)})
	}
	return d, nil
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
	end, err := disk.LastData(s.file, from, to)
	if err == nil {
		end, err = disk.LastNonZero(s.file, from, end)
	}
	if err != nil || end == from {
		return z, err
	}
	written := z.Start + layout.LBA((end-from+s.n.BlockSize()-1)>>s.n.BlockBits)
	return foreign.AtRest(foreign.Sequential(s.n, i, layout.Closed, written)), nil
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
	if m := out.BlockMeta; m.File != nil {
		return file.CopyFrom(m.File, m.FileOff, int64(out.NS.MetadataOff()), m.Len, out.Tick)
	}
	return nil
}
