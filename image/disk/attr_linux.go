package disk

import (
	"errors"

	"golang.org/x/sys/unix"
)

// maxAttribute is the longest extended attribute that is read, in bytes.
const maxAttribute = 256

// Attribute is an extended attribute of a file, not followed if that is a symbolic link.
func (osFS) Attribute(path, name string) ([]byte, error) {
	b := make([]byte, maxAttribute)
	var n int
	err := again(func() (err error) {
		n, err = unix.Lgetxattr(path, name, b)
		return err
	})
	switch {
	case err == nil:
		return b[:n], nil
	case errors.Is(err, unix.ENODATA), errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.ERANGE):
		return nil, nil
	}
	return nil, pathError("getxattr", path, err)
}
