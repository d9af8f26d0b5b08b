package foreign

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"math"

	"zimg/image/disk"
	"zimg/layout"
)

// Content is one namespace to be copied: its geometry, its zones, and where its data
// is. NS.DataFile, DataOff and DataLen mean nothing here.
type Content struct {
	NS    *layout.Namespace
	Zones layout.Zones // nil for a namespace without zones
	Data  Extents      // nil if the data is not available
	// BlockMeta is where per-block metadata is, as one extent; a nil File for none.
	BlockMeta Extent
}

// Tick is called with the bytes that were moved, or passed over as holes; its error stops the work.
type Tick func(n int64) error

// Run is a range of a namespace that has been written, in bytes.
type Run struct{ From, To int64 }

// Runs yields what has been written of the namespace's data, in order, as few long runs as there
// are: beyond a zone's write pointer formats keep stale bytes, which nobody must see.
func (c *Content) Runs() iter.Seq2[Run, error] {
	return func(yield func(Run, error) bool) {
		if !c.NS.Zoned() {
			yield(Run{0, int64(c.NS.Size())}, nil)
			return
		}
		var run Run
		for z, err := range c.Zones.All(0, c.NS.ZoneCount) {
			if err != nil {
				yield(Run{}, err)
				return
			}
			from, to := int64(c.NS.ByteOff(z.Start)), int64(c.NS.ByteOff(z.Written))
			if to <= from {
				continue
			}
			if run.To != from {
				if run.To > run.From && !yield(run, nil) {
					return
				}
				run.From = from
			}
			run.To = to
		}
		if run.To > run.From {
			yield(run, nil)
		}
	}
}

// Copy copies [from, to) of the namespace to dst at off, where dst reads as zeroes.
func (c *Content) Copy(dst disk.File, off, from, to int64, tick Tick) error {
	if c.Data == nil {
		return errors.New("the data is not available")
	}
	done := from
	pass := func(n int64) error {
		if tick == nil || n == 0 {
			return nil
		}
		return tick(n)
	}
	for e, err := range c.Data(from, to) {
		if err != nil {
			return err
		}
		if err := pass(e.Off - done); err != nil {
			return err
		}
		if err := dst.CopyFrom(e.File, e.FileOff, off+e.Off-from, e.Len, tick); err != nil {
			return fmt.Errorf("%s: %w", e.File.Name(), err)
		}
		done = e.Off + e.Len
	}
	return pass(to - done)
}

// CopyMeta copies the per-block metadata of all that was written to dst, block 0's at off.
func (c *Content) CopyMeta(dst disk.File, off int64, tick Tick) error {
	m := c.BlockMeta
	if m.File == nil {
		return nil
	}
	for r, err := range c.Runs() {
		if err != nil {
			return err
		}
		from, to := c.metaOff(r.From), min(c.metaOff(r.To), m.Len)
		if to <= from {
			continue
		}
		if err := dst.CopyFrom(m.File, m.FileOff+from, off+from, to-from, tick); err != nil {
			return fmt.Errorf("%s: %w", m.File.Name(), err)
		}
	}
	return nil
}

// metaOff is where in BlockMeta that of the block at byte off of the data begins.
func (c *Content) metaOff(off int64) int64 { return off >> c.NS.BlockBits * int64(c.NS.MS) }

// Held yields the parts of [from, to) that may hold anything but zeroes: what the
// files have there, without holes.
func (c *Content) Held(from, to int64) iter.Seq2[Run, error] {
	return func(yield func(Run, error) bool) {
		if c.Data == nil {
			yield(Run{}, errors.New("the data is not available"))
			return
		}
		for e, err := range c.Data(from, to) {
			if err != nil {
				yield(Run{}, err)
				return
			}
			for at, end := e.FileOff, e.FileOff+e.Len; at < end; {
				data, err := e.File.SeekData(at)
				if errors.Is(err, io.EOF) || err == nil && data >= end {
					break
				}
				hole := int64(math.MaxInt64)
				if err == nil {
					hole, err = e.File.SeekHole(data)
				}
				if err != nil {
					yield(Run{}, err)
					return
				}
				hole = min(hole, end)
				if !yield(Run{e.Off + data - e.FileOff, e.Off + hole - e.FileOff}, nil) {
					return
				}
				at = hole
			}
		}
	}
}

// LastByte is the offset after the last byte of [from, to) that is not zero, from if there is none.
// Holes cost nothing.
func LastByte(file disk.File, from, to int64) (int64, error) {
	return disk.LastNonZero(file, from, to)
}

// Written is how many bytes Runs yields in all, and their metadata.
func (c *Content) Written() (int64, error) {
	var sum int64
	for r, err := range c.Runs() {
		if err != nil {
			return 0, err
		}
		sum += r.To - r.From
	}
	if c.BlockMeta.File != nil {
		sum += c.metaOff(sum)
	}
	return sum, nil
}

// Pieces reads [from, to) in pieces of up to size bytes, zeroes too, and hands them to fn.
func (c *Content) Pieces(from, to, size int64, fn func(off int64, b []byte) error) error {
	buf := make([]byte, min(size, max(0, to-from)))
	for at := from; at < to; {
		b := buf[:min(size, to-at)]
		clear(b)
		for e, err := range c.Data(at, at+int64(len(b))) {
			if err != nil {
				return err
			}
			if err := ReadFull(e.File, b[e.Off-at:e.Off-at+e.Len], e.FileOff); err != nil {
				return err
			}
		}
		if err := fn(at, b); err != nil {
			return err
		}
		at += int64(len(b))
	}
	return nil
}
