package disk

import (
	"errors"
	"io/fs"
	"path/filepath"
)

// ErrNotOwn is wrapped by the refusal to follow a name that a file's contents
// gave to something that the user did not name.
var ErrNotOwn = errors.New("not a file of its own")

// notOwnError is an ErrNotOwn that says why.
type notOwnError struct{ text string }

func (e *notOwnError) Error() string        { return e.text }
func (e *notOwnError) Is(target error) bool { return target == ErrNotOwn }

// CheckBeside accepts the entry called name of the folder dir if it is a regular
// file. It is for names that come from files, which may come from a stranger: a
// symbolic link could lead to any file of the host, and a device is opened only
// if the user names it. The caller has made sure that name has no separators.
func CheckBeside(fsys FS, dir, name string) error {
	path := filepath.Join(dir, name)
	info, err := fsys.Lstat(path)
	if err != nil {
		return err
	}
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return &notOwnError{path + " is a symbolic link; only names given by the user may be links"}
	case !info.Mode().IsRegular():
		return &notOwnError{path + " is not a regular file and is only opened if the user names it"}
	}
	return nil
}

// OpenBeside opens the file called name in the folder dir, if CheckBeside accepts it.
func OpenBeside(fsys FS, dir, name string, mode Mode) (File, error) {
	if err := CheckBeside(fsys, dir, name); err != nil {
		return nil, err
	}
	return fsys.Open(filepath.Join(dir, name), mode, 0)
}
