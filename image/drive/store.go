package drive

import (
	"zimg/image/zns"
	"zimg/layout"
)

// Store keeps what a drive serves durable. A zone that was set, and data that was
// written, survive the death of the process; what Flush returned after survives the loss
// of power. It is safe for use by many goroutines as far as they work on different zones.
type Store interface {
	Namespace(id layout.NSID) NamespaceStore
	Flush() error
}

// NamespaceStore is a namespace in a Store.
type NamespaceStore interface {
	zns.Store
	Extension(i uint64) ([]byte, error)
	Counts() layout.Counts
	ReadData(p []byte, lba layout.LBA) error
	WriteData(p []byte, lba layout.LBA) error
	ReadMeta(p []byte, lba layout.LBA) error
	WriteMeta(p []byte, lba layout.LBA) error
	// Deallocate makes blocks, and their metadata, read as zeroes.
	Deallocate(lba, blocks layout.LBA) error
	// DiscardZone makes the blocks of a zone from `from` on read as zeroes. The zone was
	// set before it: as long as that is not durable, what a loss of power brings back
	// must still have its data.
	DiscardZone(zone uint64, from layout.LBA) error
}
