package disk

import (
	"errors"
	"fmt"
)

// Mapping is the beginning of a file as memory. What is stored in B is in the file: other readers of the file see it,
// and it is there after the process has died. It survives a power failure only after a Sync of the file.
//
// Where files cannot be mapped B is plain memory and Wrote writes it to the file, so a program must call Wrote after
// each change and need not know which of the two it has.
type Mapping struct {
	B       []byte
	through File // to be written by Wrote; nil where B is the file
	unmap   func([]byte) error
}

// Mapper is implemented by files that can be mapped into memory.
type Mapper interface {
	// Map maps the first length bytes, which must exist. It returns ErrUnsupported where that is not possible.
	Map(length int64) (*Mapping, error)
}

// NewMapping returns a Mapping of b; unmap, if not nil, is called by Close.
func NewMapping(b []byte, unmap func([]byte) error) *Mapping { return &Mapping{B: b, unmap: unmap} }

// Map maps the first length bytes of file, which must exist. The space for them must have been allocated, or storing
// in the mapping may end the process with SIGBUS when the disk is full.
func Map(file File, length int64) (*Mapping, error) {
	if m, ok := file.(Mapper); ok {
		mapping, err := m.Map(length)
		if !errors.Is(err, ErrUnsupported) {
			return mapping, err
		}
	}
	b := make([]byte, length)
	if n, err := file.ReadAt(b, 0); int64(n) < length {
		return nil, fmt.Errorf("%s: %w", file.Name(), err)
	}
	return &Mapping{B: b, through: file}, nil
}

// Wrote says that n bytes of B from off on have changed. It costs nothing where B is the file itself.
func (m *Mapping) Wrote(off, n int) error {
	if m.through == nil {
		return nil
	}
	_, err := m.through.WriteAt(m.B[off:off+n], int64(off))
	return err
}

// Close ends the mapping, not the file; B must not be used any more.
func (m *Mapping) Close() error {
	b := m.B
	m.B = nil
	if m.unmap == nil || b == nil {
		return nil
	}
	return m.unmap(b)
}
