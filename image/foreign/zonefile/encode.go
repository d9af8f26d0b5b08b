package zonefile

import (
	"encoding/binary"
	"fmt"

	"zimg/image/foreign"
	"zimg/layout"
)

// pageSize is what the file's length is rounded up to: QEMU's, on x86-64 and most arm64 hosts.
const pageSize = 4096

// notes are where the last series of the patches differs from what the file says.
func notes(n *layout.Namespace) (list []string) {
	if n.BlockSize() != 512 {
		list = append(list, fmt.Sprintf("QEMU with series v5 reads and writes zones in blocks of 512 bytes, whatever logical_block_size is: only that with "+
			"series v2 to v4 finds the data of blocks of %d bytes", n.BlockSize()))
	}
	if n.ZoneCap < n.ZoneSize {
		list = append(list, fmt.Sprintf("QEMU with series v5 shows its guest only %d of %d zones, since it multiplies their number by the capacity",
			n.ZoneCap*layout.LBA(n.ZoneCount)/n.ZoneSize, n.ZoneCount))
	}
	return list
}

// encode writes a zone file of v5, little-endian, and the raw data image.
func encode(out *foreign.Output) error {
	if err := out.DataFile(out.Path); err != nil {
		return err
	}
	file, err := out.Create(out.Second)
	if err != nil {
		return err
	}
	n := out.NS
	length := layout.RoundUp(layout.Bytes(HeaderLen+(RecordLen+int64(n.ExtSize()))*int64(n.ZoneCount)), pageSize)
	if err := file.Truncate(int64(length)); err != nil {
		return err
	}
	le := binary.LittleEndian
	lists := map[layout.ZoneState]*list{}
	for _, s := range []layout.ZoneState{layout.ExplicitlyOpened, layout.ImplicitlyOpened, layout.Closed, layout.Full} {
		lists[s] = &list{Nil, Nil, 0}
	}
	all, counts, err := link(out, lists)
	if err != nil {
		return err
	}
	err = foreign.Write(file, HeaderLen, RecordLen, out.Zones, n.ZoneCount, func(i uint64, z layout.Zone, b []byte) error {
		wp := z.WP
		switch z.State {
		case layout.Full:
			wp = z.End()
		case layout.ReadOnly, layout.Offline:
			wp = z.Start
		default: // it has one
		}
		b[0], b[1], b[2] = uint8(z.Type), uint8(z.State)<<4, uint8(z.Attrs)
		le.PutUint64(b[OffRecordZCap:], uint64(z.Cap))
		le.PutUint64(b[OffZSLBA:], uint64(z.Start))
		le.PutUint64(b[OffWP:], uint64(wp))
		le.PutUint64(b[OffWPtr:], uint64(wp)) // else a Closed zone refuses writes at its write pointer
		le.PutUint32(b[OffNext:], all[i].next)
		le.PutUint32(b[OffPrev:], all[i].prev)
		return nil
	})
	if err != nil {
		return err
	}
	if err := foreign.WriteExtensions(file, HeaderLen+RecordLen*int64(n.ZoneCount), n.ExtSize(), out.Zones, n.ZoneCount); err != nil {
		return err
	}
	h := make([]byte, HeaderLen)
	le.PutUint32(h, Magic)
	le.PutUint32(h[OffVersion:], 1)
	le.PutUint64(h[OffZoneSize:], uint64(n.ZoneSize))
	le.PutUint64(h[OffZoneCap:], uint64(n.ZoneCap))
	le.PutUint32(h[OffOffline:], uint32(counts[layout.Offline.Index()]))
	le.PutUint32(h[OffReadOnly:], uint32(counts[layout.ReadOnly.Index()]))
	le.PutUint32(h[OffBlockSize:], uint32(n.BlockSize()))
	h[OffExtSize] = uint8(n.ExtSize())
	for s, off := range map[layout.ZoneState]int{layout.ExplicitlyOpened: OffExpOpen, layout.ImplicitlyOpened: OffImpOpen, layout.Closed: OffClosed, layout.Full: OffFull} {
		le.PutUint32(h[off:], lists[s].head)
		le.PutUint32(h[off+4:], lists[s].tail)
		le.PutUint32(h[off+8:], lists[s].size)
	}
	if _, err := file.WriteAt(h, 0); err != nil {
		return err
	}
	out.Say("use exactly these properties, or QEMU resets all zones: zone_size=%s,zone_capacity=%s,"+
		"zone_descr_ext_size=%d,offline_zones=%d,rdonly_zones=%d (sizes in MiB), logical_block_size=%d,physical_block_size=%[6]d",
		mebibytes(n.ByteOff(n.ZoneSize)), mebibytes(n.ByteOff(n.ZoneCap)), n.ExtSize(), counts[layout.Offline.Index()], counts[layout.ReadOnly.Index()], n.BlockSize())
	return nil
}

// link puts each zone into the list of its state, in ascending order.
func link(out *foreign.Output, lists map[layout.ZoneState]*list) ([]links, layout.Counts, error) {
	var counts layout.Counts
	all := make([]links, out.NS.ZoneCount)
	var i uint32
	for z, err := range out.Zones.All(0, out.NS.ZoneCount) {
		if err != nil {
			return nil, counts, err
		}
		counts[z.State.Index()]++
		if l := lists[z.State]; l != nil {
			all[i] = links{next: Nil, prev: l.tail}
			if l.size == 0 {
				l.head = i
			} else {
				all[l.tail].next = i
			}
			l.tail = i
			l.size++
		}
		i++
	}
	return all, counts, nil
}

// mebibytes is a size as that QEMU's properties take it.
func mebibytes(b layout.Bytes) string { return foreign.Units(int64(b), 1<<20) }
