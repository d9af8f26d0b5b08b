// Package drivetest helps to test drives: a store without promises, and a host that
// speaks NVMe to a controller without a transport.
package drivetest

import (
	"iter"
	"sync"

	"zimg/image"
	"zimg/image/drive"
	"zimg/layout"
)

// Store is a drive.Store that keeps zones in memory and data in the image. Nothing of it
// survives anything.
type Store struct {
	im *image.Image
	ns map[layout.NSID]*Namespace

	mu      sync.Mutex
	flushes int
	err     error // of the next calls
	peers   uint32
	gone    map[uint32]bool
}

// Connect gives a number to a connection.
func (s *Store) Connect() (uint32, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.peers++
	return s.peers, s.err
}

// Disconnect makes what it noted repeatable.
func (s *Store) Disconnect(peer uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone[peer] = true
}

// NewStore makes a store of the zones that im has.
func NewStore(im *image.Image) (*Store, error) {
	s := &Store{im: im, ns: map[layout.NSID]*Namespace{}, gone: map[uint32]bool{}}
	for _, n := range im.Namespaces() {
		m := &Namespace{n: n, s: s, ext: map[uint64][]byte{}, notes: map[uint64][4]drive.NotedWrite{}}
		s.ns[n.ID] = m
		if !n.Zoned() {
			continue
		}
		for z, err := range n.All(0, n.ZoneCount) {
			if err != nil {
				return nil, err
			}
			m.zones = append(m.zones, z)
		}
		for i := range m.zones {
			if m.zones[i].Attrs&layout.ZDEV == 0 {
				continue
			}
			ext, err := n.Extension(uint64(i))
			if err != nil {
				return nil, err
			}
			m.ext[uint64(i)] = ext
		}
	}
	return s, nil
}

// Namespace returns a namespace of the store.
func (s *Store) Namespace(id layout.NSID) drive.NamespaceStore { return s.ns[id] }

// Flush counts.
func (s *Store) Flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flushes++
	return s.err
}

// Persist is Flush.
func (s *Store) Persist(layout.NSID, layout.LBA) error { return s.Flush() }

// Flushes is how often Flush was called.
func (s *Store) Flushes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.flushes
}

// Fail makes reading, writing and flushing fail with err from now on; nil ends that.
func (s *Store) Fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *Store) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Namespace is a namespace of a Store.
type Namespace struct {
	n     *image.Namespace
	s     *Store
	mu    sync.Mutex
	zones []layout.Zone
	ext   map[uint64][]byte
	notes map[uint64][4]drive.NotedWrite
	locks [16]sync.Mutex
}

// Zone returns zone i.
func (n *Namespace) Zone(i uint64) (layout.Zone, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if i >= uint64(len(n.zones)) {
		return layout.Zone{}, layout.Errorf(layout.ErrRange, "no zone %d", i)
	}
	return n.zones[i], nil
}

// SetZone replaces zone i.
func (n *Namespace) SetZone(i uint64, z layout.Zone) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if z.Written < n.zones[i].Written {
		delete(n.notes, i)
	}
	n.zones[i] = z
	return nil
}

// SetExtension replaces the extension of zone i.
func (n *Namespace) SetExtension(i uint64, ext []byte) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ext[i] = append(make([]byte, 0, n.n.ExtSize()), ext...)
	return nil
}

// Extension returns the extension of zone i.
func (n *Namespace) Extension(i uint64) ([]byte, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if ext, ok := n.ext[i]; ok {
		return ext, nil
	}
	return make([]byte, n.n.ExtSize()), nil
}

// All yields count zones from first on.
func (n *Namespace) All(first, count uint64) iter.Seq2[layout.Zone, error] {
	return func(yield func(layout.Zone, error) bool) {
		for i := first; i < first+count; i++ {
			if z, err := n.Zone(i); !yield(z, err) || err != nil {
				return
			}
		}
	}
}

// Counts counts the zones by state.
func (n *Namespace) Counts() layout.Counts {
	n.mu.Lock()
	defer n.mu.Unlock()
	var c layout.Counts
	for _, z := range n.zones {
		c[z.State.Index()]++
	}
	return c
}

// ReadData reads blocks from lba on.
func (n *Namespace) ReadData(p []byte, lba layout.LBA) error {
	if err := n.s.failure(); err != nil {
		return err
	}
	_, err := n.n.ReadAt(p, int64(n.n.ByteOff(lba)))
	return err
}

// WriteData writes blocks from lba on.
func (n *Namespace) WriteData(p []byte, lba layout.LBA) error {
	if err := n.s.failure(); err != nil {
		return err
	}
	_, err := n.n.WriteAt(p, int64(n.n.ByteOff(lba)))
	return err
}

// metaOff is the place in the data file of the metadata of block lba.
func (n *Namespace) metaOff(lba layout.LBA) int64 {
	return int64(n.n.DataOff+n.n.MetadataOff()) + int64(lba)*int64(n.n.MS)
}

// ReadMeta reads the metadata of blocks from lba on.
func (n *Namespace) ReadMeta(p []byte, lba layout.LBA) error {
	_, err := n.n.File().ReadAt(p, n.metaOff(lba))
	return err
}

// WriteMeta writes the metadata of blocks from lba on.
func (n *Namespace) WriteMeta(p []byte, lba layout.LBA) error {
	_, err := n.n.File().WriteAt(p, n.metaOff(lba))
	return err
}

// Zeroes punches a hole.
func (n *Namespace) Zeroes(lba, blocks layout.LBA) error {
	if err := n.s.failure(); err != nil {
		return err
	}
	off, length := int64(n.n.DataOff+n.n.ByteOff(lba)), int64(n.n.ByteOff(blocks))
	if err := n.n.File().PunchHole(off, length); err != nil || n.n.MS == 0 {
		return err
	}
	return n.n.File().PunchHole(n.metaOff(lba), int64(blocks)*int64(n.n.MS))
}

// Deallocate punches a hole.
func (n *Namespace) Deallocate(lba, blocks layout.LBA) error { return n.Zeroes(lba, blocks) }

// Lock takes the lock of zone i.
func (n *Namespace) Lock(i uint64) { n.locks[i%uint64(len(n.locks))].Lock() }

// Unlock gives it back.
func (n *Namespace) Unlock(i uint64) { n.locks[i%uint64(len(n.locks))].Unlock() }

// SetWritten is SetZone after a write.
func (n *Namespace) SetWritten(i uint64, z layout.Zone, w drive.NotedWrite) error {
	if err := n.SetZone(i, z); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	notes := n.notes[i]
	copy(notes[1:], notes[:])
	notes[0] = w
	n.notes[i] = notes
	return nil
}

// Repeatable reports whether w was noted over a connection that is gone.
func (n *Namespace) Repeatable(i uint64, w drive.NotedWrite) bool {
	n.mu.Lock()
	notes := n.notes[i]
	n.mu.Unlock()
	n.s.mu.Lock()
	defer n.s.mu.Unlock()
	for _, known := range notes {
		if known.Host == w.Host && known.LBA == w.LBA && known.N == w.N && n.s.gone[known.Peer] {
			return true
		}
	}
	return false
}
