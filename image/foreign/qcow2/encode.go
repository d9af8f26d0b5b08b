package qcow2

import (
	"encoding/binary"

	"zimg/image/disk"
	"zimg/image/foreign"
	"zimg/layout"
)

// A new container, with refcounts of 16 bits:
//
//	| header | refcount table | refcount blocks | L1 | L2 tables | data clusters | write pointers
//
// The clusters of the write pointers belong to no guest address. A QEMU that knows nothing of zones would count
// them as leaked, and qemu-img check -r leaks would free them; and so would versions of Li's QEMU up to v9 at the
// least. A later one counts them. Therefore they are mapped as guest clusters far after the end of the disk, 1 TiB
// into where saved states of the machine begin, and their refcount is 2, one for the mapping and one for the
// extension. So a QEMU that counts them finds the image sound, and one that does not finds a reference too many,
// which it can remove without harm.
const (
	clusterBits = 16
	clusterSize = 1 << clusterBits
	refsPer     = clusterSize / 2
	entriesPer  = clusterSize / 8

	anchorTables = 1 << 40 / (clusterSize * entriesPer)
)

// span is a range of guest clusters that is allocated, in a row in the file.
type span struct{ first, count, at int64 }

// container says where everything goes, in clusters.
type container struct {
	spans         []span
	tables        []int64 // the guest's L2 tables that are needed, by number
	refTable      int64   // clusters in the refcount table
	refBlocks     int64
	l1, l2, meta  int64 // first cluster of each
	l1Len, l1Size int64
	total         int64
}

func clustersFor(bytes int64) int64 { return (bytes + clusterSize - 1) / clusterSize }

// anchor is the guest cluster at which the write pointers are mapped.
func anchor(n *layout.Namespace) int64 {
	return ((clustersFor(int64(n.Size()))+entriesPer-1)/entriesPer + anchorTables) * entriesPer
}

// plan finds out which guest clusters hold data, and so where everything else is.
func plan(c *foreign.Content) (*container, error) {
	p := &container{}
	for r, err := range c.Runs() {
		if err != nil {
			return nil, err
		}
		for x, err := range c.Held(r.From, r.To) {
			if err != nil {
				return nil, err
			}
			p.add(x.From/clusterSize, clustersFor(x.To))
		}
	}
	at := anchor(c.NS)
	p.add(at, at+clustersFor(entryLen*int64(c.NS.ZoneCount)))
	p.l1Size = p.tables[len(p.tables)-1] + 1
	p.l1Len = clustersFor(8 * p.l1Size)
	// The refcounts count themselves.
	for {
		blocks := (p.place() + refsPer - 1) / refsPer
		table := clustersFor(8 * blocks)
		if blocks == p.refBlocks && table == p.refTable {
			return p, nil
		}
		p.refBlocks, p.refTable = blocks, table
	}
}

// add allocates guest clusters [first, end); ranges come in ascending order and may overlap by one.
func (p *container) add(first, end int64) {
	if k := len(p.spans) - 1; k >= 0 {
		last := &p.spans[k]
		first = max(first, last.first+last.count)
		if first >= end {
			return
		}
		if first == last.first+last.count {
			last.count += end - first
			p.touch(first, end)
			return
		}
	}
	p.spans = append(p.spans, span{first: first, count: end - first})
	p.touch(first, end)
}

// touch notes the L2 tables of guest clusters [first, end).
func (p *container) touch(first, end int64) {
	for t := first / entriesPer; t <= (end-1)/entriesPer; t++ {
		if len(p.tables) == 0 || p.tables[len(p.tables)-1] < t {
			p.tables = append(p.tables, t)
		}
	}
}

// place lays everything out and returns the number of clusters.
func (p *container) place() int64 {
	at := 1 + p.refTable + p.refBlocks
	next := func(n int64) int64 {
		at += n
		return at - n
	}
	p.l1 = next(p.l1Len)
	p.l2 = next(int64(len(p.tables)))
	for k := range p.spans {
		p.spans[k].at = next(p.spans[k].count)
	}
	p.meta = p.spans[len(p.spans)-1].at
	p.total = at
	return at
}

// encode writes a container as v9 of the series does.
func encode(out *foreign.Output) error {
	n := out.NS
	conv, err := foreign.Leading(out.Content)
	if err != nil {
		return err
	}
	p, err := plan(out.Content)
	if err != nil {
		return err
	}
	file, err := out.Create(out.Path)
	if err != nil {
		return err
	}
	if err := file.Truncate(p.total * clusterSize); err != nil {
		return err
	}
	if err := p.copyData(file, out); err != nil {
		return err
	}
	if err := p.writeTables(file); err != nil {
		return err
	}
	err = foreign.Write(file, p.meta*clusterSize, entryLen, out.Zones, n.ZoneCount, func(_ uint64, z layout.Zone, b []byte) error {
		e := uint64(n.ByteOff(z.Written))
		if z.Type == layout.Conventional {
			e = entryConv | uint64(n.ByteOff(z.Start))
		}
		binary.LittleEndian.PutUint64(b, e)
		return nil
	})
	if err != nil {
		return err
	}
	if n.ZoneSize&(n.ZoneSize-1) != 0 {
		out.Say("QEMU can only reset, finish and append to zones whose size is a power of two, not %d bytes", n.ByteOff(n.ZoneSize))
	}
	_, err = file.WriteAt(p.header(out, conv), 0)
	return err
}

// copyData copies what was written into the clusters that are for it.
func (p *container) copyData(file disk.File, out *foreign.Output) error {
	k := 0
	for r, err := range out.Runs() {
		if err != nil {
			return err
		}
		for k < len(p.spans) && (p.spans[k].first+p.spans[k].count)*clusterSize <= r.From {
			k++
		}
		for j := k; j < len(p.spans) && p.spans[j].first*clusterSize < r.To; j++ {
			s := p.spans[j]
			from, to := max(r.From, s.first*clusterSize), min(r.To, (s.first+s.count)*clusterSize)
			if err := out.Copy(file, s.at*clusterSize+from-s.first*clusterSize, from, to, out.Tick); err != nil {
				return err
			}
		}
	}
	return nil
}

// writeTables writes refcounts, L1 and L2.
func (p *container) writeTables(file disk.File) error {
	write := func(cluster int64, b []byte) error {
		_, err := file.WriteAt(b, cluster*clusterSize)
		return err
	}
	refTable := make([]byte, 8*p.refBlocks)
	for k := range p.refBlocks {
		at := 1 + p.refTable + k
		be.PutUint64(refTable[8*k:], uint64(at*clusterSize))
		block := make([]byte, clusterSize)
		for i := range min(refsPer, p.total-k*refsPer) {
			refs := uint16(1)
			if k*refsPer+i >= p.meta {
				refs = 2
			}
			be.PutUint16(block[2*i:], refs)
		}
		if err := write(at, block); err != nil {
			return err
		}
	}
	if err := write(1, refTable); err != nil {
		return err
	}
	l1 := make([]byte, 8*p.l1Size)
	k := 0
	for i, t := range p.tables {
		at := p.l2 + int64(i)
		be.PutUint64(l1[8*t:], copied|uint64(at*clusterSize))
		table := make([]byte, clusterSize)
		first, end := t*entriesPer, (t+1)*entriesPer
		for ; k < len(p.spans) && p.spans[k].first < end; k++ {
			s := p.spans[k]
			flags := uint64(copied)
			if s.at >= p.meta {
				flags = 0 // "copied" says that the refcount is 1
			}
			for c := max(first, s.first); c < min(end, s.first+s.count); c++ {
				be.PutUint64(table[8*(c-first):], flags|uint64((s.at+c-s.first)*clusterSize))
			}
			if s.first+s.count > end {
				break // it goes on in the next table
			}
		}
		if err := write(at, table); err != nil {
			return err
		}
	}
	return write(p.l1, l1)
}

// header is the header with its extensions: the zoned one, and the name of its feature bit.
func (p *container) header(out *foreign.Output, conv uint64) []byte {
	n := out.NS
	h := make([]byte, headerLenV3+8+56+8+48+8)
	be.PutUint32(h, Magic)
	be.PutUint32(h[offVersion:], 3)
	be.PutUint32(h[offClusterBits:], clusterBits)
	be.PutUint64(h[offSize:], uint64(n.Size()))
	be.PutUint32(h[offL1Size:], uint32(p.l1Size))
	be.PutUint64(h[offL1:], uint64(p.l1*clusterSize))
	be.PutUint64(h[offRefTable:], clusterSize)
	be.PutUint32(h[offRefClusters:], uint32(p.refTable))
	be.PutUint64(h[offIncompat:], BitZoned)
	be.PutUint32(h[offRefOrder:], 4)
	be.PutUint32(h[offHeaderLen:], headerLenV3)
	x := h[headerLenV3:]
	be.PutUint32(x, ExtZoned)
	be.PutUint32(x[4:], 56)
	z := x[8:]
	z[0] = 1
	be.PutUint64(z[4:], uint64(n.ByteOff(n.ZoneSize)))
	be.PutUint64(z[12:], uint64(n.ByteOff(n.ZoneCap)))
	be.PutUint32(z[20:], uint32(conv))
	be.PutUint32(z[24:], uint32(n.ZoneCount))
	active, open := min(n.MaxActive(), n.ZoneCount), min(n.MaxOpen(), n.ZoneCount-conv)
	if active == 0 && open != 0 { // QEMU refuses more open than active zones, 0 active ones too
		active = n.ZoneCount
		out.Say("max-active %d is written, all zones: QEMU takes no max-open without it", active)
	}
	be.PutUint32(z[28:], uint32(active))
	be.PutUint32(z[32:], uint32(open))
	// The largest that QEMU takes, up to its default.
	be.PutUint32(z[36:], uint32(min(64<<10, (n.ByteOff(n.ZoneCap)-513)&^511)))
	be.PutUint64(z[40:], entryLen*n.ZoneCount)
	be.PutUint64(z[48:], uint64(p.meta*clusterSize))
	x = z[56:]
	be.PutUint32(x, extFeatures)
	be.PutUint32(x[4:], 48)
	x[8], x[9] = 0, 5 // incompatible, bit 5
	copy(x[10:], "zoned format")
	return h
}
