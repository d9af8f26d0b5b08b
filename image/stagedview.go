package image

import (
	"io/fs"
	"path/filepath"
	"slices"

	"zimg/image/disk"
)

// view is the file system as it will be when st is published.
func (s *staging) view() disk.FS {
	v := &stagedFS{FS: s.fs, temp: map[string]string{}}
	for i, n := range s.names {
		v.temp[filepath.Clean(n)] = s.temps[i]
	}
	return v
}

// stagedFS finds files under the names that they will have.
type stagedFS struct {
	disk.FS
	temp map[string]string
}

func (v *stagedFS) real(name string) string {
	if t, ok := v.temp[filepath.Clean(name)]; ok {
		return t
	}
	return name
}

func (v *stagedFS) Open(name string, mode disk.Mode, perm fs.FileMode) (disk.File, error) {
	return v.FS.Open(v.real(name), mode, perm)
}

func (v *stagedFS) Stat(name string) (fs.FileInfo, error) { return v.FS.Stat(v.real(name)) }

func (v *stagedFS) Lstat(name string) (fs.FileInfo, error) { return v.FS.Lstat(v.real(name)) }

// List has the names that the files will have instead of those that they have.
func (v *stagedFS) List(dir string) ([]string, error) {
	names, err := v.FS.List(dir)
	if err != nil {
		return nil, err
	}
	hide := map[string]bool{}
	var more []string
	for name, temp := range v.temp {
		if filepath.Dir(name) == filepath.Clean(dir) {
			hide[filepath.Base(temp)], hide[filepath.Base(name)] = true, true
			more = append(more, filepath.Base(name))
		}
	}
	names = append(slices.DeleteFunc(names, func(n string) bool { return hide[n] }), more...)
	slices.Sort(names)
	return names, nil
}
