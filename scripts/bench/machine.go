//go:build unix

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// moves is what a piece of work cannot do without: bytes that are read, from the page cache,
// bytes that have to be on the disk at its end, how often it has to wait for the disk, and one start of a
// process.
type moves struct {
	Read, Written int64
	Syncs         int
}

// machine is what this one is, and how fast it moves bytes.
type machine struct {
	CPU    string  `json:"cpu"`
	Cores  int     `json:"cores"`
	Kernel string  `json:"kernel"`
	FS     string  `json:"file-system"`
	QEMU   string  `json:"qemu"`
	Start  float64 `json:"process-start-seconds"`
	Read   float64 `json:"cached-read-bytes-per-second"`
	Write  float64 `json:"durable-write-bytes-per-second"`
	Sync   float64 `json:"sync-seconds"`
}

// floor is the least time that m takes for w, in seconds.
func (m *machine) floor(w moves) float64 {
	return m.Start + float64(w.Read)/m.Read + float64(w.Written)/m.Write + float64(w.Syncs)*m.Sync
}

const (
	probeLen   = 1 << 30
	probeChunk = 256 << 10
	probeRuns  = 21
)

// measureMachine measures in dir, where the rows run.
func measureMachine(dir string) (*machine, error) {
	m := &machine{CPU: cpu(), Cores: runtime.NumCPU(), Kernel: output("uname", "-sr"), FS: output("stat", "-f", "-c", "%T", dir), QEMU: output("qemu-img", "--version")}
	var err error
	if m.Start, err = median(probeRuns, func() error { return exec.Command("true").Run() }); err != nil {
		return nil, err
	}
	name := filepath.Join(dir, "probe")
	defer func() { _ = os.Remove(name) }()
	wrote, err := median(1, func() error { return writeProbe(name) })
	if err != nil {
		return nil, err
	}
	m.Write = probeLen / wrote
	read, err := median(3, func() error { return readProbe(name) })
	if err != nil {
		return nil, err
	}
	m.Read = probeLen / read
	file, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	block := bytes.Repeat([]byte{1}, 4096)
	m.Sync, err = median(probeRuns, func() error {
		if _, err := file.WriteAt(block, 0); err != nil {
			return err
		}
		return file.Sync()
	})
	return m, errors.Join(err, file.Close())
}

// median is that of the time that fn takes, in seconds.
func median(runs int, fn func() error) (float64, error) {
	var t []float64
	for range runs {
		start := time.Now()
		if err := fn(); err != nil {
			return 0, err
		}
		t = append(t, time.Since(start).Seconds())
	}
	slices.Sort(t)
	return t[len(t)/2], nil
}

func writeProbe(name string) error {
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	b := bytes.Repeat([]byte{1}, probeChunk)
	for range probeLen / probeChunk {
		if _, err := file.Write(b); err != nil {
			return errors.Join(err, file.Close())
		}
	}
	return errors.Join(file.Sync(), file.Close())
}

func readProbe(name string) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	b := make([]byte, probeChunk)
	for {
		if _, err := file.Read(b); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// output is the first line that a command prints, or nothing.
func output(name string, args ...string) string {
	b, err := exec.Command(name, args...).Output()
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return line
}

func cpu() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for line := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func (m *machine) String() string {
	return fmt.Sprintf("%d cores, %s, %s, %s, %s\na process starts in %.1f ms, cached data is read at %.1f GiB/s, durable data written at %.2f GiB/s, a sync takes %.1f ms",
		m.Cores, m.CPU, m.Kernel, m.FS, m.QEMU, 1000*m.Start, m.Read/(1<<30), m.Write/(1<<30), 1000*m.Sync)
}
