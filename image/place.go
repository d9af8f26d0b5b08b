package image

import (
	"zimg/image/disk"
	"zimg/layout"
)

// Vacant refuses the name path for a new image of trailing layout, as Create does: what has it is
// replaced with force only, and not if it is in use or no file.
func Vacant(fsys disk.FS, path string, force bool) error {
	return vacant(fsys, []string{path}, CreateOptions{Layout: layout.Trailing, Force: force}, false)
}

// Place gives the finished image at temp, of trailing layout and in the same folder, the name path, if that is
// vacant.
func Place(fsys disk.FS, temp, path string, force bool) error {
	if err := Vacant(fsys, path, force); err != nil {
		return err
	}
	rename := fsys.RenameNew
	if force {
		rename = fsys.Rename
	}
	if err := rename(temp, path); err != nil {
		return err
	}
	return fsys.SyncDir(path)
}
