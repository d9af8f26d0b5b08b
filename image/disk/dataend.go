package disk

import (
	"errors"
	"io"
	"sync"
)

// Where does data end? A file system's answer (SEEK_DATA, SEEK_HOLE) is no proof that something was written: space that
// is reserved and not written counts as data where pages of it are in the page cache because somebody has read them, and
// file systems without holes call everything data. But what it calls a hole reads as zeroes. So holes are passed over, and
// the rest is read, from the end backwards.

// LastNonZero is the offset after the last byte of [from, to) that is not zero, or from if there is none. Holes are not
// read. It may be called by several goroutines.
func LastNonZero(file File, from, to int64) (int64, error) {
	runs, err := dataRuns(file, from, to)
	if err != nil {
		return from, err
	}
	for i := len(runs) - 1; i >= 0; i-- {
		end, err := lastNonZero(file, runs[i].from, runs[i].to)
		if err != nil || end > runs[i].from {
			return end, err
		}
	}
	return from, nil
}

// InHole reports whether the byte at off is in a hole, as the file system sees it.
func InHole(file File, off int64) (bool, error) {
	data, err := file.SeekData(off)
	if errors.Is(err, io.EOF) {
		return true, nil
	}
	return data > off, err
}

// run is a part of a file that is not a hole.
type run struct{ from, to int64 }

// maxRuns bounds the memory for the runs of a file that is all fragments: beyond it neighbours are taken as one.
const maxRuns = 4096

// dataRuns are the parts of [from, to) that are not holes, in order. With very many of them small holes may be included.
func dataRuns(file File, from, to int64) ([]run, error) {
	var runs []run
	for at := from; at < to; {
		data, err := file.SeekData(at)
		if errors.Is(err, io.EOF) || err == nil && data >= to {
			break
		}
		if err != nil {
			return nil, err
		}
		hole, err := file.SeekHole(data)
		if err != nil {
			return nil, err
		}
		if len(runs) == maxRuns {
			for i := range maxRuns / 2 {
				runs[i] = run{runs[2*i].from, runs[2*i+1].to}
			}
			runs = runs[:maxRuns/2]
		}
		runs = append(runs, run{data, min(hole, to)})
		at = hole
	}
	return runs, nil
}

// LastData is the offset after the last byte of [from, to) that is not in a hole as the file system sees it, or from.
// That is not proof of a write: see above.
func LastData(file File, from, to int64) (int64, error) {
	runs, err := dataRuns(file, from, to)
	if err != nil || len(runs) == 0 {
		return from, err
	}
	return runs[len(runs)-1].to, nil
}

// backBuf is how much is read at a time when reading backwards.
const backBuf = 256 << 10

var backBufs = sync.Pool{New: func() any { b := make([]byte, backBuf); return &b }}

// lastNonZero is LastNonZero without regard to holes.
func lastNonZero(file File, from, to int64) (int64, error) {
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
