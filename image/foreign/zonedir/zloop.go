package zonedir

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"path/filepath"
	"strconv"
	"strings"

	"zimg/image/disk"
	"zimg/image/foreign"
	"zimg/layout"
)

const mebi = 1 << 20

// Zloop is the directory of a zloop device. Nothing in it records the geometry.
var Zloop = &foreign.Format{
	Name: "zloop", Title: "directory of zone files of Linux's zloop driver",
	Shape: foreign.Directory, Original: "the zloop driver",
	Holds: foreign.Holds{
		States: []layout.ZoneState{layout.Empty, layout.Closed, layout.Full, layout.NotWP}, Conventional: true, Capacity: true, MinBits: 9, MaxBits: 12,
		Restrict: func(n *layout.Namespace) error {
			size, zoneCap := int64(n.ByteOff(n.ZoneSize)), int64(n.ByteOff(n.ZoneCap))
			switch {
			case size%mebi != 0 || bits.OnesCount64(uint64(size)) != 1 || size/mebi > 16384:
				return fmt.Errorf("the zone size is %d bytes; zloop supports powers of two from 1 MiB to 16 GiB", size)
			case zoneCap%mebi != 0:
				return fmt.Errorf("the zone capacity is %d bytes; zloop supports multiples of 1 MiB", zoneCap)
			case n.ZoneCount < 2:
				return fmt.Errorf("zloop needs more than one zone")
			}
			return nil
		},
	},
	Probe: func(h *foreign.Head) bool {
		return h.IsDir && (h.Exists(name("seq-", 0)) || h.Exists(name("cnv-", 0))) && !h.Exists(superblock) && !h.Exists(oldSuperblock)
	},
	Decode: decodeZloop,
	Encode: encodeZloop,
}

func decodeZloop(in *foreign.Input) (*foreign.Decoded, error) {
	d := &dir{in: in, path: in.Path, cnv: "cnv-", odd: "; zloop warns and uses it", n: &layout.Namespace{ID: 1, CSI: layout.ZNS, BlockBits: 12, MAR: layout.NoLimit, MOR: layout.NoLimit}}
	if err := d.list(); err != nil {
		return nil, err
	}
	dec := &foreign.Decoded{}
	if g := in.Geometry; g != nil {
		d.n.MAR, d.n.MOR = g.MAR, g.MOR
	}
	bits, blockSaid := in.SaidBlockBits()
	if blockSaid {
		d.n.BlockBits = bits
	}
	if g := in.Geometry; g != nil && !in.Unsaid.ZoneSize {
		if err := d.complete(dec, int64(g.ByteOff(g.ZoneSize)), int64(g.ByteOff(g.ZoneCap))); err != nil {
			return nil, err
		}
		return dec, d.compareFlushed(dec)
	}
	// The driver gets it at every start; here it has to be guessed.
	var longest, conv int64
	for i, size := range d.size {
		if longest = max(longest, size); d.conv[i] {
			conv = size
		}
		if size%4096 != 0 && !blockSaid {
			d.n.BlockBits = 9
		}
	}
	guess := int64(mebi)
	for guess < longest && guess < 1<<34 {
		guess *= 2
	}
	if conv > 0 {
		guess = conv
	}
	what := fmt.Sprintf("zones of %s MiB that can be written to their end, blocks of %d bytes: a guess from the files' lengths",
		foreign.Units(guess, mebi), d.n.BlockSize())
	dec.Guess = fmt.Errorf("%w: %s", foreign.ErrNoGeometry, what)
	dec.Assumed = append(dec.Assumed, what)
	return dec, d.complete(dec, guess, guess)
}

// flushedAttr is where zloop with the option discard_write_cache keeps the write pointer of an active zone as of the last
// flush: a sector of the device, 8 bytes in the order of the host.
const flushedAttr = "user.zloop.wp"

// compareFlushed reports zones that are longer than at the last flush: when such a device is removed, zloop cuts
// their files, and after a crash of the host it does not.
func (d *dir) compareFlushed(dec *foreign.Decoded) error {
	var longer, first uint64
	for i, size := range d.size {
		z, err := d.Zone(uint64(i))
		if err != nil {
			return err
		}
		if d.conv[i] || z.State != layout.Closed {
			continue // the attribute is only kept of active zones
		}
		b, err := disk.Attribute(d.in.FS, d.file(uint64(i)), flushedAttr)
		if err != nil {
			return err
		}
		if len(b) != 8 {
			continue
		}
		start := uint64(d.n.ByteOff(z.Start)) / 512
		sector := binary.LittleEndian.Uint64(b)
		if sector < start || sector-start >= uint64(size)/512 {
			continue // as flushed, or from before a reset
		}
		if longer == 0 {
			first = uint64(i)
		}
		longer++
		dec.Problems = append(dec.Problems, foreign.Problem{
			Verdict: foreign.Odd, File: d.file(uint64(i)), Zone: uint64(i), InZone: true,
			Text: "longer than at the last flush (" + flushedAttr + "); zloop with discard_write_cache cuts it when the device is removed",
			Got:  fmt.Sprint(size), Want: fmt.Sprint((sector - start) * 512),
		})
	}
	if longer > 0 {
		dec.Assumed = append(dec.Assumed, fmt.Sprintf("zones are written as far as their files are long, also those with data after the last flush "+
			"(%d, the first is zone %d)", longer, first))
	}
	return nil
}

func encodeZloop(out *foreign.Output) error {
	conv, err := foreign.Leading(out.Content)
	if err != nil {
		return err
	}
	if err := out.Mkdir(out.Path); err != nil {
		return err
	}
	if err := encode(out, "cnv-"); err != nil {
		return err
	}
	base, id := filepath.Split(filepath.Clean(out.Path))
	if base, err = filepath.Abs(base); err != nil {
		return err
	}
	if k, err := strconv.ParseUint(id, 10, 31); err != nil || strconv.FormatUint(k, 10) != id {
		out.Say("zloop identifies devices by number; rename the directory to a number, for example 0")
		id = "0"
	}
	if strings.ContainsAny(base, ",'\n") {
		out.Say("zloop does not accept a character in this path; move the directory")
	}
	options := fmt.Sprintf("id=%s,capacity_mb=%d,zone_size_mb=%d,zone_capacity_mb=%d,conv_zones=%d",
		id, out.NS.Size()/mebi, out.NS.ByteOff(out.NS.ZoneSize)/mebi, out.NS.ByteOff(out.NS.ZoneCap)/mebi, conv)
	if open := out.NS.MaxOpen(); open > 0 && open < out.NS.ZoneCount-conv { // more than there are zones is refused, and 0 means as many
		options += fmt.Sprintf(",max_open_zones=%d", open)
		out.Say("omit max_open_zones on Linux before 7.1")
	}
	out.Say("echo 'add %s,base_dir=%s' > /dev/zloop-control", options, base)
	return nil
}
