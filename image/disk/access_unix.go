//go:build unix

package disk

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func systemOwner(info fs.FileInfo) (uid, gid int, ok bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, false
	}
	return int(st.Uid), int(st.Gid), true
}

// setAccess changes the owner first: that takes permission bits away. Only root may give a file to another
// user; for anybody else the file stays his own, and the permissions do not let in a group that the original keeps out.
func setAccess(file *os.File, a Access) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	have := AccessOf(info)
	if a.Owned && (have.UID != a.UID || have.GID != a.GID) {
		err := file.Chown(a.UID, a.GID)
		if refused(err) && have.GID != a.GID {
			if err = file.Chown(-1, a.GID); refused(err) {
				a = a.withoutGroup()
			}
		}
		if err != nil && !refused(err) {
			return err
		}
	}
	if info, err = file.Stat(); err != nil {
		return err
	}
	if info.Mode().Perm() == a.Mode.Perm() {
		return nil
	}
	return file.Chmod(a.Mode.Perm())
}

// refused reports whether err says that this process, or this file system, cannot set an owner.
func refused(err error) bool {
	return errors.Is(err, unix.EPERM) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EOPNOTSUPP)
}

// mkdir makes a folder and opens it for the change of its owner, so that no link that somebody puts in
// its place is followed.
func mkdir(name string, a Access) error {
	if err := os.Mkdir(name, a.Mode.Perm()); err != nil || !a.Owned {
		return err
	}
	dir, err := os.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err == nil {
		err = errors.Join(setAccess(dir, a), dir.Close())
	}
	if err != nil {
		_ = os.Remove(name)
	}
	return err
}
