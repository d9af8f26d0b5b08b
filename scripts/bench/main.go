//go:build unix

// Command bench measures zimg side by side with what a user would take
// instead: the same work, in turns, in one run. It prints a table of ratios and writes
// it as JSON; it fails on nothing but commands that fail.
//
//	go run ./scripts/bench [-dir DIR] [-n RUNS] [-json FILE] [-only REGEXP]
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

// row is one comparison. Commands are run by sh, in the work folder.
type row struct {
	Name  string
	Prep  string  // once, before the first run
	Reset string  // before every run of either side, not measured
	Zimg  string  // what is measured
	Other string  // what it is measured against; empty for an absolute number
	Goal  float64 // of the ratio of medians, 0 for none
	Limit float64 // of the median in seconds, 0 for none
	Runs  int     // 0 for the default
}

// result is what the table and the JSON show; times are in seconds.
type result struct {
	Name   string  `json:"name"`
	Other  string  `json:"against,omitempty"`
	Zimg   sample  `json:"zimg"`
	Theirs *sample `json:"other,omitempty"`
	Ratio  float64 `json:"ratio,omitempty"`
	Goal   string  `json:"goal,omitempty"`
	Met    bool    `json:"met"`
}

type sample struct {
	Min    float64 `json:"min-seconds"`
	Median float64 `json:"median-seconds"`
	Max    float64 `json:"max-seconds"`
	PeakKB int64   `json:"peak-kib"`
}

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

func run(dir string, runs int, out string, only *regexp.Regexp) error {
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
	b := &bench{dir: dir, env: append(os.Environ(), "PATH="+filepath.Dir(zimg)+":"+os.Getenv("PATH"))}
	var results []result
	for _, r := range rows {
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
	table(os.Stdout, results)
	if out == "" {
		return nil
	}
	j, err := json.MarshalIndent(results, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(out, append(j, '\n'), 0o666)
}

type bench struct {
	dir string
	env []string
}

// sh runs a shell line and tells its wall time and the peak memory of what it ran.
func (b *bench) sh(line string) (time.Duration, int64, error) {
	cmd := exec.Command("sh", "-ec", line)
	cmd.Dir, cmd.Env = b.dir, b.env
	var stderr strings.Builder
	cmd.Stdout, cmd.Stderr = io.Discard, &stderr
	start := time.Now()
	err := cmd.Run()
	took := time.Since(start)
	if err != nil {
		return 0, 0, fmt.Errorf("%s: %w: %s", line, err, stderr.String())
	}
	peak := int64(0)
	if ru, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		peak = ru.Maxrss
	}
	return took, peak, nil
}

// row measures both sides in turns, so that what disturbs one disturbs the other.
func (b *bench) row(r row) (result, error) {
	res := result{Name: r.Name, Other: r.Other, Met: true}
	if r.Prep != "" {
		if _, _, err := b.sh(r.Prep); err != nil {
			return res, err
		}
	}
	lines := []string{r.Zimg}
	if r.Other != "" {
		lines = append(lines, r.Other)
	}
	times := make([][]float64, len(lines))
	peaks := make([]int64, len(lines))
	for range r.Runs {
		for i, line := range lines {
			if r.Reset != "" {
				if _, _, err := b.sh(r.Reset); err != nil {
					return res, err
				}
			}
			took, peak, err := b.sh("exec " + line)
			if err != nil {
				return res, err
			}
			times[i] = append(times[i], took.Seconds())
			peaks[i] = max(peaks[i], peak)
		}
	}
	res.Zimg = summary(times[0], peaks[0])
	if len(lines) > 1 {
		s := summary(times[1], peaks[1])
		res.Theirs = &s
		res.Ratio = res.Zimg.Median / s.Median
	}
	if r.Goal > 0 {
		res.Goal = fmt.Sprintf("<= %.2f", r.Goal)
		res.Met = res.Ratio <= r.Goal
	}
	if r.Limit > 0 {
		res.Goal = fmt.Sprintf("<= %.2f s", r.Limit)
		res.Met = res.Zimg.Median <= r.Limit
	}
	return res, nil
}

func summary(t []float64, peak int64) sample {
	slices.Sort(t)
	return sample{Min: t[0], Median: t[len(t)/2], Max: t[len(t)-1], PeakKB: peak}
}

func table(w io.Writer, results []result) {
	const form = "%-44s %10s %10s %10s %8s %10s %7s %9s  %s\n"
	fmt.Fprintf(w, form, "work", "min ms", "median", "max", "MiB", "other ms", "ratio", "goal", "")
	for _, r := range results {
		ms := func(s float64) string { return fmt.Sprintf("%.1f", 1000*s) }
		other, ratio, met := "-", "-", ""
		if r.Theirs != nil {
			other, ratio = ms(r.Theirs.Median), fmt.Sprintf("%.2f", r.Ratio)
		}
		if r.Goal != "" {
			met = "met"
			if !r.Met {
				met = "MISSED"
			}
		}
		fmt.Fprintf(w, form, r.Name, ms(r.Zimg.Min), ms(r.Zimg.Median), ms(r.Zimg.Max), fmt.Sprint(r.Zimg.PeakKB/1024), other, ratio, r.Goal, met)
	}
}
