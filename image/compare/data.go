package compare

import (
	"bytes"
	"errors"
	"fmt"
	"iter"

	"zimg/image/foreign"
	"zimg/layout"
)

// chunk is how many bytes of each side are compared at a time.
const chunk = 256 << 10

// content compares blocks [from, to) of both sides, and their metadata, and reports at place where
// they first differ.
func (c *comparison) content(place Difference, a, b *foreign.Content, from, to layout.LBA) error {
	if a.Data == nil || b.Data == nil {
		return errors.New("no data file to compare")
	}
	off, err := c.data(a.Data, b.Data, int64(a.NS.ByteOff(from)), int64(a.NS.ByteOff(to)), c.tick)
	if err != nil {
		return err
	}
	if off >= 0 {
		place.What, place.Off = "data", off
		c.differ(place)
	}
	if a.BlockMeta.File == nil || b.BlockMeta.File == nil {
		return nil
	}
	ms := int64(a.NS.MS)
	off, err = c.data(blockMeta(a), blockMeta(b), int64(from)*ms, int64(to)*ms, func(int64) error { return nil })
	if err == nil && off >= 0 {
		place.What, place.Off = "block-metadata", off
		c.differ(place)
	}
	return err
}

// blockMeta is the per-block metadata of n as if it were data.
func blockMeta(n *foreign.Content) foreign.Extents {
	m := n.BlockMeta
	return foreign.Linear(m.File, m.FileOff, m.FileOff+m.Len)
}

// data compares bytes [from, to) and returns the offset of the first that differs, or -1. What is a hole
// on both sides is not read.
func (c *comparison) data(a, b foreign.Extents, from, to int64, tick func(n int64) error) (int64, error) {
	if from >= to {
		return -1, nil
	}
	heldA, stopA := newCursor(a, from, to)
	defer stopA()
	heldB, stopB := newCursor(b, from, to)
	defer stopB()
	for at := from; at < to; {
		x, err := heldA.next(at)
		if err != nil {
			return -1, err
		}
		y, err := heldB.next(at)
		if err != nil {
			return -1, err
		}
		skip := min(x, y)
		n := min(chunk, to-skip)
		same, err := c.equal(a, b, skip, n)
		if err != nil || same < n {
			return skip + same, err
		}
		if err := tick(skip + n - at); err != nil {
			return -1, err
		}
		at = skip + n
	}
	return -1, nil
}

// equal is how many of the n bytes at off are equal up to the first that is not.
func (c *comparison) equal(a, b foreign.Extents, off, n int64) (int64, error) {
	for i, data := range []foreign.Extents{a, b} {
		if c.buf[i] == nil {
			c.buf[i] = make([]byte, chunk)
		}
		buf := c.buf[i][:n]
		clear(buf)
		for e, err := range data(off, off+n) {
			if err != nil {
				return 0, err
			}
			if err := foreign.ReadFull(e.File, buf[e.Off-off:e.Off-off+e.Len], e.FileOff); err != nil {
				return 0, fmt.Errorf("%s: %w", e.File.Name(), err)
			}
		}
	}
	x, y := c.buf[0][:n], c.buf[1][:n]
	if bytes.Equal(x, y) {
		return n, nil
	}
	i := int64(0)
	for x[i] == y[i] {
		i++
	}
	return i, nil
}

// tick reports n more bytes to the progress.
func (c *comparison) tick(n int64) error {
	c.done += n
	if c.Progress == nil {
		return nil
	}
	return c.Progress(c.done, c.total)
}

// cursor goes through the parts of a range that are not holes.
type cursor struct {
	pull func() (foreign.Run, error, bool)
	run  foreign.Run
	end  int64
}

func newCursor(data foreign.Extents, from, to int64) (*cursor, func()) {
	pull, stop := iter.Pull2((&foreign.Content{Data: data}).Held(from, to))
	return &cursor{pull: pull, end: to}, stop
}

// next is the first offset from at on that may hold anything but zeroes, or the range's end.
func (c *cursor) next(at int64) (int64, error) {
	for c.run.To <= at {
		run, err, ok := c.pull()
		if err != nil {
			return 0, err
		}
		if !ok {
			run = foreign.Run{From: c.end, To: c.end + 1}
		}
		c.run = run
	}
	return max(at, c.run.From), nil
}
