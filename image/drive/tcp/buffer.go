package tcp

import (
	"math/bits"
	"sync"
)

// buffer is memory for the data of one command. Its length is a power of two.
type buffer struct{ b []byte }

const (
	smallest = 12 // 4 KiB
	largest  = 22 // 4 MiB: more than any controller allows
)

// buffers are the buffers that are free, by the logarithm of their length.
var buffers [largest + 1]sync.Pool

func class(n int) int { return max(smallest, bits.Len(uint(n-1))) }

// newBuffer returns a buffer of n bytes or more, with anything in it; n is at most 4 MiB.
func newBuffer(n int) *buffer {
	k := class(n)
	if b, ok := buffers[k].Get().(*buffer); ok {
		return b
	}
	return &buffer{make([]byte, 1<<k)}
}

// free gives b back. It may be nil.
func (b *buffer) free() {
	if b != nil {
		buffers[class(len(b.b))].Put(b)
	}
}
