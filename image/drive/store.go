package drive

import (
	"zimg/image/zns"
	"zimg/layout"
)

// Store keeps what a drive serves. Package live has the one that keeps it durable: a zone
// that was set and data that was written survive the death of the process, and what Flush
// returned after survives the loss of power. It is safe for use by many goroutines.
type Store interface {
	// Namespace returns a namespace of the image.
	Namespace(id layout.NSID) NamespaceStore
	// Flush makes durable everything that was done before it.
	Flush() error
	// Persist makes durable at least the blocks that a command has just written (Force Unit Access): the one that began
	// at lba. Nobody needs more of it.
	Persist(id layout.NSID, lba layout.LBA) error
	// Connect gives a number to an association with a host, for NotedWrite. After
	// Disconnect, or in another process, what it noted can be repeated.
	Connect() (peer uint32, err error)
	Disconnect(peer uint32)
}

// NamespaceStore is a namespace in a Store. Data of a zone is written under the zone's lock,
// before the zone is set.
type NamespaceStore interface {
	zns.Store
	// SetWritten is SetZone after a write that the host may have to repeat.
	SetWritten(i uint64, z layout.Zone, w NotedWrite) error
	// Repeatable reports whether w was noted of zone i, its answer may have been lost, and
	// its blocks are still those that were written.
	Repeatable(i uint64, w NotedWrite) bool
	Extension(i uint64) ([]byte, error)
	Counts() layout.Counts

	// Lock takes the lock of zone i; a goroutine holds one at a time. SetZone does not
	// take it.
	Lock(i uint64)
	Unlock(i uint64)

	ReadData(p []byte, lba layout.LBA) error
	WriteData(p []byte, lba layout.LBA) error
	ReadMeta(p []byte, lba layout.LBA) error
	WriteMeta(p []byte, lba layout.LBA) error
	// Zeroes writes blocks, and their metadata, as zeroes.
	Zeroes(lba, blocks layout.LBA) error
	// Deallocate is Zeroes for a namespace without zones.
	Deallocate(lba, blocks layout.LBA) error
}

// A NotedWrite is a write to a zone, as it is remembered until its answer cannot be lost
// any more.
type NotedWrite struct {
	Host uint64 // of the host, the same when it connects again; never 0
	Peer uint32 // of the association, from Connect
	LBA  uint64 // the first block
	N    uint32 // number of blocks
}

// zoneStore is the store as the state machine of a namespace sees it: a zone that is set by
// a write is set together with the note of the write. It is guarded as the machine is.
type zoneStore struct {
	NamespaceStore
	noted bool // the next SetZone of zone is noted as note
	zone  uint64
	note  NotedWrite
}

// SetZone replaces zone i.
func (s *zoneStore) SetZone(i uint64, z layout.Zone) error {
	if s.noted && i == s.zone {
		return s.SetWritten(i, z, s.note)
	}
	return s.NamespaceStore.SetZone(i, z)
}
