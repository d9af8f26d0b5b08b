package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

const (
	copyChunk = 1 << 20 // bytes read, then written
	zeroChunk = 64 << 10
)

var zeroes [zeroChunk]byte

// mover copies up to n bytes that are data and returns how many: not 0 without an error.
type mover func(srcOff, off, n int64) (int64, error)

// CopyByHand is File.CopyFrom by reading and writing, for a dst that has nothing
// better. It leaves out holes, and pieces of 64 KiB that are zero: some sources cannot
// report their holes.
func CopyByHand(dst io.WriterAt, src File, srcOff, off, length int64, progress func(n int64) error) error {
	return copyExtents(src, srcOff, off, length, handMover(dst, src), progress)
}

func handMover(dst io.WriterAt, src io.ReaderAt) mover {
	var buf []byte
	return func(srcOff, off, n int64) (int64, error) {
		n = min(n, copyChunk)
		if int64(len(buf)) < n {
			buf = make([]byte, n)
		}
		read, err := src.ReadAt(buf[:n], srcOff)
		if int64(read) < n {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return 0, err
		}
		for at := int64(0); at < n; {
			// As many non-zero pieces at once as there are in a row.
			end := at
			for end < n && !isZero(buf[end:min(end+zeroChunk, n)]) {
				end = min(end+zeroChunk, n)
			}
			if end > at {
				if _, err := dst.WriteAt(buf[at:end], off+at); err != nil {
					return at, err
				}
			}
			at = min(end+zeroChunk, n)
		}
		return n, nil
	}
}

func isZero(b []byte) bool { return bytes.Equal(b, zeroes[:len(b)]) }

// copyExtents gives the data of the range to move and skips its holes.
func copyExtents(src File, srcOff, off, length int64, move mover, progress func(n int64) error) error {
	size, err := src.Size()
	if err != nil {
		return err
	}
	if srcOff < 0 || off < 0 || length < 0 || srcOff > size || length > size-srcOff {
		return fmt.Errorf("copy of %d bytes at %d of %s, which has %d: %w", length, srcOff, src.Name(), size, io.ErrUnexpectedEOF)
	}
	tell := func(n int64) error {
		if progress == nil || n == 0 {
			return nil
		}
		return progress(n)
	}
	for done := int64(0); done < length; {
		data, err := src.SeekData(srcOff + done)
		if errors.Is(err, io.EOF) {
			return tell(length - done)
		}
		if err != nil {
			return err
		}
		skip := min(data-srcOff, length) - done
		if err := tell(skip); err != nil {
			return err
		}
		if done += skip; done == length {
			return nil
		}
		hole, err := src.SeekHole(data)
		if err != nil {
			return err
		}
		for end := min(hole-srcOff, length); done < end; {
			n, err := move(srcOff+done, off+done, end-done)
			if err != nil {
				return err
			}
			if err := tell(n); err != nil {
				return err
			}
			done += n
		}
	}
	return nil
}
