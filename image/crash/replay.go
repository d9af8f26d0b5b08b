package crash

import (
	"bytes"
	"errors"
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
// its data in file.
type replay struct {
	*model
	rec  *Recording
	file disk.File
	next int // the first step that was not taken
	buf  []byte
}

func newReplay(r *Recording, fate Unflushed, seed uint64, file disk.File) (*replay, error) {
	if err := fate.Check(); err != nil {
		return nil, err
	}
	p := &replay{model: newModel(recorded{r}, fate, seed), rec: r, file: file, buf: make([]byte, chunk)}
	for i, n := range r.ns {
		p.model.ns = append(p.model.ns, n.Namespace)
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

// recorded has the zones of a recording's base image.
type recorded struct{ *Recording }

func (r recorded) zone(k zoneKey) (layout.Zone, error) { return r.ns[k.ns].Zone(k.zone) }

func (r recorded) active(ns int) uint64 {
	counts := r.ns[ns].Counts()
	return counts.Active()
}

// advance takes the steps up to the point at which so many entries of the log have completed.
func (p *replay) advance(entries int) error {
	end := 0
	if entries > 0 {
		end = int(p.rec.after[entries-1])
	}
	for ; p.next < end; p.next++ {
		s := p.rec.step(p.next)
		if s.Op == ZonesFinish {
			if err := p.finishAll(s.NS); err != nil {
				return err
			}
			continue
		}
		if err := p.take(s, fromLog{p, p.file}); err != nil {
			return err
		}
	}
	return nil
}

// fromLog is a store that takes the data from the log.
type fromLog struct {
	*replay
	file disk.File
}

func (l fromLog) put(s Step, off, length int64) error {
	n := l.rec.ns[s.NS]
	if s.Op == Zeroes {
		return l.punch(s.NS, s.Off+off, length)
	}
	return l.copy(l.file, int64(n.DataOff)+s.Off+off, s.data+off, length)
}

func (l fromLog) punch(ns int, off, length int64) error {
	return l.file.PunchHole(int64(l.rec.ns[ns].DataOff)+off, length)
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
		if err := p.finish(zoneKey{ns, i}, fromLog{p, p.file}); err != nil {
			return err
		}
	}
	return nil
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
	set, err := p.decide(fromLog{p, im.Files().Data[0]}, point)
	if err != nil {
		return err
	}
	for k, z := range set {
		n := im.Namespaces()[k.ns]
		if ext, ok := p.exts[k]; ok && z.Attrs&layout.ZDEV != 0 {
			if err := n.SetExtension(k.zone, ext); err != nil {
				return err
			}
		}
		if err := n.SetZone(k.zone, z); err != nil {
			return err
		}
	}
	return errors.Join(im.SyncData(), im.Commit())
}
