package drive

import (
	"bytes"

	"zimg/image/pi"
	"zimg/layout"
)

// readable checks that the zones let r's blocks be read.
func (r *request) readable(lba, nlb layout.LBA) Status {
	if !r.n.Zoned() {
		return r.n.inRange(lba, nlb)
	}
	r.n.mu.Lock()
	err := r.n.m.Read(lba, nlb)
	r.n.mu.Unlock()
	return statusOf(err, UnrecoveredRead)
}

// beforeRead is what every command that reads its blocks checks first; it returns what
// protection information is to be checked. A read with FUA returns what is durable: so it is
// made durable.
func (r *request) beforeRead() (check pi.Check, tags pi.Tags, st Status) {
	if check, tags, st = r.n.checkProtection(r.cmd); !st.OK() {
		return 0, tags, st
	}
	if st = r.readable(r.lba, r.nlb); !st.OK() {
		return 0, tags, st
	}
	if st = r.n.d.faults.check(r.n.ID, r.lba, r.nlb, FaultReads); !st.OK() {
		return 0, tags, st
	}
	if r.cmd.DW(12)&rwFUA != 0 {
		st = r.n.d.flush()
	}
	return check, tags, st
}

// read is Read (NVM Command Set 1.0, section 3.2.4). Without metadata, and with
// metadata apart, the host's buffers are filled directly.
func (r *request) read() Status {
	n := r.n
	check, tags, st := r.beforeRead()
	if !st.OK() {
		return st
	}
	if n.MS == 0 {
		return statusOf(n.readBlocks(r.lba, r.data, nil), UnrecoveredRead)
	}
	data, meta := r.data, r.meta
	strips, extended := n.strips(r.cmd), r.c.extended(n)
	if strips || extended {
		s := n.d.scratch.get()
		defer n.d.scratch.put(s)
		meta = s.meta[:int(r.nlb)*int(n.MS)]
		if !strips {
			data = s.data[:r.nlb<<n.BlockBits]
		}
	}
	if err := n.readBlocks(r.lba, data, meta); err != nil {
		return statusOf(err, UnrecoveredRead)
	}
	if st := n.verifyPI(data, meta, tags, check); !st.OK() {
		return st
	}
	if extended && !strips {
		n.join(r.data, data, meta)
	}
	return Success
}

// write is Write and Zone Append: the change of the zone is planned, the data written,
// the change planned again, for another zone's command may have taken its resources, and
// made. So a write pointer is never ahead of its data, and a refused write changes nothing.
func (r *request) write() Completion {
	n := r.n
	check, tags, st := n.checkProtection(r.cmd)
	appends := r.cmd.Opcode() == opZoneAppend
	if st.OK() && appends {
		st = n.appendProtection(r.cmd)
	}
	if !st.OK() {
		return Completion{Status: st}
	}
	if !n.Zoned() {
		return Completion{Status: r.put(r.lba, check, tags, 0)}
	}
	zone := uint64(r.lba / n.ZoneSize)
	n.st.Lock(zone)
	defer n.st.Unlock(zone)
	lba, st := r.plan(appends, false)
	if !st.OK() {
		if !appends && r.repeated(zone, st) {
			return Completion{Status: r.put(r.lba, check, tags, 0)}
		}
		return Completion{Status: st}
	}
	var shift layout.LBA
	if appends && r.cmd.DW(12)&rwPIREMAP != 0 {
		shift = lba - r.lba
	}
	if st := r.put(lba, check, tags, shift); !st.OK() {
		return Completion{Status: st}
	}
	if st := r.commit(appends, lba); !st.OK() {
		return Completion{Status: st}
	}
	return Completion{Status: Success, Result: result(appends, lba)}
}

// commit makes the change that was planned, after its data was written to lba. If the zone
// does not take it any more, data beyond its written blocks is discarded; in a random
// write area blocks that had been written may be the new ones.
func (r *request) commit(appends bool, lba layout.LBA) Status {
	made, st := r.plan(appends, true)
	if st.OK() && made == lba { // as it must be while the zone is locked
		return Success
	}
	z, err := r.n.zone(uint64(lba / r.n.ZoneSize))
	if from := max(lba, z.Written); err == nil && from < lba+r.nlb {
		err = r.n.st.Zeroes(from, lba+r.nlb-from)
	}
	if err != nil {
		return statusOf(err, WriteFault)
	}
	if st.OK() {
		return InternalError.fatal()
	}
	return st
}

// result is the LBA that an append reports.
func result(appends bool, lba layout.LBA) uint64 {
	if appends {
		return uint64(lba)
	}
	return 0
}

// plan checks the write or append with the zones, and makes the change if make is set. It
// returns where the data goes.
func (r *request) plan(appends, commit bool) (layout.LBA, Status) {
	n := r.n
	n.mu.Lock()
	defer n.mu.Unlock()
	plan := n.m.PlanWrite
	if appends {
		plan = n.m.PlanAppend
	}
	c, err := plan(r.lba, r.nlb)
	if err != nil || !commit {
		return c.LBA, statusOf(err, WriteFault)
	}
	w, noted, err := r.note()
	if err != nil {
		return c.LBA, statusOf(err, WriteFault)
	}
	n.zones.noted, n.zones.zone, n.zones.note = noted, c.Zone, w
	err = n.m.Make(c)
	n.zones.noted = false
	return c.LBA, statusOf(err, WriteFault)
}

// put writes the host's blocks to lba. Reference tags are shifted, for an append that
// did not know its LBA. The host's buffers are not changed.
func (r *request) put(lba layout.LBA, check pi.Check, tags pi.Tags, shift layout.LBA) Status {
	n := r.n
	if st := n.d.faults.check(n.ID, lba, r.nlb, FaultWrites); !st.OK() {
		return st
	}
	if n.MS == 0 {
		return statusOf(n.store(lba, r.data, nil), WriteFault)
	}
	s := n.d.scratch.get()
	defer n.d.scratch.put(s)
	data, meta := r.data, s.meta[:int(r.nlb)*int(n.MS)]
	inserts := n.pi.Enabled() && check&pi.Action != 0
	switch {
	case n.strips(r.cmd):
		clear(meta)
	case r.c.extended(n):
		data = s.data[:r.nlb<<n.BlockBits]
		n.split(r.data, data, meta)
	default:
		copy(meta, r.meta)
	}
	if inserts {
		tags.Ref += uint64(shift)
		if err := n.pi.Generate(data, meta, tags); err != nil {
			return InternalError.fatal()
		}
	} else {
		if st := n.verifyPI(data, meta, tags, check); !st.OK() {
			return st
		}
		if shift > 0 && n.pi.Enabled() {
			n.pi.Remap(meta, uint64(shift))
		}
	}
	return statusOf(n.store(lba, data, meta), WriteFault)
}

// compare is Compare: the blocks are read and compared with the host's; of metadata what
// is not protection information.
func (r *request) compare() Status {
	n := r.n
	check, tags, st := r.beforeRead()
	if !st.OK() {
		return st
	}
	s := n.d.scratch.get()
	defer n.d.scratch.put(s)
	data := s.data[:r.nlb<<n.BlockBits]
	meta := s.meta[:int(r.nlb)*int(n.MS)]
	if err := n.readBlocks(r.lba, data, meta); err != nil {
		return statusOf(err, UnrecoveredRead)
	}
	if st := n.verifyPI(data, meta, tags, check); !st.OK() {
		return st
	}
	bs, ms := int(n.BlockSize()), int(n.MS)
	step, host, hostMeta := bs, r.data, r.meta
	switch {
	case n.strips(r.cmd):
		ms = 0
	case r.c.extended(n):
		step = bs + ms
	}
	for i := range int(r.nlb) {
		theirs := hostMeta
		if step > bs {
			theirs = host[bs:]
		}
		if !bytes.Equal(host[:bs], data[i*bs:(i+1)*bs]) || ms > 0 && !n.equalMeta(theirs[:ms], meta[i*ms:(i+1)*ms]) {
			return CompareFailure.fatal()
		}
		host = host[step:]
		if step == bs && ms > 0 {
			hostMeta = hostMeta[ms:]
		}
	}
	return Success
}

// equalMeta compares the metadata of a block without its protection information.
func (n *namespace) equalMeta(a, b []byte) bool {
	if !n.pi.Enabled() {
		return bytes.Equal(a, b)
	}
	end := n.pi.Off + n.pi.Size()
	return bytes.Equal(a[:n.pi.Off], b[:n.pi.Off]) && bytes.Equal(a[end:], b[end:])
}

// verify is Verify: the blocks are read, and their protection information is checked.
func (r *request) verify() Status {
	n := r.n
	check, tags, st := r.beforeRead()
	if !st.OK() {
		return st
	}
	if int64(r.nlb)<<n.BlockBits > int64(n.d.MaxTransfer()) {
		return InvalidField.fatal()
	}
	s := n.d.scratch.get()
	defer n.d.scratch.put(s)
	most := layout.LBA(n.d.scratch.blocks(n))
	for done := layout.LBA(0); done < r.nlb; done += most {
		count := min(most, r.nlb-done)
		data, meta := s.data[:count<<n.BlockBits], s.meta[:int(count)*int(n.MS)]
		if err := n.readBlocks(r.lba+done, data, meta); err != nil {
			return statusOf(err, UnrecoveredRead)
		}
		t := tags
		if n.pi.Type != 3 {
			t.Ref += uint64(done)
		}
		if st := n.verifyPI(data, meta, t, check); !st.OK() {
			return st
		}
	}
	return Success
}
