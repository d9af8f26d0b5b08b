package disk

import "errors"

// OpenLocked opens an existing file and locks it. It makes sure that the file still has its name when it is locked, so that
// nobody works on a file that was just replaced by another.
func OpenLocked(fsys FS, name string, mode Mode, lock LockMode) (File, error) {
	for {
		file, err := fsys.Open(name, mode, 0)
		if err != nil || lock == LockNone {
			return file, err
		}
		if err := file.Lock(lock); err != nil {
			return nil, errors.Join(err, file.Close())
		}
		still, err := hasName(fsys, file, name)
		if err == nil && still {
			return file, nil
		}
		if err = errors.Join(err, file.Close()); err != nil {
			return nil, err
		}
	}
}

// hasName reports whether name leads to file.
func hasName(fsys FS, file File, name string) (bool, error) {
	open, err := file.Stat()
	if err != nil {
		return false, err
	}
	named, err := fsys.Stat(name)
	if err != nil {
		return false, ignoreMissing(err)
	}
	return SameFile(open, named), nil
}
