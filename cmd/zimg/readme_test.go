package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// The README's tour is run line by line, and prints what it says.
func TestReadmeTour(t *testing.T) {
	b, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok1 := strings.Cut(string(b), "<!-- tour -->")
	tour, _, ok2 := strings.Cut(rest, "<!-- end of tour -->")
	if !ok1 || !ok2 {
		t.Fatal("the README has no tour")
	}
	t.Chdir(t.TempDir())
	if err := os.WriteFile("data.bin", bytes.Repeat([]byte("data"), 5120), 0o666); err != nil {
		t.Fatal(err)
	}
	commands := 0
	for _, part := range strings.Split(tour, "```console\n")[1:] {
		block, _, _ := strings.Cut(part, "```")
		for _, one := range strings.Split("\n"+block, "\n$ ")[1:] {
			line, want, _ := strings.Cut(one, "\n")
			want = strings.TrimSuffix(want, "\n")
			args := strings.Fields(line)
			if args[0] != "zimg" {
				t.Fatalf("%q is not a zimg command", line)
			}
			out, errs, _ := zimgStatus(args[1:]...)
			if got := strings.TrimSuffix(out+errs, "\n"); got != want {
				t.Errorf("$ %s\n%s\nthe README says\n%s", line, got, want)
			}
			commands++
		}
	}
	if commands < 12 {
		t.Errorf("a tour of %d commands", commands)
	}
}
