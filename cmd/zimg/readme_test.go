//go:build unix

package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The README's tour is run line by line, and prints what it says. UPDATE=1 writes what it prints.
func TestReadmeTour(t *testing.T) {
	readme, err := filepath.Abs("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(readme)
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
			got := strings.TrimSuffix(string(out), "\n")
			switch {
			case got == want:
			case os.Getenv("UPDATE") != "":
				old, now := "\n$ "+line+"\n"+want, "\n$ "+line+"\n"+got
				if want == "" {
					old, now = "\n$ "+line, strings.TrimSuffix(now, "\n")
				}
				b = bytes.Replace(b, []byte(old), []byte(now), 1)
			default:
				t.Errorf("$ %s\n%s\nthe README says\n%s", line, got, want)
			}
			commands++
		}
	}
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(readme, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if commands < 12 {
		t.Errorf("a tour of %d commands", commands)
	}
}
