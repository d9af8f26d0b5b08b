package crash

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"

	"zimg/image"
	"zimg/image/disk"
	"zimg/image/zns"
	"zimg/layout"
)

// chunk is how much data is moved at a time, and the smallest hole left in it.
const chunk = 1 << 20

// replay goes through the steps of a recording. What is durable at the point where it is has
// its data in file and its zones in zones; what is not waits in pending.
type replay struct {
	rec     *Recording
	fate    Unflushed
	seed    uint64
	file    disk.File
	next    int // the first step that was not taken
	zones   zoneSet
	pending []Step // writes and discards, in order
	buf     []byte
}

// zoneSet has the zones that differ from the base image's.
type zoneSet map[zoneKey]layout.Zone

func newReplay(r *Recording, fate Unflushed, seed uint64, file disk.File) (*replay, error) {
	if fate != Keep && fate != Drop && fate != Torn {
		return nil, fmt.Errorf("invalid value %q for unflushed writes: must be keep, drop or torn", fate)
	}
	p := &replay{rec: r, fate: fate, seed: seed, file: file, zones: zoneSet{}, buf: make([]byte, chunk)}
	for i, n := range r.ns {
		if n.Counts().Open() == 0 {
			continue
		}
		zone := uint64(0)
		for z, err := range n.All(0, n.ZoneCount) {
			if err != nil {
				return nil, err
			}
			if z.State.Open() {
				p.zones[zoneKey{i, zone}] = zns.AtRest(n.Namespace, z)
			}
			zone++
		}
	}
	return p, nil
}

// zone is the zone as it is in set, or else in the base image.
func (p *replay) zone(set zoneSet, k zoneKey) (layout.Zone, error) {
	if z, ok := set[k]; ok {
		return z, nil
	}
	return p.rec.ns[k.ns].Zone(k.zone)
}

// fixed are zones whose state is the image's alone: QEMU shows them to a guest as something else.
func fixed(z layout.Zone) bool { return z.State == layout.ReadOnly || z.State == layout.Offline }

// advance takes the steps up to the point at which so many entries of the log have completed.
func (p *replay) advance(entries int) error {
	end := 0
	if entries > 0 {
		end = int(p.rec.after[entries-1])
	}
	for ; p.next < end; p.next++ {
		if err := p.take(p.rec.step(p.next)); err != nil {
			return err
		}
	}
	return nil
}

func (p *replay) take(s Step) error {
	switch s.Op {
	case Flush:
		return p.flush(func(Step) bool { return true })
	case ZoneReset:
		return p.reset(s)
	case ZoneFinish:
		return p.finish(zoneKey{s.NS, s.Zone})
	case ZonesFinish:
		return p.finishAll(s.NS)
	case Write, Discard:
	}
	p.pending = append(p.pending, s)
	switch {
	case p.fate == Keep:
		return p.flush(func(Step) bool { return true })
	case s.FUA: // with it goes what it follows, or overwrites
		zoned := p.rec.ns[s.NS].Zoned()
		return p.flush(func(q Step) bool {
			if zoned {
				return q.NS == s.NS && q.Zone == s.Zone
			}
			return q.NS == s.NS && q.Off < s.Off+s.Length && s.Off < q.Off+q.Length
		})
	}
	return nil
}

// flush makes the pending steps durable that which says.
func (p *replay) flush(which func(Step) bool) error {
	kept := p.pending[:0]
	for _, s := range p.pending {
		if !which(s) {
			kept = append(kept, s)
			continue
		}
		if err := p.apply(p.file, p.zones, s, s.Length); err != nil {
			return err
		}
	}
	p.pending = kept
	return nil
}

// reset is durable at once, and what the zone held is gone.
func (p *replay) reset(s Step) error {
	k := zoneKey{s.NS, s.Zone}
	z, err := p.zone(p.zones, k)
	if err != nil || fixed(z) {
		return err
	}
	p.pending = slices.DeleteFunc(p.pending, func(q Step) bool { return q.NS == s.NS && q.Zone == s.Zone })
	n := p.rec.ns[s.NS]
	p.zones[k] = n.EmptyZone(s.Zone)
	return p.file.PunchHole(int64(n.DataOff)+s.Off, s.Length)
}

// finish is durable at once, too.
func (p *replay) finish(k zoneKey) error {
	z, err := p.zone(p.zones, k)
	if err != nil || fixed(z) {
		return err
	}
	z.State, z.WP = layout.Full, layout.NoWP
	p.zones[k] = z
	return nil
}

// finishAll finishes the zones that are active, those with pending writes too.
func (p *replay) finishAll(ns int) error {
	active := map[uint64]bool{}
	for _, s := range p.pending {
		if s.NS == ns && s.Op == Write {
			active[s.Zone] = true
		}
	}
	n, i := p.rec.ns[ns], uint64(0)
	for z, err := range n.All(0, n.ZoneCount) {
		if err != nil {
			return err
		}
		if now, ok := p.zones[zoneKey{ns, i}]; ok {
			z = now
		}
		if z.State.Active() {
			active[i] = true
		}
		i++
	}
	for _, i := range slices.Sorted(maps.Keys(active)) {
		if err := p.finish(zoneKey{ns, i}); err != nil {
			return err
		}
	}
	return nil
}

// apply does the first length bytes of s, a write or discard, to file and set.
func (p *replay) apply(file disk.File, set zoneSet, s Step, length int64) error {
	n := p.rec.ns[s.NS]
	if s.Op == Discard {
		return file.PunchHole(int64(n.DataOff)+s.Off, length)
	}
	k := zoneKey{s.NS, s.Zone}
	if n.Zoned() {
		z, err := p.zone(set, k)
		if err != nil || fixed(z) {
			return err
		}
		set[k] = advanced(n.Namespace, z, layout.LBA((s.Off+length)>>n.BlockBits))
	}
	return p.copy(file, int64(n.DataOff)+s.Off, s.data, length)
}

// advanced is z with its write pointer moved to end, if it is not beyond. One that was
// finished stays so.
func advanced(n *layout.Namespace, z layout.Zone, end layout.LBA) layout.Zone {
	z.Written = max(z.Written, min(end, z.End()))
	if z.State == layout.Full {
		return z
	}
	return zns.WrittenTo(n, z, z.Written)
}

// copy brings length bytes from the log to file. Zeroes become holes.
func (p *replay) copy(file disk.File, dst, src, length int64) error {
	for length > 0 {
		b := p.buf[:min(length, chunk)]
		if _, err := p.rec.file.ReadAt(b, src); err != nil {
			return err
		}
		var err error
		if b[0] == 0 && bytes.Equal(b[1:], b[:len(b)-1]) {
			err = file.PunchHole(dst, int64(len(b)))
		} else {
			_, err = file.WriteAt(b, dst)
		}
		if err != nil {
			return err
		}
		dst, src, length = dst+int64(len(b)), src+int64(len(b)), length-int64(len(b))
	}
	return nil
}

// settle makes im, which has the durable data, what the power failure leaves: it decides
// on the pending steps and commits the zones.
func (p *replay) settle(im *image.Image, point int) error {
	file := im.Files().Data[0]
	set, err := p.decide(file, point)
	if err != nil {
		return err
	}
	for k, z := range set {
		n := im.Namespaces()[k.ns]
		if err := n.SetZone(k.zone, z); err != nil {
			return err
		}
	}
	return errors.Join(im.SyncData(), im.Commit())
}
