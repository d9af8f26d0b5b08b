//go:build unix

package main

import (
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// result is what the table and the JSON show; times are in seconds.
type result struct {
	Name   string  `json:"name"`
	Other  string  `json:"against,omitempty"`
	Zimg   sample  `json:"zimg"`
	Theirs *sample `json:"other,omitempty"`
	Ratio  float64 `json:"ratio,omitempty"`
	Floor  float64 `json:"floor-seconds,omitempty"`
	Goal   string  `json:"goal,omitempty"`
	Met    bool    `json:"met"`
}

type sample struct {
	Min    float64 `json:"min-seconds"`
	Median float64 `json:"median-seconds"`
	Max    float64 `json:"max-seconds"`
	PeakKB int64   `json:"peak-kib"`
}

type bench struct {
	dir     string
	machine *machine
}

// sh runs a line and returns its wall time, the peak memory of what it ran in KiB and, if keep is set, what it printed. A
// shell is only started for lines that need one.
func (b *bench) sh(line string, keep bool) (time.Duration, int64, string, error) {
	words := strings.Fields(line)
	if strings.ContainsAny(line, "'\"$|<>;") {
		words = []string{"sh", "-ec", line}
	}
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Dir = b.dir
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = io.Discard, &stderr
	if keep {
		cmd.Stdout = &stdout
	}
	start := time.Now()
	err := cmd.Run()
	took := time.Since(start)
	if err != nil {
		return 0, 0, "", fmt.Errorf("%s: %w: %s", line, err, stderr.String())
	}
	peak := int64(0)
	if ru, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		peak = ru.Maxrss
	}
	return took, peak, stdout.String(), nil
}

// row measures both sides in turns, so that what disturbs one disturbs the other.
func (b *bench) row(r row) (result, error) {
	res := result{Name: r.Name, Other: r.Other, Met: true}
	if r.Prep != "" {
		if _, _, _, err := b.sh(r.Prep, false); err != nil {
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
				if _, _, _, err := b.sh(r.Reset, false); err != nil {
					return res, err
				}
			}
			took, peak, printed, err := b.sh(line, r.Timed)
			if err != nil {
				return res, err
			}
			seconds := took.Seconds()
			if r.Timed {
				if seconds, err = strconv.ParseFloat(strings.TrimSpace(printed), 64); err != nil {
					return res, fmt.Errorf("%s: %w", line, err)
				}
			}
			times[i] = append(times[i], seconds)
			peaks[i] = max(peaks[i], peak)
		}
	}
	res.Zimg = summary(times[0], peaks[0])
	if len(lines) > 1 {
		s := summary(times[1], peaks[1])
		res.Theirs = &s
		res.Ratio = res.Zimg.Median / s.Median
	}
	if r.Moves != (moves{}) {
		res.Floor = b.machine.floor(r.Moves)
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
