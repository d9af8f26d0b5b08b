package drive

import (
	"zimg/image/pi"
	"zimg/layout"
)

// writeZeroes is Write Zeroes: in a zone, a write like any other. The space is given back,
// with DEAC or without, and reads as zeroes.
func (r *request) writeZeroes() Status {
	n := r.n
	check, tags, st := n.checkProtection(r.cmd)
	if !st.OK() {
		return st
	}
	if !n.Zoned() {
		return r.zero(check, tags)
	}
	zone := uint64(r.lba / n.ZoneSize)
	n.st.Lock(zone)
	defer n.st.Unlock(zone)
	if _, st := r.plan(false, false); !st.OK() {
		if r.repeated(zone, st) {
			return r.zero(check, tags)
		}
		return st
	}
	if st := r.zero(check, tags); !st.OK() {
		return st
	}
	return r.commit(false, r.lba)
}

// zero makes the blocks of r zeroes. Protection information is generated, unless the
// blocks are to be deallocated without it.
func (r *request) zero(check pi.Check, tags pi.Tags) Status {
	n := r.n
	if st := n.d.faults.check(n.ID, r.lba, r.nlb, FaultWrites); !st.OK() {
		return st
	}
	if err := n.st.Zeroes(r.lba, r.nlb); err != nil {
		return statusOf(err, WriteFault)
	}
	deallocates := r.cmd.DW(12)&rwDEAC != 0 && check&pi.Action == 0
	if !n.pi.Enabled() || deallocates {
		return Success
	}
	s := n.d.scratch.get()
	defer n.d.scratch.put(s)
	most := layout.LBA(n.d.scratch.blocks(n))
	for done := layout.LBA(0); done < r.nlb; done += most {
		count := min(most, r.nlb-done)
		data, meta := s.data[:count<<n.BlockBits], s.meta[:int(count)*int(n.MS)]
		clear(data)
		if err := n.zeroProtection(data, meta, tags, done); err != nil {
			return InternalError.fatal()
		}
		if err := n.st.WriteMeta(meta, r.lba+done); err != nil {
			return statusOf(err, WriteFault)
		}
	}
	return Success
}

// deallocate is Dataset Management: with the attribute Deallocate the blocks of a plain
// namespace are given back. Elsewhere it is advice that is not taken: in a zone a reset
// gives space back.
func (r *request) deallocate() Status {
	const attributeDeallocate = 1 << 2
	n := r.n
	var list [dsmMost * dsmRange]byte // a copy, for the host may change its own meanwhile
	ranges := list[:copy(list[:], r.data)]
	for b := ranges; len(b) >= dsmRange; b = b[dsmRange:] {
		if nlb, lba := layout.LBA(le.Uint32(b[4:])), layout.LBA(le.Uint64(b[8:])); nlb > 0 {
			if st := n.inRange(lba, nlb); !st.OK() {
				return st
			}
		}
	}
	if n.Zoned() || r.cmd.DW(11)&attributeDeallocate == 0 {
		return Success
	}
	for b := ranges; len(b) >= dsmRange; b = b[dsmRange:] {
		nlb, lba := layout.LBA(le.Uint32(b[4:])), layout.LBA(le.Uint64(b[8:]))
		if nlb == 0 {
			continue
		}
		if st := n.d.faults.check(n.ID, lba, nlb, FaultWrites); !st.OK() {
			return st
		}
		if err := n.st.Deallocate(lba, nlb); err != nil {
			return statusOf(err, WriteFault)
		}
	}
	return Success
}
