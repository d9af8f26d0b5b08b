package drive

import "sync"

// A scratch is memory for a command that cannot work in its own buffers.
type scratch struct {
	data []byte
	meta []byte
}

// scratches lends memory. How many there are at a time is bounded by the number of queues
// that execute commands.
type scratches struct {
	pool       sync.Pool
	data, meta int // bytes of each
}

// init sizes the memory for the namespaces: the largest transfer or one block, whichever
// is larger, and the metadata of as much.
func (s *scratches) init(d *Drive) {
	s.data = d.MaxTransfer()
	for _, n := range d.ns {
		s.data = max(s.data, int(n.BlockSize()))
		s.meta = max(s.meta, int(n.MS))
	}
	if s.meta > 0 {
		s.meta = max(s.meta, d.MaxTransfer())
	}
	s.pool.New = func() any { return &scratch{data: make([]byte, s.data), meta: make([]byte, s.meta)} }
}

func (s *scratches) get() *scratch  { return s.pool.Get().(*scratch) }
func (s *scratches) put(b *scratch) { s.pool.Put(b) }

// blocks is how many blocks of n fit a scratch at a time.
func (s *scratches) blocks(n *namespace) int {
	most := s.data >> n.BlockBits
	if n.MS > 0 {
		most = min(most, s.meta/int(n.MS))
	}
	return most
}
