//go:build unix

// Command bench measures zimg side by side with what a user would take
// instead: the same work, in turns, in one run. It prints a table of ratios and writes
// it as JSON; it fails on nothing but commands that fail.
//
//	go run ./scripts/bench [-dir DIR] [-n RUNS] [-json FILE] [-only REGEXP]
//
//	rows.go     whole programs: what is run, against what, and what has to be moved for it
//	measure.go  one row                inprocess.go  the packages' own benchmarks
//	machine.go  how fast this machine moves bytes, and so the least that a row can take
//	print.go    the table and the JSON
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

func main() {
	dir := flag.String("dir", "", "work folder (default: a temporary one in .cache)")
	runs := flag.Int("n", 7, "runs of each side")
	out := flag.String("json", "", "write the results there")
	only := flag.String("only", ".", "rows to run")
	flag.Parse()
	if err := run(*dir, *runs, *out, regexp.MustCompile(*only)); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(dir string, runs int, out string, only *regexp.Regexp) (err error) {
	zimg, err := filepath.Abs("bin/zimg")
	if err != nil {
		return err
	}
	if dir == "" {
		if err := os.MkdirAll(".cache", 0o777); err != nil {
			return err
		}
		if dir, err = os.MkdirTemp(".cache", "bench"); err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
	}
	if err := os.Setenv("PATH", filepath.Dir(zimg)+":"+os.Getenv("PATH")); err != nil {
		return err
	}
	m, err := measureMachine(dir)
	if err != nil {
		return err
	}
	b := &bench{dir: dir, machine: m}
	var results []result
	list := rows
	if only.MatchString(reflinkRow.Name) {
		unmount, err := mountBtrfs(filepath.Join(dir, "btrfs"))
		if err != nil {
			fmt.Fprintf(os.Stderr, "left out: %s: %v\n", reflinkRow.Name, err)
		} else {
			list = append(list, reflinkRow)
			defer unmount()
		}
	}
	for _, r := range list {
		if !only.MatchString(r.Name) {
			continue
		}
		if r.Runs == 0 {
			r.Runs = runs
		}
		fmt.Fprintln(os.Stderr, "measuring:", r.Name)
		res, err := b.row(r)
		if err != nil {
			return fmt.Errorf("%s: %w", r.Name, err)
		}
		results = append(results, res)
	}
	inside, err := inProcess(only)
	if err != nil {
		return err
	}
	return report(m, results, inside, out)
}

// mountBtrfs makes a file system that shares data and mounts it at path, as root.
func mountBtrfs(path string) (unmount func(), err error) {
	line := fmt.Sprintf("truncate -s 12G %[1]s.img; mkfs.btrfs -q %[1]s.img 2>/dev/null; mkdir -p %[1]s; mount -o loop %[1]s.img %[1]s", path)
	if out, err := exec.Command("sh", "-ec", line).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("no btrfs: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return func() { _ = exec.Command("umount", path).Run() }, nil
}
