package disk

import "errors"

// ErrNotZoned is wrapped by the error of opening something that is no zoned block device.
var ErrNotZoned = errors.New("not a zoned block device")

// BlockZone is a zone as the kernel reports it (include/uapi/linux/blkzoned.h), in sectors of
// 512 bytes.
type BlockZone struct {
	Start, Len, WP, Cap uint64
	Type, Cond          uint8
	Reset               bool // reset recommended
}

// ZoneOp is a zone management operation of a device.
type ZoneOp int

// The operations.
const (
	ResetZones ZoneOp = iota
	OpenZones
	CloseZones
	FinishZones
)

// Geometry is what the kernel says of a zoned block device.
type Geometry struct {
	BlockSize          int    // logical
	ZoneSectors        uint64 // of 512 bytes
	Zones              uint64
	MaxOpen, MaxActive uint64 // 0 for no limit
}

// ZonedDevice is an open zoned block device. Its I/O goes past the page cache.
type ZonedDevice interface {
	File
	Geometry() Geometry
	// Report fills zones from the one that holds sector on, and returns how many.
	Report(sector uint64, zones []BlockZone) (int, error)
	// Manage applies op to the zones in [sector, sector+count), sectors of 512 bytes.
	Manage(op ZoneOp, sector, count uint64) error
}
