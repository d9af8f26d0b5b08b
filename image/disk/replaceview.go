package disk

import (
	"io/fs"
	"path/filepath"
	"slices"
)

// View is the file system as it will be when r is published.
func (r *Replacement) View() FS {
	v := &viewFS{FS: r.FS, temp: map[string]string{}}
	for _, p := range r.parts {
		v.temp[filepath.Clean(p.name)] = p.temp
	}
	return v
}

// viewFS finds files under the names that they will have.
type viewFS struct {
	FS
	temp map[string]string
}

func (v *viewFS) real(name string) string {
	if t, ok := v.temp[filepath.Clean(name)]; ok {
		return t
	}
	return name
}

func (v *viewFS) Open(name string, mode Mode, perm fs.FileMode) (File, error) {
	return v.FS.Open(v.real(name), mode, perm)
}

func (v *viewFS) Stat(name string) (fs.FileInfo, error) { return v.FS.Stat(v.real(name)) }

func (v *viewFS) Lstat(name string) (fs.FileInfo, error) { return v.FS.Lstat(v.real(name)) }

// List has the names that the files will have instead of those that they have.
func (v *viewFS) List(dir string) ([]string, error) {
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
