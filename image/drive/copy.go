package drive

import (
	"zimg/image/pi"
	"zimg/layout"
)

// Fields of dword 12 of Copy.
const (
	copyReadPIShift  = 12
	copyFormatShift  = 8
	copyEnterAt      = 16 // offset of NLB in a source range
	copyLBAAt        = 8
	copyNarrowTagsAt = 24
	copyWideTagsAt   = 26
)

// copyLimit is the number of blocks that a Copy to n may have: QEMU's, or as many as fit a
// transfer.
func (n *namespace) copyLimit() layout.LBA {
	return layout.LBA(max(1, min(maxCopyLength, n.d.scratch.blocks(n))))
}

// copyTransfer is Transfer for Copy: the list of source ranges.
func (c *Controller) copyTransfer(n *namespace, cmd *Command) (Direction, int, int, Status) {
	ranges := int(cmd.DW(12)&0xFF) + 1
	if ranges > maxCopyRanges+1 {
		return None, 0, 0, CommandSizeLimit.fatal()
	}
	format := cmd.DW(12) >> copyFormatShift & 0xF
	switch {
	case format == 0 && !n.pi.Wide:
		return ToController, ranges * copyNarrow, 0, Success
	case format == 1 && n.pi.Wide:
		return ToController, ranges * copyWide, 0, Success
	}
	return None, 0, 0, InvalidField.fatal()
}

// A source is one range that a Copy reads.
type source struct {
	lba, nlb layout.LBA
	tags     pi.Tags
}

// copySource decodes a source range (NVM Command Set 1.0, figures 34 and 36).
func copySource(b []byte, wide bool) source {
	s := source{lba: layout.LBA(le.Uint64(b[copyLBAAt:])), nlb: layout.LBA(le.Uint16(b[copyEnterAt:])) + 1}
	if wide {
		for i := range 6 { // big-endian, 10 bytes; the last six are the tag
			s.tags.Ref = s.tags.Ref<<8 | uint64(b[copyWideTagsAt+4+i])
		}
		s.tags.App, s.tags.Mask = le.Uint16(b[36:]), le.Uint16(b[38:])
		return s
	}
	s.tags.Ref = uint64(le.Uint32(b[copyNarrowTagsAt:]))
	s.tags.App, s.tags.Mask = le.Uint16(b[28:]), le.Uint16(b[30:])
	return s
}

// copy is Copy: the sources are read one after another, and written as one write at the
// destination. The result is the number of ranges copied when it fails: none.
func (r *request) copy() Completion {
	n := r.n
	size := copyNarrow
	if n.pi.Wide {
		size = copyWide
	}
	var list [(maxCopyRanges + 1) * copyWide]byte // a copy, for the host may change its own meanwhile
	ranges := list[:copy(list[:], r.data)]
	var total layout.LBA
	for b := ranges; len(b) >= size; b = b[size:] {
		from := copySource(b, n.pi.Wide)
		if from.nlb > n.copyLimit() || total+from.nlb > n.copyLimit() {
			return Completion{Status: CommandSizeLimit.fatal()}
		}
		if st := n.inRange(from.lba, from.nlb); !st.OK() {
			return Completion{Status: st}
		}
		total += from.nlb
	}
	r.nlb = total
	if st := n.inRange(r.lba, total); !st.OK() {
		return Completion{Status: st}
	}
	s := n.d.scratch.get()
	defer n.d.scratch.put(s)
	data, meta := s.data[:total<<n.BlockBits], s.meta[:int(total)*int(n.MS)]
	if st := r.gather(ranges, size, data, meta); !st.OK() {
		return Completion{Status: st}
	}
	return Completion{Status: r.place(data, meta)}
}

// gather reads the sources of a Copy.
func (r *request) gather(ranges []byte, size int, data, meta []byte) Status {
	n := r.n
	check := pi.Check(r.cmd.DW(12)>>copyReadPIShift) & rwPIMask
	for b := ranges; len(b) >= size; b = b[size:] {
		from := copySource(b, n.pi.Wide)
		if n.pi.Enabled() && !n.pi.ValidRef(check, from.lba, from.tags.Ref) {
			return InvalidProtection.fatal()
		}
		if st := r.readable(from.lba, from.nlb); !st.OK() {
			return st
		}
		if st := n.d.faults.check(n.ID, from.lba, from.nlb, FaultReads); !st.OK() {
			return st
		}
		d, m := data[:from.nlb<<n.BlockBits], meta[:int(from.nlb)*int(n.MS)]
		if err := n.readBlocks(from.lba, d, m); err != nil {
			return statusOf(err, UnrecoveredRead)
		}
		if st := n.verifyPI(d, m, from.tags, check); !st.OK() {
			return st
		}
		data, meta = data[len(d):], meta[len(m):]
	}
	return Success
}

// place writes what a Copy has gathered to its destination.
func (r *request) place(data, meta []byte) Status {
	n := r.n
	check, tags, st := n.checkProtection(r.cmd)
	if !st.OK() {
		return st
	}
	if check&pi.Action != 0 {
		if err := n.pi.Generate(data, meta, tags); err != nil {
			return InternalError.fatal()
		}
	} else if st := n.verifyPI(data, meta, tags, check); !st.OK() {
		return st
	}
	if n.Zoned() {
		zone := uint64(r.lba / n.ZoneSize)
		n.st.Lock(zone)
		defer n.st.Unlock(zone)
		if _, st := r.plan(false, false); !st.OK() {
			if !r.repeated(zone, st) {
				return st
			}
			return statusOf(n.store(r.lba, data, meta), WriteFault)
		}
	}
	if st := n.d.faults.check(n.ID, r.lba, r.nlb, FaultWrites); !st.OK() {
		return st
	}
	if err := n.store(r.lba, data, meta); err != nil {
		return statusOf(err, WriteFault)
	}
	if !n.Zoned() {
		return Success
	}
	return r.commit(false, r.lba)
}
