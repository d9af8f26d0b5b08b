//go:build unix

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// comparison is a benchmark of a package: its part /zimg against the other part, in seconds an
// operation, medians of some runs.
type comparison struct {
	Name      string  `json:"name"`
	Zimg      float64 `json:"zimg-seconds"`
	Theirs    float64 `json:"other-seconds,omitempty"`
	Ratio     float64 `json:"ratio,omitempty"`
	Allocated int64   `json:"allocated-bytes"`
}

// inProcessRuns is how often each benchmark is run.
const inProcessRuns = 5

// inProcess runs the benchmarks of all packages. They are called BenchmarkWHAT/zimg and
// BenchmarkWHAT/OTHER.
func inProcess(only *regexp.Regexp) ([]comparison, error) {
	if !only.MatchString("in process") {
		return nil, nil
	}
	fmt.Fprintln(os.Stderr, "measuring: in process")
	cmd := exec.Command("go", "test", "-run", "^$", "-bench", ".", "-benchmem", "-benchtime", "0.3s", "-count", strconv.Itoa(inProcessRuns), "./layout", "./image", "./image/zns", "./fsck")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go test -bench: %w: %s%s", err, stderr.String(), out)
	}
	return compare(out)
}

// line is one that go test prints of a benchmark with two parts.
var line = regexp.MustCompile(`^Benchmark(\w+)/([\w-]+?)(?:-\d+)?\s+\d+\s+([\d.]+) ns/op.*?(?:\s(\d+) B/op)?(?:\s+\d+ allocs/op)?$`)

func compare(out []byte) ([]comparison, error) {
	type key struct{ name, part string }
	times := map[key][]float64{}
	allocated := map[string]int64{}
	var names []string
	others := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		m := line.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		ns, err := strconv.ParseFloat(m[3], 64)
		if err != nil {
			return nil, err
		}
		name, part := m[1], m[2]
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
		if part == "zimg" {
			allocated[name], _ = strconv.ParseInt(m[4], 10, 64)
		} else {
			others[name] = part
		}
		times[key{name, part}] = append(times[key{name, part}], ns/1e9)
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	var list []comparison
	for _, name := range names {
		c := comparison{Name: words(name), Zimg: middle(times[key{name, "zimg"}]), Allocated: allocated[name]}
		if other := others[name]; other != "" {
			c.Name += " / " + strings.ReplaceAll(other, "_", " ")
			c.Theirs = middle(times[key{name, other}])
			c.Ratio = c.Zimg / c.Theirs
		}
		list = append(list, c)
	}
	return list, nil
}

func middle(t []float64) float64 {
	slices.Sort(t)
	return t[len(t)/2]
}

// words is a benchmark's name as a person would write it: "DecodeZones" is "decode zones".
func words(name string) string {
	var b strings.Builder
	for i, r := range name {
		if i > 0 && r >= 'A' && r <= 'Z' {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
	}
	return strings.ToLower(b.String())
}
