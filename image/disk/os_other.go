//go:build !linux

package disk

func (f *osFile) Sync() error { return f.file.Sync() }

func (f *osFile) punch(_, _ int64) error { return ErrUnsupported }

func (f *osFile) Allocate(_, _ int64) error {
	return pathError("allocate", f.Name(), ErrUnsupported)
}

func (f *osFile) Reserve(_, _ int64) error {
	return pathError("reserve", f.Name(), ErrUnsupported)
}

func (f *osFile) SeekData(off int64) (int64, error) { return f.seekDense(off) }

func (f *osFile) SeekHole(off int64) (int64, error) { return f.seekDenseEnd(off) }

func (f *osFile) AllocatedBytes() (int64, error) { return f.Size() }

func renameNoReplace(_, _ string) error { return ErrUnsupported }

func (f *osFile) copyFrom(src *osFile, srcOff, off, length int64, progress func(n int64) error) error {
	return CopyByHand(f, src, srcOff, off, length, progress)
}
