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

// DecodeWP reads entry i of the part b of a write-pointer array. The only error is that b has no entry i; it wraps
// ErrDamaged.
func DecodeWP(b []byte, i int) (LBA, error) {
	if i < 0 || i >= len(b)/WPLen {
		return 0, &FieldError{Region: "write-pointer array", Field: "entry", Got: i, Want: len(b) / WPLen, Err: ErrDamaged}
	}
	return LBA(le.Uint64(b[i*WPLen:])), nil
}

// EncodeWP writes entry i of the part b of a write-pointer array. It panics if b has no such entry.
func EncodeWP(b []byte, i int, written LBA) { le.PutUint64(b[i*WPLen:], uint64(written)) }
