package qemu

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// asked is the file, in the folder of the program, where this test binary, called by a name that QEMU could have, counts how
// often it is asked for its devices. It answers that it has a drive of zimg's own.
const asked = "asked"

func init() {
	if !isQEMU(os.Args[0]) {
		return
	}
	log, err := os.OpenFile(filepath.Join(filepath.Dir(os.Args[0]), asked), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	fmt.Fprintln(log, strings.Join(os.Args[1:], " "))
	fmt.Println(ownDevice + " options:\n  socket=<SocketAddress>")
	os.Exit(0)
}

// A QEMU that does not contain the name of the device is not started. Whatever may start another program is.
func TestHasOwnDrive(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	// By cp: a program that is open for writing here, if only in a process that another test is just starting, cannot be run.
	install := func(name, from string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if out, err := exec.Command("cp", from, path).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return path
	}
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nexec \"${0%/*}/qemu-system-with\" \"$@\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	with := install("qemu-system-with", self)
	// This test binary contains both texts that are looked for, and these copies do not.
	without := func(name string, texts ...string) string {
		t.Helper()
		path := install(name, self)
		for _, text := range texts {
			if out, err := exec.Command("sed", "-i", "s/"+text+"/"+strings.Repeat("x", len(text))+"/g", path).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}
		return path
	}
	wrapper := install("wrapper", script)
	for _, c := range []struct {
		name    string
		command []string
		own     bool
		asked   int
	}{
		{"a program that has it", []string{with, "-m", "1G"}, true, 1},
		{"a QEMU that cannot have it", []string{without("qemu-system-without", ownDevice)}, false, 0},
		{"a program that starts a QEMU", []string{without("qemu-system-launcher", ownDevice, everyQEMU)}, true, 1},
		{"a script", []string{install("qemu-system-script", script)}, true, 1},
		{"a wrapper that ends in QEMU", []string{wrapper, "-m", "1G"}, true, 1},
		{"a wrapper of a QEMU", []string{"env", with, "-m", "1G"}, true, 1},
		{"no program", []string{filepath.Join(dir, "qemu-system-none")}, false, 0},
	} {
		_ = os.Remove(filepath.Join(dir, asked))
		if own := HasOwnDrive(t.Context(), c.command); own != c.own {
			t.Errorf("%s: %v", c.name, own)
		}
		b, _ := os.ReadFile(filepath.Join(dir, asked))
		if n := strings.Count(string(b), "-device "+ownDevice+",help\n"); n != c.asked {
			t.Errorf("%s: asked %d times, want %d", c.name, n, c.asked)
		}
	}
}

// A text is found wherever it is in a file, also across the pieces that are read.
func TestLacks(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "program")
	places := []int{-1, 10, 1<<20 - 6, 1<<20 - 1, 1 << 20, 1<<20 + 6, 2<<20 - 3, 3<<20 - 7}
	for _, at := range places {
		for _, itself := range places {
			b := make([]byte, 3<<20)
			copy(b, elfMagic)
			if itself >= 0 {
				copy(b[itself:], everyQEMU)
			}
			want := at < 0 && itself >= 0
			if at >= 0 {
				copy(b[at:], "needle")
			}
			if err := os.WriteFile(path, b, 0o700); err != nil {
				t.Fatal(err)
			}
			if got := lacks(path, "needle"); got != want {
				t.Errorf("at %d, in a QEMU by the text at %d: %v", at, itself, got)
			}
		}
	}
	if lacks(filepath.Join(t.TempDir(), "none"), "needle") {
		t.Error("a program that is not there lacks it")
	}
}
