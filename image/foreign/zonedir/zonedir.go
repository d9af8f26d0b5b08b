// Package zonedir reads and writes directories with a file for each zone, whose length is the
// zone's write pointer: those of Linux's zloop driver (6.16 and later) and of rublk's zoned target.
//
//	zonedir.go  the directory   zloop.go  geometry that nobody stores   rublk.go  superblock.json
//
//	DIR/cnv-000000 conv-000000   conventional zone 0, zloop's and rublk's name
//	DIR/seq-000001               sequential zone 1: empty, or as long as it has been written
//
// Sources: Documentation/admin-guide/blockdev/zoned_loop.rst and drivers/block/zloop.c;
// ublk-org/rublk src/zoned.rs.
package zonedir

import (
	"fmt"
	"iter"
	"path/filepath"
	"strconv"
	"strings"

	"zimg/image/disk"
	"zimg/image/foreign"
	"zimg/image/zns"
	"zimg/layout"
)

// dir is a directory of zone files.
type dir struct {
	in   *foreign.Input
	path string
	cnv  string // prefix of conventional zones
	n    *layout.Namespace
	size []int64 // of each zone's file
	conv []bool
	// odd is what the original does about a conventional zone's file of another length.
	odd string
}

// name is the file of zone i.
func name(prefix string, i uint64) string { return fmt.Sprintf("%s%06d", prefix, i) }

// file is the path of zone i.
func (d *dir) file(i uint64) string {
	prefix := "seq-"
	if d.conv[i] {
		prefix = d.cnv
	}
	return filepath.Join(d.path, name(prefix, i))
}

// number is that of the zone whose file is called entry.
func (d *dir) number(entry string) (i uint64, conv, ok bool) {
	for _, prefix := range []string{"seq-", d.cnv} {
		if digits, found := strings.CutPrefix(entry, prefix); found {
			i, err := strconv.ParseUint(digits, 10, 62)
			return i, prefix == d.cnv, err == nil && name(prefix, i) == entry
		}
	}
	return 0, false, false
}

// list finds the zone files and their lengths. A gap is an error: the drivers refuse it too.
func (d *dir) list() error {
	entries, err := d.in.FS.List(d.path)
	if err != nil {
		return err
	}
	const conventional, sequential = 1, 2
	var kinds []uint8 // by number; as many as there are files, however high a number one claims
	for _, e := range entries {
		if _, _, ok := d.number(e); ok {
			kinds = append(kinds, 0)
		}
	}
	if len(kinds) == 0 {
		return layout.Errorf(foreign.ErrNotFormat, "%s has no file %s or %s", d.path, name("seq-", 0), name(d.cnv, 0))
	}
	for _, e := range entries {
		i, conv, ok := d.number(e)
		if !ok || i >= uint64(len(kinds)) {
			continue
		}
		if kinds[i] != 0 {
			return layout.Errorf(layout.ErrDamaged, "%s has two files for zone %d: %s and %s", d.path, i, name("seq-", i), name(d.cnv, i))
		}
		if kinds[i] = sequential; conv {
			kinds[i] = conventional
		}
	}
	d.size, d.conv = make([]int64, len(kinds)), make([]bool, len(kinds))
	for i, kind := range kinds {
		if kind == 0 {
			return layout.Errorf(layout.ErrDamaged, "%s: the file of zone %d is missing", d.path, i)
		}
		d.conv[i] = kind == conventional
		file := d.file(uint64(i))
		if err := disk.CheckBeside(d.in.FS, d.path, filepath.Base(file)); err != nil {
			return layout.Errorf(layout.ErrDamaged, "%s: zone %d: %w", d.path, i, err)
		}
		info, err := d.in.FS.Stat(file)
		if err != nil {
			return err
		}
		d.size[i] = info.Size()
	}
	return nil
}

// complete fills the namespace from zone size and capacity in bytes, and judges the
// lengths of the files.
func (d *dir) complete(dec *foreign.Decoded, zoneSize, zoneCap int64) error {
	n := d.n
	count := uint64(len(d.size))
	if zoneSize <= 0 || zoneCap <= 0 || zoneCap > zoneSize || uint64(zoneSize) > 1<<61/count {
		return layout.Errorf(layout.ErrGeometry, "%s: invalid geometry: %d zones of %d bytes, capacity %d bytes", d.path, count, zoneSize, zoneCap)
	}
	if zoneSize%n.BlockSize() != 0 || zoneCap%n.BlockSize() != 0 {
		return layout.Errorf(layout.ErrGeometry, "%s: zone size %d and zone capacity %d are not multiples of the block size %d", d.path, zoneSize, zoneCap, n.BlockSize())
	}
	n.ZoneCount = count
	n.ZoneSize, n.ZoneCap = layout.LBA(zoneSize>>n.BlockBits), layout.LBA(zoneCap>>n.BlockBits)
	n.Blocks = layout.LBA(count) * n.ZoneSize
	if err := n.Validate(); err != nil {
		return fmt.Errorf("%s: %w", d.path, err)
	}
	for i, size := range d.size {
		p := foreign.Problem{Verdict: foreign.Refused, File: d.file(uint64(i)), Zone: uint64(i), InZone: true, Got: fmt.Sprint(size)}
		switch {
		case i > 0 && d.conv[i] && !d.conv[i-1]:
			p.Text, p.Got = "conventional zone after a sequential one; the driver looks for its file under the other name and rejects the device", ""
		case d.conv[i] && size != zoneSize:
			p.Verdict, p.Text, p.Want = foreign.Odd, "length of a conventional zone's file"+d.odd, fmt.Sprint(zoneSize)
		case d.conv[i]:
			continue
		case size == zoneSize && size > zoneCap:
			p.Text = "file longer than the zone capacity, left by kernels up to 7.1 for a finished zone; the driver rejects the device"
			p.Want = fmt.Sprintf("%d: truncate -s %d %s", zoneCap, zoneCap, p.File)
		case size > zoneCap:
			return layout.Errorf(layout.ErrDamaged, "%s has %d bytes, but a zone has %d; the driver rejects the device", p.File, size, zoneCap)
		case size%n.BlockSize() != 0:
			down := size / n.BlockSize() * n.BlockSize()
			p.Text = fmt.Sprintf("not a multiple of the block size %d; the driver rejects the device", n.BlockSize())
			p.Want = fmt.Sprintf("%d: truncate -s %d %s", down, down, p.File)
			dec.Lost = append(dec.Lost, fmt.Sprintf("zone %d: %d bytes after the last whole block", i, size-down))
		default:
			continue
		}
		dec.Problems = append(dec.Problems, p)
	}
	dec.Contents = []*foreign.Content{{NS: n, Zones: d, Data: d.extents}}
	return nil
}

// Zone is zone i: Empty, Closed or Full by the length of its file.
func (d *dir) Zone(i uint64) (layout.Zone, error) {
	if i >= uint64(len(d.size)) {
		return layout.Zone{}, layout.Errorf(layout.ErrRange, "zone %d of %d", i, len(d.size))
	}
	if d.conv[i] {
		return foreign.ConventionalZone(d.n, i), nil
	}
	z := d.n.EmptyZone(i)
	written := min(layout.LBA(d.size[i]>>d.n.BlockBits), d.n.ZoneCap)
	return zns.WrittenTo(d.n, d.n.EmptyZone(i), z.Start+written), nil
}

// Extension returns nothing: there are none.
func (d *dir) Extension(uint64) ([]byte, error) { return nil, nil }

// All yields count zones from first on.
func (d *dir) All(first, count uint64) iter.Seq2[layout.Zone, error] {
	return func(yield func(layout.Zone, error) bool) {
		for i := first; i < first+count; i++ {
			z, err := d.Zone(i)
			if !yield(z, err) || err != nil {
				return
			}
		}
	}
}

// extents are the files of the zones, each open only while it is looked at.
func (d *dir) extents(from, to int64) iter.Seq2[foreign.Extent, error] {
	return func(yield func(foreign.Extent, error) bool) {
		zone := int64(d.n.ByteOff(d.n.ZoneSize))
		for at := from; at < to; {
			i := at / zone
			end := min(to, (i+1)*zone)
			if length := min(end-i*zone, d.size[i]) - (at - i*zone); length > 0 {
				more := true
				err := d.in.Brief(d.file(uint64(i)), func(file disk.File) error {
					size, err := file.Size()
					if err == nil && size < d.size[i] {
						err = foreign.Short(file, "the zone", d.size[i])
					}
					if err == nil {
						more = yield(foreign.Extent{Off: at, Len: length, File: file, FileOff: at - i*zone}, nil)
					}
					return err
				})
				if !more { // nor is there anybody to hear that the file did not close
					return
				}
				if err != nil {
					yield(foreign.Extent{}, err)
					return
				}
			}
			at = end
		}
	}
}

// encode writes the zone files; zone 0 comes last, for by it a driver knows that the
// directory is a device.
func encode(out *foreign.Output, cnv string) error {
	n := out.NS
	for k := uint64(1); k <= n.ZoneCount; k++ {
		i := k % n.ZoneCount
		z, err := out.Zones.Zone(i)
		if err != nil {
			return err
		}
		prefix := "seq-"
		if z.Type == layout.Conventional {
			prefix = cnv
		}
		file, err := out.Create(filepath.Join(out.Path, name(prefix, i)))
		if err != nil {
			return err
		}
		if err := file.Truncate(int64(n.ByteOff(z.Written - z.Start))); err != nil {
			return err
		}
		if z.Written > z.Start {
			if err := out.Copy(file, 0, int64(n.ByteOff(z.Start)), int64(n.ByteOff(z.Written)), out.Tick); err != nil {
				return err
			}
		}
		if err := out.Finish(file); err != nil {
			return err
		}
	}
	return nil
}
