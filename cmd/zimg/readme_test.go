//go:build unix

package main

import (
	"errors"
	"os"
	"os/exec"
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
	commands := 0
	for _, part := range strings.Split(tour, "```console\n")[1:] {
		block, _, _ := strings.Cut(part, "```")
		for _, one := range strings.Split("\n"+block, "\n$ ")[1:] {
			line, want, _ := strings.Cut(one, "\n")
			want = strings.TrimSuffix(want, "\n")
			out, err := exec.Command("sh", "-c", line).CombinedOutput()
			if err != nil && !errors.As(err, new(*exec.ExitError)) {
				t.Fatal(err)
			}
			if got := strings.TrimSuffix(string(out), "\n"); got != want {
				t.Errorf("$ %s\n%s\nthe README says\n%s", line, got, want)
			}
			commands++
		}
	}
	if commands < 12 {
		t.Errorf("a tour of %d commands", commands)
	}
}
