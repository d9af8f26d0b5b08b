package crash

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"

	"zimg/image"
	"zimg/image/writelog"
	"zimg/layout"
)

// Unflushed says what becomes of writes that no flush followed before the
// power failed.
type Unflushed string

// The fates of unflushed writes. A zoned drive keeps, of each zone, what was written up to
// some block: so Torn cuts the unflushed writes of each zone at a random one. Of a
// namespace without zones it keeps a random half of the blocks.
const (
	Keep Unflushed = "keep"
	Drop Unflushed = "drop"
	Torn Unflushed = "torn"
)

// Make makes at dst the image as it would be had the power failed when the
// first `entries` entries of the log had completed. The other namespaces are as before
// the run. It overwrites dst only with force.
func (r *Recording) Make(dst string, entries int, fate Unflushed, seed uint64, force bool) (err error) {
	if fate != Keep && fate != Drop && fate != Torn {
		return fmt.Errorf("unflushed writes %q: keep, drop or torn", fate)
	}
	if err := image.Convert(r.Base(), dst, image.ConvertOptions{Force: force}); err != nil {
		return err
	}
	im, err := image.Open(dst, image.Options{Write: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, im.Close()) }()
	n, err := im.Namespace(r.NS)
	if err != nil {
		return err
	}
	if err := im.BeginChange(); err != nil {
		return err
	}
	p := &replay{rec: r, ns: n, fate: fate, rnd: rand.New(rand.NewPCG(seed, uint64(entries))), cut: map[uint64]int64{}}
	if err := p.run(r.Log[:entries]); err != nil {
		return err
	}
	if err := im.SyncData(); err != nil {
		return err
	}
	return im.Commit()
}

// replay applies entries to a namespace.
type replay struct {
	rec  *Recording
	ns   *image.Namespace
	fate Unflushed
	rnd  *rand.Rand
	// cut is, for each zone with unflushed writes under Torn, how many bytes of
	// the zone survive.
	cut map[uint64]int64
}

func (p *replay) run(log []writelog.Entry) error {
	durable := 0 // entries up to the last flush
	for i, e := range log {
		if e.Flags&writelog.Flush != 0 {
			durable = i
		}
	}
	if p.fate == Torn && p.ns.Zoned() {
		p.chooseCuts(log[durable:])
	}
	for i, e := range log {
		flushed := i < durable || e.Flags&writelog.FUA != 0 || p.fate == Keep
		if e.Length == 0 || e.Flags&writelog.Mark != 0 {
			continue
		}
		if err := p.apply(e, flushed); err != nil {
			return fmt.Errorf("entry %d: %w", i, err)
		}
	}
	return nil
}

// chooseCuts picks for each zone how far its unflushed writes survive.
func (p *replay) chooseCuts(log []writelog.Entry) {
	first, last := map[uint64]int64{}, map[uint64]int64{}
	var order []uint64
	zoneLen := int64(p.ns.ByteOff(p.ns.ZoneSize))
	for _, e := range log {
		if !e.HasData() || p.resets(e) {
			continue
		}
		z, in := uint64(e.Off/zoneLen), e.Off%zoneLen
		if _, ok := first[z]; !ok {
			order = append(order, z)
			first[z] = in
		}
		last[z] = max(last[z], in+e.Length)
	}
	for _, z := range order {
		blocks := (last[z] - first[z]) / p.ns.BlockSize()
		p.cut[z] = first[z] + p.rnd.Int64N(blocks+1)*p.ns.BlockSize()
	}
}

// resets reports whether e is what a zone reset leaves in the log: zeroes, or a
// discard, over exactly one zone.
func (p *replay) resets(e writelog.Entry) bool {
	if !p.ns.Zoned() {
		return false
	}
	zoneLen := int64(p.ns.ByteOff(p.ns.ZoneSize))
	if e.Length != zoneLen || e.Off%zoneLen != 0 {
		return false
	}
	return !e.HasData() || p.zero(e)
}

// zero reports whether the data of e is all zero.
func (p *replay) zero(e writelog.Entry) bool {
	buf := make([]byte, 1<<20)
	for off := int64(0); off < e.Length; off += int64(len(buf)) {
		b := buf[:min(int64(len(buf)), e.Length-off)]
		if _, err := p.rec.file.ReadAt(b, e.DataOff+off); err != nil && !errors.Is(err, io.EOF) {
			return false
		}
		for _, c := range b {
			if c != 0 {
				return false
			}
		}
	}
	return true
}

func (p *replay) apply(e writelog.Entry, flushed bool) error {
	if !p.ns.Zoned() {
		return p.plain(e, flushed)
	}
	zoneLen := int64(p.ns.ByteOff(p.ns.ZoneSize))
	i := uint64(e.Off / zoneLen)
	if p.resets(e) {
		if err := p.ns.DiscardZone(i, layout.LBA(i)*p.ns.ZoneSize); err != nil {
			return err
		}
		delete(p.cut, i)
		return p.ns.SetZone(i, p.ns.EmptyZone(i))
	}
	if !e.HasData() {
		return nil
	}
	length := e.Length
	if !flushed {
		switch p.fate {
		case Drop:
			return nil
		case Torn:
			length = max(0, min(length, p.cut[i]-e.Off%zoneLen))
		case Keep:
		}
	}
	if err := p.copy(e, 0, length); err != nil || length == 0 {
		return err
	}
	return p.advance(i, layout.LBA((e.Off+length)>>p.ns.BlockBits))
}

// advance moves the write pointer of zone i to end, if it is not beyond.
func (p *replay) advance(i uint64, end layout.LBA) error {
	z, err := p.ns.Zone(i)
	if err != nil || end <= z.Written {
		return err
	}
	z.Written, z.WP, z.State = end, end, layout.Closed
	if end >= z.End() {
		z.Written, z.WP, z.State = z.End(), layout.NoWP, layout.Full
	}
	return p.ns.SetZone(i, z)
}

// plain applies e to a namespace without zones.
func (p *replay) plain(e writelog.Entry, flushed bool) error {
	if !e.HasData() {
		return p.ns.File().PunchHole(int64(p.ns.DataOff)+e.Off, e.Length)
	}
	if flushed {
		return p.copy(e, 0, e.Length)
	}
	if p.fate == Drop {
		return nil
	}
	for off := int64(0); off < e.Length; off += p.ns.BlockSize() {
		if p.rnd.IntN(2) == 0 {
			if err := p.copy(e, off, p.ns.BlockSize()); err != nil {
				return err
			}
		}
	}
	return nil
}

// copy writes length bytes from off of e's data to where they belong.
func (p *replay) copy(e writelog.Entry, off, length int64) error {
	buf := make([]byte, min(length, 1<<20))
	for length > 0 {
		b := buf[:min(length, int64(len(buf)))]
		if _, err := p.rec.file.ReadAt(b, e.DataOff+off); err != nil {
			return err
		}
		if _, err := p.ns.WriteAt(b, e.Off+off); err != nil {
			return err
		}
		off, length = off+int64(len(b)), length-int64(len(b))
	}
	return nil
}
