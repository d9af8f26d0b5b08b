//go:build linux

package disk_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"zimg/image/disk"
)

// anything lets every file be replaced.
func anything(*disk.Target) error { return nil }

func replace(t *testing.T, name, text string) {
	t.Helper()
	r := &disk.Replacement{FS: disk.OS, Policy: anything, Like: disk.DefaultAccess}
	file, err := r.Create(name)
	if err == nil {
		_, err = file.WriteAt([]byte(text), 0)
	}
	if err == nil {
		err = r.Publish()
	}
	if err := r.Abandon(err); err != nil {
		t.Fatal(err)
	}
}

func names(t *testing.T, dir string) string {
	t.Helper()
	list, err := disk.OS.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(list, " ")
}

// What a killed process has left is removed by the next replacement of that name; what a living one makes is not, nor
// what only looks alike.
func TestReplaceStale(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, "a")
	for _, n := range []string{".a.01234567.tmp", ".a.0123456.tmp", ".a.0123456x.tmp", ".ab.01234567.tmp", "a.01234567.tmp"} {
		if err := os.WriteFile(filepath.Join(dir, n), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	living := &disk.Replacement{FS: disk.OS, Policy: anything}
	file, err := living.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	temp := filepath.Base(file.Name())
	replace(t, name, "new")
	if got, want := names(t, dir), strings.Join([]string{".a.0123456.tmp", ".a.0123456x.tmp", temp, ".ab.01234567.tmp", "a", "a.01234567.tmp"}, " "); !sameWords(got, want) {
		t.Errorf("there is %s, want %s", got, want)
	}
	if err := living.Abandon(nil); err != nil {
		t.Error(err)
	}
	if strings.Contains(names(t, dir), temp) {
		t.Errorf("%s is left", temp)
	}
}

func sameWords(a, b string) bool {
	count := map[string]int{}
	for _, w := range strings.Fields(a) {
		count[w]++
	}
	for _, w := range strings.Fields(b) {
		count[w]--
	}
	for _, n := range count {
		if n != 0 {
			return false
		}
	}
	return true
}

// The new file has mode, owner and group of the one that it replaces.
func TestReplaceAccess(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), strings.Repeat("n", 250)) // as long as names may be, nearly
	if err := os.WriteFile(name, nil, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(name, 0o640), chownAsRoot(name, 1234, 2345)); err != nil {
		t.Fatal(err)
	}
	before, err := disk.LikeName(disk.OS, name)
	if err != nil {
		t.Fatal(err)
	}
	replace(t, name, "new")
	if after, err := disk.LikeName(disk.OS, name); err != nil || after != before {
		t.Errorf("%+v, %v; was %+v", after, err, before)
	}
}

// chownAsRoot gives name to another user, if this process may.
func chownAsRoot(name string, uid, gid int) error {
	if os.Geteuid() != 0 {
		return nil
	}
	return os.Chown(name, uid, gid)
}

// Of several files all are replaced or none, and the target is locked until it has lost its name.
func TestReplaceAllOrNone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	replace(t, a, "old a")
	r := &disk.Replacement{FS: disk.OS, Policy: anything}
	for _, name := range []string{a, b} {
		if _, err := r.Create(name); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := disk.OpenLocked(disk.OS, a, disk.ReadOnly, disk.LockRead); !errors.Is(err, disk.ErrLocked) {
		t.Errorf("the file to be replaced can be locked: %v", err)
	}
	if err := os.WriteFile(b, []byte("mine"), 0o600); err != nil { // taken meanwhile
		t.Fatal(err)
	}
	err := r.Abandon(r.Publish())
	if !errors.Is(err, fs.ErrExist) || strings.Contains(err.Error(), ".tmp") {
		t.Errorf("%v", err)
	}
	for name, want := range map[string]string{a: "old a", b: "mine"} {
		if got, err := os.ReadFile(name); err != nil || string(got) != want {
			t.Errorf("%s holds %q, %v; want %q", name, got, err, want)
		}
	}
	if got := names(t, dir); got != "a b" {
		t.Errorf("there is %s", got)
	}
}

// A symbolic link stands for what it leads to, one after another, and a loop is an error.
func TestResolve(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	actual := filepath.Join(dir, "real", "file")
	err := errors.Join(os.MkdirAll(filepath.Dir(actual), 0o700), os.WriteFile(actual, nil, 0o600),
		os.Symlink("real", filepath.Join(dir, "folder")),
		os.Symlink("../folder/file", filepath.Join(dir, "real", "one")),
		os.Symlink("real/one", filepath.Join(dir, "two")),
		os.Symlink("nothing", filepath.Join(dir, "dangling")),
		os.Symlink("loop", filepath.Join(dir, "loop")))
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.Stat(actual)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"two", "folder/one", "real/one", "real/file"} {
		got, err := disk.Resolve(disk.OS, filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Lstat(got); err != nil || !os.SameFile(info, want) {
			t.Errorf("%s leads to %s, %v", name, got, err)
		}
	}
	if got, err := disk.Resolve(disk.OS, filepath.Join(dir, "dangling")); err != nil || got != filepath.Join(dir, "nothing") {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := disk.Resolve(disk.OS, filepath.Join(dir, "loop")); err == nil || errors.Is(err, syscall.ENOENT) {
		t.Errorf("a loop: %v", err)
	}
}

// A replacement does not begin, or does not end, where names lead to files that it must not take.
func TestReplaceRefusals(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	if err := errors.Join(os.WriteFile(a, []byte("old"), 0o600), os.Link(a, b)); err != nil {
		t.Fatal(err)
	}
	r := &disk.Replacement{FS: disk.OS, Policy: anything, Like: disk.DefaultAccess}
	if _, err := r.Create(a); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Create(b); err == nil || err.Error() != a+" and "+b+" are the same file" {
		t.Errorf("two names of one file: %v", err)
	}
	if err := errors.Join(os.Remove(b), os.Rename(a, b), os.WriteFile(a, []byte("another"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := r.Abandon(r.Publish()); err == nil || err.Error() != "another program has replaced or removed "+a {
		t.Errorf("a file that came between: %v", err)
	}
	if got, err := os.ReadFile(a); err != nil || string(got) != "another" {
		t.Errorf("%q, %v", got, err)
	}
	if got := names(t, dir); got != "a b" {
		t.Errorf("left: %s", got)
	}
}
