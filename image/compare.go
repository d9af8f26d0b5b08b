package image

import (
	"bytes"
	"fmt"
	"io"
	"iter"

	"zimg/layout"
)

// Difference is one way in which two images differ.
type Difference struct {
	Namespace layout.NSID
	Zone      uint64 // meaningless if What is about the namespace
	InZone    bool
	What      string // "geometry", "state", "write pointer", "capacity", "attributes", "extension", "data"
	A, B      string
	Off       int64 // of the first differing byte in the namespace, for "data"; else -1
}

// Compare calls report for each difference between two images: geometry, zones,
// and the data below the write pointers. Identities, layouts and write pointers of
// zones whose state has none are not compared. report returns false to stop.
func Compare(a, b *Image, progress func(done, total int64) error, report func(Difference) bool) error {
	c := &comparison{a: a, b: b, report: report, progress: progress}
	if len(a.ns) != len(b.ns) {
		report(Difference{What: "geometry", A: fmt.Sprintf("%d namespaces", len(a.ns)), B: fmt.Sprintf("%d namespaces", len(b.ns)), Off: -1})
		return nil
	}
	for _, n := range a.ns {
		c.total += int64(n.Size())
	}
	for i, n := range a.ns {
		if ok, err := c.namespace(n, b.ns[i]); err != nil || !ok {
			return err
		}
	}
	return nil
}

type comparison struct {
	a, b        *Image
	report      func(Difference) bool
	progress    func(done, total int64) error
	done, total int64
	// One pair of buffers for all zones: there may be millions, and most have nothing to compare.
	bufA, bufB []byte
}

func (c *comparison) namespace(a, b *Namespace) (bool, error) {
	x, y := *a.Namespace, *b.Namespace
	for _, n := range []*layout.Namespace{&x, &y} {
		n.UUID, n.NGUID, n.EUI64 = [16]byte{}, [16]byte{}, [8]byte{}
		n.DataFile, n.DataOff = 0, 0
	}
	if x != y {
		return c.report(Difference{Namespace: a.ID, What: "geometry", A: geometry(&x), B: geometry(&y), Off: -1}), nil
	}
	if !a.Zoned() {
		off, err := c.data(a, b, 0, int64(a.Size()))
		if err != nil || off < 0 {
			return err == nil, err
		}
		return c.report(Difference{Namespace: a.ID, What: "data", Off: off}), nil
	}
	next, stop := iter.Pull2(b.All(0, b.ZoneCount))
	defer stop()
	var i uint64
	for za, err := range a.All(0, a.ZoneCount) {
		if err != nil {
			return false, err
		}
		zb, err, _ := next() // as many as in a, or the geometries differ
		if err != nil {
			return false, err
		}
		if ok, err := c.zone(a, b, i, za, zb); err != nil || !ok {
			return false, err
		}
		i++
	}
	return true, nil
}

// geometry says what namespaces of different geometry differ in.
func geometry(n *layout.Namespace) string {
	if !n.Zoned() {
		return fmt.Sprintf("nvm, %d blocks of %d bytes", n.Blocks, n.BlockSize())
	}
	return fmt.Sprintf("zoned, %d zones of %d blocks of %d bytes, capacity %d, MAR %#x, MOR %#x, ZDES %d", n.ZoneCount, n.ZoneSize, n.BlockSize(), n.ZoneCap, n.MAR, n.MOR, n.ZDES)
}

func (c *comparison) zone(a, b *Namespace, i uint64, za, zb layout.Zone) (bool, error) {
	diff := func(what string, x, y any) bool {
		return c.report(Difference{Namespace: a.ID, Zone: i, InZone: true, What: what, A: fmt.Sprint(x), B: fmt.Sprint(y), Off: -1})
	}
	ok := true
	if za.State != zb.State {
		ok = ok && diff("state", za.State, zb.State)
	}
	if za.State.HasWP() && zb.State.HasWP() && za.WP != zb.WP {
		ok = ok && diff("write pointer", za.WP, zb.WP)
	}
	if za.Cap != zb.Cap {
		ok = ok && diff("capacity", za.Cap, zb.Cap)
	}
	if za.Attrs != zb.Attrs {
		ok = ok && diff("attributes", fmt.Sprintf("%#x", uint8(za.Attrs)), fmt.Sprintf("%#x", uint8(zb.Attrs)))
	}
	if za.Attrs&zb.Attrs&layout.ZDEV != 0 {
		ea, err := a.Extension(i)
		if err != nil {
			return false, err
		}
		eb, err := b.Extension(i)
		if err != nil {
			return false, err
		}
		if !bytes.Equal(ea, eb) {
			ok = ok && diff("extension", fmt.Sprintf("%x", ea), fmt.Sprintf("%x", eb))
		}
	}
	if !ok {
		return false, nil
	}
	written := max(za.Written, zb.Written) - za.Start
	off, err := c.data(a, b, int64(a.ByteOff(za.Start)), int64(a.ByteOff(written)))
	c.done += int64(a.ByteOff(a.ZoneSize - written))
	if err != nil || off < 0 {
		return err == nil, err
	}
	return c.report(Difference{Namespace: a.ID, Zone: i, InZone: true, What: "data", Off: off}), nil
}

// data compares length bytes at off of both namespaces; it returns the offset
// of the first that differs, or -1. What is a hole on both sides is not read.
func (c *comparison) data(a, b *Namespace, off, length int64) (int64, error) {
	if c.bufA == nil {
		c.bufA, c.bufB = make([]byte, chunk), make([]byte, chunk)
	}
	bufA, bufB := c.bufA, c.bufB
	for end := off + length; off < end; {
		skip := min(c.nextData(a, off, end), c.nextData(b, off, end))
		c.done += skip - off
		if off = skip; off == end {
			break
		}
		n := min(chunk, end-off)
		if _, err := a.ReadAt(bufA[:n], off); err != nil {
			return -1, err
		}
		if _, err := b.ReadAt(bufB[:n], off); err != nil {
			return -1, err
		}
		if !bytes.Equal(bufA[:n], bufB[:n]) {
			for i := range n {
				if bufA[i] != bufB[i] {
					return off + i, nil
				}
			}
		}
		off += n
		c.done += n
		if c.progress != nil {
			if err := c.progress(c.done, c.total); err != nil {
				return -1, err
			}
		}
	}
	return -1, nil
}

// nextData is the first offset from off on, up to end, that may hold data.
func (c *comparison) nextData(n *Namespace, off, end int64) int64 {
	at, err := n.File().SeekData(int64(n.DataOff) + off)
	if err == io.EOF { //nolint:errorlint // File says io.EOF itself
		return end
	}
	if err != nil {
		return off
	}
	return min(end, max(off, at-int64(n.DataOff)))
}
