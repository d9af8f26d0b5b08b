//go:build unix

package disk

import (
	"errors"
	"io"
	"os"
	"syscall"
)

// LockDir is a shared lock, as flock has it.
func (osFS) LockDir(path string) (io.Closer, error) {
	if err := isFolder(path); err != nil {
		return nil, err
	}
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(dir.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	switch {
	case err == nil:
		return dir, nil
	case errors.Is(err, syscall.EWOULDBLOCK):
		err = &LockError{Name: path, Perm: "consistent read", Shared: true}
	case errors.Is(err, syscall.ENOTSUP), errors.Is(err, syscall.ENOLCK), errors.Is(err, syscall.ENOSYS):
		return dir, nil // a file system without such locks
	default:
		err = pathError("lock", path, err)
	}
	return nil, errors.Join(err, dir.Close())
}
