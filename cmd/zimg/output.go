package main

import (
	"fmt"
	"os"

	"zimg/image"
	"zimg/image/disk"
)

// createOutput creates or empties the file that a command writes a result to, unless that is an image:
// the names of both are on one command line, and are easily confused.
func createOutput(path string) (*os.File, error) {
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
		f, err := (&foreignOptions{}).find(path, "")
		if err != nil {
			return nil, err
		}
		if f != nil || image.Known(disk.OS, path, "") {
			return nil, &image.HintError{Err: fmt.Errorf("%s: is an image, and would be overwritten", path), Hint: "choose another name, or remove it first"}
		}
	}
	return os.Create(path)
}
