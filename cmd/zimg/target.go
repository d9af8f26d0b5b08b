package main

import "path/filepath"

// target is what path is a symbolic link to, or path itself. What is made, replaced or moved to another layout
// is the file and not the link, and what belongs to it goes beside the file.
func target(path string) string {
	if to, err := filepath.EvalSymlinks(path); err == nil {
		return to
	}
	return path
}
