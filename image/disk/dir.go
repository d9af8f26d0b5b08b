package disk

import "io"

// DirFS is a file system with locks on directories and extended attributes. The functions LockDir and Attribute
// work with any FS.
type DirFS interface {
	FS
	LockDir(path string) (io.Closer, error)
	Attribute(path, name string) ([]byte, error)
}

// LockDir takes a shared lock on the directory path, as flock does, until the result is closed. A program that
// holds the directory exclusively makes it ErrLocked, at once or after the time that the file system was made with
// (Patient). A file system without such locks has nothing to lock.
func LockDir(fsys FS, path string) (io.Closer, error) {
	if d, ok := fsys.(DirFS); ok {
		return d.LockDir(path)
	}
	return noLock{}, nil
}

// noLock is the lock of a file system without locks.
type noLock struct{}

func (noLock) Close() error { return nil }

// Attribute returns the extended attribute name of the file path, nil if it has none. A file system without
// extended attributes has none.
func Attribute(fsys FS, path, name string) ([]byte, error) {
	if d, ok := fsys.(DirFS); ok {
		return d.Attribute(path, name)
	}
	return nil, nil
}

// LockDir waits for the lock.
func (p patientFS) LockDir(path string) (lock io.Closer, err error) {
	err = p.wait.retry(func() error {
		lock, err = p.osFS.LockDir(path)
		return err
	})
	return lock, err
}
