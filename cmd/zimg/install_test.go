//go:build linux

package main

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What is installed is all removed again.
func TestInstall(t *testing.T) {
	t.Parallel()
	zimg, err := program()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	other := filepath.Join(dir, "share/man/man1/other.1")
	if err := errors.Join(os.MkdirAll(filepath.Dir(other), 0o777), os.WriteFile(other, nil, 0o666)); err != nil {
		t.Fatal(err)
	}
	files := func() (list []string) {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				list = append(list, strings.TrimPrefix(path, dir+"/"))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	for _, what := range []string{zimg, "--uninstall"} {
		if out, err := exec.Command("../../scripts/install.sh", dir, what).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if what != zimg {
			continue
		}
		list := files()
		for _, want := range []string{"bin/zimg", "bin/fsck.zimg", "share/man/man7/zimg-json.7", "share/man/man8/fsck.zimg.8", "share/doc/zimg/docs/CRASH.md"} {
			if !slices.Contains(list, want) {
				t.Errorf("%s is not installed", want)
			}
		}
	}
	if left := files(); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}
