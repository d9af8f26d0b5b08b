package disk

import (
	"errors"
	"io/fs"
	"path/filepath"
)

// maxLinks is how many symbolic links are followed, as many as Linux follows.
const maxLinks = 40

// Resolve is the path of the file that name leads to: name itself unless it is a symbolic link. Names of files that belong to
// an image are made of its resolved path, so that they are the same however the image is called. Name need not
// exist, nor what it links to.
//
// Links in the folders before the last element change nothing about what is beside a file, and are left.
func Resolve(fsys FS, name string) (string, error) {
	r, ok := fsys.(interface {
		Readlink(name string) (string, error)
	})
	if !ok {
		return name, nil
	}
	at := name
	for range maxLinks {
		info, err := fsys.Lstat(at)
		if errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode()&fs.ModeSymlink == 0 {
			return at, nil
		}
		if err != nil {
			return "", err
		}
		to, err := r.Readlink(at)
		if err != nil {
			return "", err
		}
		if !filepath.IsAbs(to) {
			to = beside(fsys, filepath.Dir(at), to)
		}
		at = to
	}
	return "", pathError("open", name, errors.New("too many levels of symbolic links"))
}

// beside is the path of what is called name seen from dir. "dir/../x" is shortened only if dir is no link itself.
func beside(fsys FS, dir, name string) string {
	long, short := dir+string(filepath.Separator)+name, filepath.Join(dir, name)
	a, err := fsys.Lstat(long)
	if err != nil {
		return long
	}
	b, err := fsys.Lstat(short)
	if err != nil || !SameFile(a, b) {
		return long
	}
	return short
}
