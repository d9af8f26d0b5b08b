package disk

import (
	"errors"
	"io"
	"sync"
)

// LastData is the offset behind the last data in [from, to) of file, or from.
func LastData(file File, from, to int64) (int64, error) {
	end := from
	for at := from; at < to; {
		data, err := file.SeekData(at)
		if errors.Is(err, io.EOF) || err == nil && data >= to {
			return end, nil
		}
		if err != nil {
			return from, err
		}
		hole, err := file.SeekHole(data)
		if err != nil {
			return from, err
		}
		if hole >= to {
			return LastNonZero(file, from, to)
		}
		end, at = hole, hole
	}
	return end, nil
}

// backBuf is how much is read at a time when reading backwards.
const backBuf = 256 << 10

var backBufs = sync.Pool{New: func() any { b := make([]byte, backBuf); return &b }}

// LastNonZero is the offset behind the last byte of [from, to) that is not zero.
func LastNonZero(file File, from, to int64) (int64, error) {
	p := backBufs.Get().(*[]byte)
	defer backBufs.Put(p)
	// A written zone is known by its last block: begin with little.
	for step := int64(4096); to > from; step = min(2*step, backBuf) {
		b := (*p)[:min(step, to-from)]
		n, err := file.ReadAt(b, to-int64(len(b)))
		if err != nil && !errors.Is(err, io.EOF) {
			return from, err
		}
		clear(b[n:])
		if k := lastByte(b); k >= 0 {
			return to - int64(len(b)) + int64(k) + 1, nil
		}
		to -= int64(len(b))
	}
	return from, nil
}

// lastByte is the index of the last byte of b that is not zero, or -1.
func lastByte(b []byte) int {
	for len(b) >= len(zeroBlock) && string(b[len(b)-len(zeroBlock):]) == string(zeroBlock[:]) {
		b = b[:len(b)-len(zeroBlock)]
	}
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] != 0 {
			return i
		}
	}
	return -1
}

var zeroBlock [4096]byte
