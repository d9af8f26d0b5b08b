package disk

import (
	"errors"
	"io"
	"io/fs"
)

// overlayFile is an open lower file with its changes. What is not overridden is that of the lower file.
type overlayFile struct {
	File
	over     *overlaid
	readOnly bool
}

// Lower is the file below, open for reading only, without any changes.
func (f *overlayFile) Lower() File { return f.File }

// Size is the length with all changes.
func (f *overlayFile) Size() (int64, error) {
	f.over.mu.RLock()
	defer f.over.mu.RUnlock()
	return f.over.size, nil
}

// ReadAt reads.
func (f *overlayFile) ReadAt(b []byte, off int64) (int, error) {
	o := f.over
	o.mu.RLock()
	defer o.mu.RUnlock()
	if off < 0 {
		return 0, pathError("read", f.Name(), errors.New("negative offset"))
	}
	want := len(b)
	b = b[:max(0, min(int64(want), o.size-off))]
	done := 0
	for done < len(b) {
		at := off + int64(done)
		up := o.present(at / overlayBlock)
		end := at
		for end < off+int64(len(b)) && o.present(end/overlayBlock) == up {
			end = (end/overlayBlock + 1) * overlayBlock
		}
		part := b[done:min(int64(len(b)), end-off)]
		if err := f.readPart(part, at, up); err != nil {
			return done, err
		}
		done += len(part)
	}
	if done < want {
		return done, io.EOF
	}
	return done, nil
}

// readPart reads what is in one of the two files; what neither has is zeroes.
func (f *overlayFile) readPart(b []byte, off int64, up bool) error {
	file, length := f.File, f.over.lower
	if up {
		file, length = f.over.upper, f.over.size
	}
	n := max(0, min(int64(len(b)), length-off))
	clear(b[n:])
	if n == 0 {
		return nil
	}
	if _, err := file.ReadAt(b[:n], off); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// copyUp copies the block at off to the upper file, if it is not there. over.mu is held for writing.
func (f *overlayFile) copyUp(off int64) error {
	block := off / overlayBlock
	if f.over.present(block) {
		return nil
	}
	b := make([]byte, overlayBlock)
	if err := f.readPart(b, block*overlayBlock, false); err != nil {
		return err
	}
	b = b[:max(0, min(overlayBlock, f.over.size-block*overlayBlock))]
	if _, err := f.over.upper.WriteAt(b, block*overlayBlock); err != nil {
		return err
	}
	f.over.mark(block, block+1)
	return nil
}

// edges copies up the blocks that a change of length bytes at off covers in part, and grows the file. It returns the
// blocks that the change touches.
func (f *overlayFile) edges(off, length int64) (first, end int64, err error) {
	o := f.over
	o.mu.Lock()
	defer o.mu.Unlock()
	first, end = off/overlayBlock, (off+length+overlayBlock-1)/overlayBlock
	if off%overlayBlock != 0 {
		if err := f.copyUp(off); err != nil {
			return first, end, err
		}
	}
	if (off+length)%overlayBlock != 0 {
		if err := f.copyUp(off + length); err != nil {
			return first, end, err
		}
	}
	return first, end, nil
}

// WriteAt writes.
func (f *overlayFile) WriteAt(b []byte, off int64) (int, error) {
	if f.readOnly {
		return 0, pathError("write", f.Name(), fs.ErrPermission)
	}
	if off < 0 {
		return 0, pathError("write", f.Name(), errors.New("negative offset"))
	}
	if len(b) == 0 {
		return 0, nil
	}
	first, end, err := f.edges(off, int64(len(b)))
	if err != nil {
		return 0, err
	}
	n, err := f.over.upper.WriteAt(b, off)
	if err != nil {
		return n, err
	}
	f.over.mu.Lock()
	defer f.over.mu.Unlock()
	f.over.mark(first, end)
	f.over.size = max(f.over.size, off+int64(len(b)))
	return n, nil
}

// PunchHole makes a range read as zeroes, within the size of the file.
func (f *overlayFile) PunchHole(off, length int64) error {
	size, err := f.Size()
	if err != nil {
		return err
	}
	length = min(length, size-off)
	if length <= 0 {
		return nil
	}
	first, end, err := f.edges(off, length)
	if err != nil {
		return err
	}
	if err := f.over.upper.PunchHole(off, length); err != nil {
		return err
	}
	f.over.mu.Lock()
	defer f.over.mu.Unlock()
	f.over.mark(first, end)
	return nil
}

// Truncate changes the size; what is added reads as zeroes.
func (f *overlayFile) Truncate(size int64) error {
	o := f.over
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lower = min(o.lower, size)
	if err := o.upper.Truncate(size); err != nil {
		return err
	}
	o.size = size
	return nil
}

// Sync does nothing: nobody misses the changes after a crash.
func (f *overlayFile) Sync() error { return nil }

// Allocate reserves nothing.
func (f *overlayFile) Allocate(int64, int64) error { return ErrUnsupported }

// Reserve reserves nothing.
func (f *overlayFile) Reserve(int64, int64) error { return ErrUnsupported }

// SetAccess does nothing: the lower file stays as it is.
func (f *overlayFile) SetAccess(Access) error { return nil }

// Lock locks the lower file for reading, whatever is asked for.
func (f *overlayFile) Lock(mode LockMode) error {
	return f.File.Lock(min(mode, LockRead))
}

// SeekData is off, or the end.
func (f *overlayFile) SeekData(off int64) (int64, error) {
	size, err := f.Size()
	if err == nil && off >= size {
		err = io.EOF
	}
	return off, err
}

// SeekHole is the end.
func (f *overlayFile) SeekHole(off int64) (int64, error) {
	size, err := f.Size()
	return max(size, off), err
}

// AllocatedBytes is the space that the changes take.
func (f *overlayFile) AllocatedBytes() (int64, error) { return f.over.upper.AllocatedBytes() }

// CopyFrom copies by hand.
func (f *overlayFile) CopyFrom(src File, srcOff, off, length int64, progress func(n int64) error) error {
	return CopyByHand(f, src, srcOff, off, length, progress)
}
