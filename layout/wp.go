package layout

// WPLen is the length of an entry of a write-pointer array: the zone's
// Written, an LBA.
const WPLen = 8

// How many entries fit a block of each table. Both divide it, so that no entry
// crosses into the next block.
const (
	DescriptorsPerBlock = BlockLen / DescriptorSize
	WPsPerBlock         = BlockLen / WPLen
)

// DecodeWP reads entry i of the write-pointer array block b.
func DecodeWP(b []byte, i int) LBA { return LBA(le.Uint64(b[i*WPLen:])) }

// EncodeWP writes entry i of the write-pointer array block b.
func EncodeWP(b []byte, i int, written LBA) { le.PutUint64(b[i*WPLen:], uint64(written)) }
