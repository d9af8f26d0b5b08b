package disk

import (
	"errors"
	"io/fs"
)

// Access says who may use a file: its permission bits, and its owner and group where
// the operating system has them.
type Access struct {
	Mode     fs.FileMode // permission bits only
	UID, GID int
	Owned    bool // UID and GID are known, and are to be kept
}

// DefaultAccess is what a file gets that is made for its own sake: what the umask leaves, and the owner of
// the process.
var DefaultAccess = Access{Mode: 0o666}

// owner is implemented by the FileInfo of a file system other than the operating system's.
type owner interface{ Owner() (uid, gid int) }

// AccessOf is who may use the file that info describes.
func AccessOf(info fs.FileInfo) Access {
	a := Access{Mode: info.Mode().Perm()}
	if o, ok := info.(owner); ok {
		a.UID, a.GID = o.Owner()
		a.Owned = true
		return a
	}
	a.UID, a.GID, a.Owned = systemOwner(info)
	return a
}

// Like is the access of an open file. What belongs to an image (its sidecar, its snapshots,
// what is kept of it for an undo or a repair) is made with the access of the image, so
// that nobody can read there what the image keeps from him, and its owner can use it also if
// root has made it.
func Like(file File) (Access, error) {
	info, err := file.Stat()
	if err != nil {
		return Access{}, err
	}
	return AccessOf(info), nil
}

// LikeName is Like for a file that is not open.
func LikeName(fsys FS, name string) (Access, error) {
	info, err := fsys.Stat(name)
	if err != nil {
		return Access{}, err
	}
	return AccessOf(info), nil
}

// CommonAccess is the access of a copy of the named files: the permissions that all of them give, and the owner of the
// process, as cp does. Names that are missing or not regular files are left out; without any other it is DefaultAccess.
func CommonAccess(fsys FS, names []string) (Access, error) {
	a, found := Access{Mode: fs.ModePerm}, false
	for _, name := range names {
		info, err := fsys.Stat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return a, err
		case info.Mode().IsRegular():
			a.Mode &= info.Mode().Perm()
			found = true
		}
	}
	if !found {
		return DefaultAccess, nil
	}
	return a, nil
}

// Folder is the access of a folder that belongs to a file of access a: who may read the file may look
// into the folder, and who may write it may add to the folder.
func (a Access) Folder() Access {
	a.Mode |= a.Mode & 0o444 >> 2
	return a
}

// CreateLike makes the file name with access a, for reading and writing. From its first moment on it is no more
// open than that. Name must not exist.
func CreateLike(fsys FS, name string, a Access) (File, error) {
	if !a.Owned {
		return fsys.Open(name, CreateNew, a.Mode)
	}
	file, err := fsys.Open(name, CreateNew, a.Mode&0o600)
	if err != nil {
		return nil, err
	}
	if err := file.SetAccess(a); err != nil {
		_ = file.Close()
		_ = fsys.Remove(name)
		return nil, err
	}
	return file, nil
}

// withoutGroup is a for a file that could not be given to its group: another group gets no
// more than everybody.
func (a Access) withoutGroup() Access {
	a.Mode = a.Mode&^0o070 | a.Mode&(a.Mode&0o007<<3)
	return a
}
