package foreign

import (
	"errors"
	"fmt"
	"iter"

	"zimg/image/disk"
	"zimg/layout"
)

// Records is a table of zones of a fixed record length in a file, read as it is asked
// for: a million zones need no memory.
type Records struct {
	File  disk.File
	Off   int64 // of record 0
	Len   int   // of a record, bytes
	Count uint64
	// Decode turns record i into a zone.
	Decode func(i uint64, b []byte) (layout.Zone, error)
	// ExtOff and ExtLen place the extensions, ExtLen 0 for none.
	ExtOff int64
	ExtLen int
}

var _ layout.Zones = (*Records)(nil)

// CheckRoom refuses a table that does not fit its file, before anything is read.
func (r *Records) CheckRoom() error {
	size, err := r.File.Size()
	if err != nil {
		return err
	}
	room := func(what string, off int64, each int) error {
		if each == 0 {
			return nil
		}
		if off < 0 || off > size || r.Count > uint64(size-off)/uint64(each) {
			return Field(r.File, what, "entries", off, r.Count, fmt.Sprintf("at most %d in a file of %d bytes", max(0, size-off)/int64(each), size))
		}
		return nil
	}
	if err := room("zone table", r.Off, r.Len); err != nil {
		return err
	}
	return room("zone descriptor extensions", r.ExtOff, r.ExtLen)
}

// Raw reads record i.
func (r *Records) Raw(i uint64) ([]byte, error) {
	if i >= r.Count {
		return nil, layout.Errorf(layout.ErrRange, "zone %d of %d", i, r.Count)
	}
	b := make([]byte, r.Len)
	return b, ReadFull(r.File, b, r.Off+int64(i)*int64(r.Len))
}

// Zone returns zone i.
func (r *Records) Zone(i uint64) (layout.Zone, error) {
	b, err := r.Raw(i)
	if err != nil {
		return layout.Zone{}, err
	}
	return r.Decode(i, b)
}

// Extension returns the extension of zone i.
func (r *Records) Extension(i uint64) ([]byte, error) {
	if r.ExtLen == 0 {
		return nil, nil
	}
	if i >= r.Count {
		return nil, layout.Errorf(layout.ErrRange, "zone %d of %d", i, r.Count)
	}
	b := make([]byte, r.ExtLen)
	return b, ReadFull(r.File, b, r.ExtOff+int64(i)*int64(r.ExtLen))
}

// perRead is how many records Each reads at a time.
const perRead = 4096

// ErrStop is what a function returns to end Each, which is no error then.
var ErrStop = errors.New("stop")

// Each hands the records from first on to fn as they stand in the file.
func (r *Records) Each(first, count uint64, fn func(i uint64, b []byte) error) error {
	if first > r.Count || count > r.Count-first {
		return layout.Errorf(layout.ErrRange, "zones %d to %d of %d", first, first+count-1, r.Count)
	}
	buf := make([]byte, r.Len*int(min(count, perRead)))
	for i, end := first, first+count; i < end; {
		n := min(end-i, perRead)
		b := buf[:int(n)*r.Len]
		if err := ReadFull(r.File, b, r.Off+int64(i)*int64(r.Len)); err != nil {
			return err
		}
		for ; len(b) > 0; b, i = b[r.Len:], i+1 {
			if err := fn(i, b[:r.Len]); errors.Is(err, ErrStop) {
				return nil
			} else if err != nil {
				return err
			}
		}
	}
	return nil
}

// All yields count zones from first on.
func (r *Records) All(first, count uint64) iter.Seq2[layout.Zone, error] {
	return func(yield func(layout.Zone, error) bool) {
		err := r.Each(first, count, func(i uint64, b []byte) error {
			z, err := r.Decode(i, b)
			if err != nil {
				return err
			}
			if !yield(z, nil) {
				return ErrStop
			}
			return nil
		})
		if err != nil {
			yield(layout.Zone{}, err)
		}
	}
}

// Write writes a table of count records at off, made by encode from the zones in
// order.
func Write(file disk.File, off int64, length int, zones layout.Zones, count uint64, encode func(i uint64, z layout.Zone, b []byte) error) error {
	buf := make([]byte, 0, length*int(min(count, perRead)))
	var i uint64
	flush := func() error {
		_, err := file.WriteAt(buf, off)
		off += int64(len(buf))
		buf = buf[:0]
		return err
	}
	for z, err := range zones.All(0, count) {
		if err != nil {
			return err
		}
		buf = buf[:len(buf)+length]
		b := buf[len(buf)-length:]
		clear(b)
		if err := encode(i, z, b); err != nil {
			return err
		}
		if i++; len(buf) == cap(buf) {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if len(buf) == 0 {
		return nil
	}
	return flush()
}

// WriteExtensions writes the extensions of those zones that have one, each at its place in a
// table of zeroes at off.
func WriteExtensions(file disk.File, off int64, size int, zones layout.Zones, count uint64) error {
	if size == 0 {
		return nil
	}
	var i uint64
	for z, err := range zones.All(0, count) {
		if err != nil {
			return err
		}
		if z.Attrs&layout.ZDEV != 0 {
			ext, err := zones.Extension(i)
			if err != nil {
				return err
			}
			if _, err := file.WriteAt(ext, off+int64(i)*int64(size)); err != nil {
				return err
			}
		}
		i++
	}
	return nil
}

// Mapped is zones with each one changed by a function.
type Mapped struct {
	layout.Zones
	Map func(i uint64, z layout.Zone) layout.Zone
}

// Zone returns zone i as mapped.
func (m *Mapped) Zone(i uint64) (layout.Zone, error) {
	z, err := m.Zones.Zone(i)
	return m.Map(i, z), err
}

// All yields zones as mapped.
func (m *Mapped) All(first, count uint64) iter.Seq2[layout.Zone, error] {
	return func(yield func(layout.Zone, error) bool) {
		i := first
		for z, err := range m.Zones.All(first, count) {
			if err == nil {
				z = m.Map(i, z)
			}
			if !yield(z, err) {
				return
			}
			i++
		}
	}
}
