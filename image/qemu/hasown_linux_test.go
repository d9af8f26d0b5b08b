package qemu

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// This test binary is also a QEMU that has a drive of zimg's own, or not, under these names. It counts how often it is asked.
const (
	withOwn    = "qemu-system-with"
	withoutOwn = "qemu-system-without"
	brokenOwn  = "qemu-system-broken"
)

func init() {
	name := filepath.Base(os.Args[0])
	if name != withOwn && name != withoutOwn && name != brokenOwn {
		return
	}
	log, err := os.OpenFile(filepath.Join(filepath.Dir(os.Args[0]), "asked"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	fmt.Fprintln(log, strings.Join(os.Args[1:], " "))
	switch name {
	case withOwn:
		fmt.Println("vfio-user-pci options:\n  socket=<SocketAddress>")
		os.Exit(0)
	case withoutOwn:
		fmt.Fprintf(os.Stderr, "%s: -device vfio-user-pci,help: Device 'vfio-user-pci' not found\n", name)
	case brokenOwn:
		fmt.Fprintf(os.Stderr, "%s: error while loading shared libraries\n", name)
	}
	os.Exit(1)
}

// A program is asked once, and again when it was replaced. What is not an answer is not kept, nor is that of a script, which may
// start another program the next time.
func TestHasOwnDriveKeepsAnswers(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, cache := t.TempDir(), filepath.Join(t.TempDir(), "cache", "zimg")
	// By cp: a program that is open for writing here, if only in a process that another test is just starting, cannot be run.
	install := func(name, from string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if out, err := exec.Command("cp", "--remove-destination", from, path).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return path
	}
	asked := func() int {
		b, _ := os.ReadFile(filepath.Join(dir, "asked"))
		return strings.Count(string(b), "-device vfio-user-pci,help\n")
	}
	want := 0
	check := func(what, program, cache string, own, ask bool) {
		t.Helper()
		if ask {
			want++
		}
		got := HasOwnDrive(t.Context(), []string{program, "-m", "1G"}, cache)
		if n := asked(); got != own || n != want {
			t.Fatalf("%s: %v and asked %d times, want %v and %d", what, got, n, own, want)
		}
	}
	with, without, broken := install(withOwn, self), install(withoutOwn, self), install(brokenOwn, self)
	check("the first time", with, cache, true, true)
	check("the second time", with, cache, true, false)
	check("another program", without, cache, false, true)
	check("another program again", without, cache, false, false)
	check("the first program after that", with, cache, true, false)
	check("without a cache", with, "", true, true)
	check("a program that fails", broken, cache, false, true)
	check("a program that fails again", broken, cache, false, true)

	before, err := os.Stat(with)
	if err != nil {
		t.Fatal(err)
	}
	install(withOwn, self)
	if err := os.Chtimes(with, before.ModTime(), before.ModTime()); err != nil {
		t.Fatal(err)
	}
	check("a program that was replaced", with, cache, true, true)
	check("the same again", with, cache, true, false)

	files, err := filepath.Glob(filepath.Join(cache, "*"))
	if err != nil || len(files) != 2 {
		t.Fatalf("%q, %v, want two files", files, err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, b[:len(b)-2], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check("an answer that was cut off", with, cache, true, true)
	check("that was written again", with, cache, true, false)

	text := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(text, []byte("#!/bin/sh\nexec \"${0%/*}/"+withOwn+"\" \"$@\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	script := install("qemu-system-script", text)
	check("a script", script, cache, true, true)
	check("a script again", script, cache, true, true)
	check("a cache that is a file", with, filepath.Join(with, "zimg"), true, true)
}
