package record_test

import (
	"slices"

	"zimg/image/drive"
	"zimg/image/drive/drivetest"
	"zimg/image/zns"
	"zimg/layout"
)

// step runs a random command, and keeps count of what is durable: that is the model.
func (r *rig) step() {
	switch r.rng.IntN(14) {
	case 0:
		if r.ok(drivetest.Cmd(opFlush, layout.NSID(1+r.rng.IntN(3))), 0) {
			for k := range r.durable {
				r.keep(k)
			}
			r.pending = nil
		}
	case 1, 2, 3:
		r.plain()
	case 4, 5, 6, 7:
		r.area()
	default:
		r.zoned()
	}
}

// plain is a command on the plain namespace.
func (r *rig) plain() {
	lba := r.rng.IntN(24)
	count := 1 + r.rng.IntN(min(6, 24-lba))
	var ok, forced bool
	value := byte(0)
	switch r.rng.IntN(6) {
	case 0:
		list := make([]byte, 16)
		list[4], list[8] = byte(count), byte(lba)
		cpl, _ := r.host.Do(1, drivetest.Cmd(opDSM, 3, 0, 4), list)
		ok = cpl.Status.OK()
	case 1:
		ok = r.ok(drivetest.IO(opZeroes, 3, uint64(lba), count, 0), 0)
	default:
		control := uint32(0)
		if forced = r.rng.IntN(5) == 0; forced {
			control = fua
		}
		ok = r.ok(drivetest.IO(opWrite, 3, uint64(lba), count, control), count)
		value = r.fill
	}
	if !ok {
		if !r.st.IsOff() {
			r.t.Error("a command on the plain namespace failed")
		}
		return
	}
	r.pending = append(r.pending, plainWrite{lba, count, value})
	if !forced {
		return
	}
	// Durable is what this one was written over, what that was written over, and so on.
	var left, forcedOut []plainWrite
	var over [24]bool
	for i := range count {
		over[lba+i] = true
	}
	for _, w := range slices.Backward(r.pending) {
		if !slices.Contains(over[w.lba:w.lba+w.count], true) {
			left = append([]plainWrite{w}, left...)
			continue
		}
		forcedOut = append([]plainWrite{w}, forcedOut...)
		for i := range w.count {
			over[w.lba+i] = true
		}
	}
	for _, w := range forcedOut {
		for i := range w.count {
			r.durable[key{3, uint64(w.lba + i)}] = state{data: string([]byte{w.value})}
		}
	}
	r.pending = left
}

// area is a command on the namespace with random write areas.
func (r *rig) area() {
	k := key{2, uint64(r.rng.IntN(4))}
	z, err := r.live.Namespace(2).Zone(k.i)
	if err != nil {
		r.t.Fatal(err)
	}
	start := uint64(z.Start)
	switch r.rng.IntN(12) {
	case 0:
		if r.ok(drivetest.Cmd(opSend, 2, uint32(start), 0, 0, actReset), 0) {
			r.keep(k)
		}
	case 1:
		if before := r.durable[k]; r.ok(drivetest.Cmd(opSend, 2, uint32(start), 0, 0, actFinish), 0) {
			r.finished(k, before, z)
		}
	case 2, 3:
		if r.ok(drivetest.Cmd(opSend, 2, uint32(start), 0, 0, actOpen|1<<9), 0) {
			r.keep(k)
		}
	case 4:
		if z.WP == layout.NoWP {
			return
		}
		before, _ := r.live.Namespace(2).Zone(k.i)
		if r.ok(drivetest.Cmd(opSend, 2, uint32(z.WP)+uint32(r.rng.IntN(4)), 0, 0, actFlushZRWA), 0) {
			after, _ := r.live.Namespace(2).Zone(k.i)
			if zns.AtRest(r.live.Namespace(2).Namespace, before) != zns.AtRest(r.live.Namespace(2).Namespace, after) {
				r.keep(k) // blocks that were not written became part of the zone
			}
		}
	default:
		lba := uint64(z.WP)
		if z.WP == layout.NoWP {
			lba = start
		}
		if z.Attrs&layout.ZRWAV != 0 {
			lba += uint64(r.rng.IntN(5))
		}
		r.write(k, lba)
	}
}

// write is a write in one of its forms.
func (r *rig) write(k key, lba uint64) {
	count := 1 + r.rng.IntN(5)
	control := uint32(0)
	if r.rng.IntN(6) == 0 {
		control = fua
	}
	var ok bool
	switch r.rng.IntN(4) {
	case 0:
		start := lba / 16 * 16
		ok = r.ok(drivetest.IO(opAppend, k.id, start, count, control), count)
	case 1:
		ok = r.ok(drivetest.IO(opZeroes, k.id, lba, count, control), 0)
	default:
		ok = r.ok(drivetest.IO(opWrite, k.id, lba, count, control), count)
	}
	if ok && k.id == 2 && lba != uint64(layout.NoWP) {
		for i := range count {
			r.seen[key{2, lba + uint64(i)}] += string([]byte{r.fill})
		}
	}
	if ok && control != 0 {
		r.keep(k)
	}
}

// finished is what is durable of a zone that was finished: it is Full, with what was durable, or all of it if it had a
// random write area.
func (r *rig) finished(k key, before state, was layout.Zone) {
	if was.State == layout.Full {
		return
	}
	if was.Attrs&layout.ZRWAV != 0 {
		r.keep(k)
		return
	}
	s := r.state(k)
	s.zone.Written, s.data = before.zone.Written, before.data
	r.durable[k] = s
}

// zoned is a command on the namespace without random write areas.
func (r *rig) zoned() {
	k := key{1, uint64(r.rng.IntN(6))}
	z, err := r.live.Namespace(1).Zone(k.i)
	if err != nil {
		r.t.Fatal(err)
	}
	send := func(action uint32, blocks int) bool {
		return r.ok(drivetest.Cmd(opSend, 1, uint32(z.Start), 0, 0, action), blocks)
	}
	switch r.rng.IntN(16) {
	case 0, 1:
		if send(actReset, 0) {
			r.keep(k)
		}
	case 2:
		if before := r.durable[k]; send(actFinish, 0) {
			r.finished(k, before, z)
		}
	case 3:
		send(actOpen, 0)
	case 4:
		send(actClose, 0)
	case 5:
		if send(actSetZDE, 1) {
			r.keep(k)
		}
	case 6:
		if r.rng.IntN(8) == 0 {
			change := []drive.ZoneChange{drive.ChangeReadOnly, drive.ChangeOffline}[r.rng.IntN(2)]
			if err := r.d.ChangeZone(1, k.i, change, 0); err == nil {
				r.keep(k)
			}
		}
	case 7:
		wp := z.Start + layout.LBA(r.rng.IntN(13))
		if err := r.d.ChangeZone(1, k.i, drive.ChangeWP, wp); err == nil {
			r.moved(k, z, wp)
		}
	default:
		if z.WP != layout.NoWP {
			r.write(k, uint64(z.WP))
		}
	}
}

// moved is a write pointer that was set: forward it is a write of zeroes.
func (r *rig) moved(k key, was layout.Zone, wp layout.LBA) {
	fixed := was.State == layout.ReadOnly || was.State == layout.Offline
	if wp > was.Written && !fixed && (was.State != layout.Full || wp == was.End()) {
		return
	}
	if z := r.state(k).zone; z != zns.AtRest(r.live.Namespace(1).Namespace, was) {
		r.keep(k)
	}
}
