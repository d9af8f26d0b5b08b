//go:build !unix

package disk

import (
	"io/fs"
	"os"
)

func systemOwner(fs.FileInfo) (uid, gid int, ok bool) { return 0, 0, false }

func setAccess(file *os.File, a Access) error { return nil }

func mkdir(name string, a Access) error { return os.Mkdir(name, a.Mode.Perm()) }
