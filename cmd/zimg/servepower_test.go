//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// servedWriter writes to a served image as a host over NVMe/TCP.
type servedWriter struct {
	do func(op uint8, lba uint64, dw12, dw13 uint32, data []byte) error
}

// connectWriter connects a host.
func connectWriter(t *testing.T, s *served) servedWriter {
	t.Helper()
	c, err := connectHost(s, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return servedWriter{func(op uint8, lba uint64, dw12, dw13 uint32, data []byte) error {
		cpl, err := c.IO[0].Do(zoneCommand(op, lba, dw12, dw13), data, nil)
		if err != nil {
			return err
		}
		if st := statusField(cpl); st != 0 {
			return fmt.Errorf("command %#x at LBA %d: status %#x", op, lba, st)
		}
		return nil
	}}
}

const (
	hostFlush, hostWrite, hostSend, hostAppend = 0, 1, 0x79, 0x7D

	hostFUA = 1 << 30
)

// load is what a host does in these tests, until a command fails; the comments are the points of a recording.
func (w servedWriter) load() error {
	data := func(c byte) []byte { return bytes.Repeat([]byte{c}, 4096) }
	for _, c := range []struct {
		op         uint8
		lba        uint64
		dw12, dw13 uint32
		data       []byte
	}{
		{hostWrite, 0, 0, 0, data('a')},          // write:1
		{hostAppend, 256, 0, 0, data('b')},       // write:2, at LBA 256
		{hostFlush, 0, 0, 0, nil},                // flush:1
		{hostWrite, 1, 0, 0, data('c')},          // write:3
		{hostAppend, 256, hostFUA, 0, data('d')}, // write:4, at LBA 257
		{hostSend, 0, 0, 4, nil},                 // write:5, the reset of zone 0
		{hostWrite, 0, 0, 0, data('e')},          // write:6
		{hostSend, 512, 0, 2, nil},               // zone 2 is finished
		{hostWrite, 258, 0, 0, data('f')},        // write:7
	} {
		if err := w.do(c.op, c.lba, c.dw12, c.dw13, c.data); err != nil {
			return err
		}
	}
	return nil
}

// contents are the first characters of the blocks that are written, by zone.
func contents(t *testing.T, path string, zones int) string {
	t.Helper()
	var words []string
	for i := range zones {
		lines := strings.Split(strings.TrimSpace(zimg(t, "report", "-o", "csv", "--zone", fmt.Sprint(i), path)), "\n")
		word := strings.Split(lines[len(lines)-1], ",")[3][:1]
		for lba := i * 256; ; lba++ {
			out := zimg(t, "read", "--lba", fmt.Sprint(lba), "--count", "1", path)
			if out[0] == 0 {
				break
			}
			word += out[:1]
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

// A recording of a served image makes the images of all points; FUA, the reset and the finish are in it. The image
// itself ends as it would without.
func TestServeRecord(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, rec := filepath.Join(dir, "d.zimg"), filepath.Join(dir, "rec")
	zimg(t, "create", "-q", "--zones", "4", "--zone-size", "1M", "--block-size", "4096", path)
	s := startServing(t, "-q", "--nqn", serveNQN, "--record", rec, path)
	w := connectWriter(t, s)
	if err := errors.Join(w.load(), w.do(hostFlush, 0, 0, 0, nil)); err != nil { // flush:2
		t.Fatal(err)
	}
	if code := s.end(syscall.SIGTERM); code != 0 {
		t.Fatalf("exit %d\n%s", code, s)
	}
	list := zimg(t, "crash", "--list", rec)
	for _, want := range []string{
		"write:2       namespace 1 zone 1: write of 4096 bytes at 1048576\n", "flush:1\n", "write:4       namespace 1 zone 1: write of 4096 bytes at 1052672 (FUA)\n",
		"write:5       namespace 1 zone 0: reset\n", "              namespace 1 zone 2: finish\n", "7 writes, ",
	} {
		if !strings.Contains(list, want) {
			t.Errorf("no %q in\n%s", want, list)
		}
	}
	for _, c := range []struct{ at, unflushed, want string }{
		{"write:2", "drop", "e e e e"},
		{"write:2", "keep", "ca cb e e"},
		{"flush:1", "drop", "ca cb e e"},
		{"write:4", "drop", "ca cbd e e"},
		{"write:4", "keep", "cac cbd e e"},
		{"write:5", "drop", "e cbd e e"},
		{"write:7", "drop", "e cbd f e"},
		{"write:7", "keep", "ce cbdf f e"},
		{"flush:2", "drop", "ce cbdf f e"},
	} {
		dst := filepath.Join(t.TempDir(), "c.zimg")
		zimg(t, "crash", "--at", c.at, "--unflushed", c.unflushed, rec, dst)
		if got := contents(t, dst, 4); got != c.want {
			t.Errorf("%s, %s: %s, want %s", c.at, c.unflushed, got, c.want)
		}
		zimg(t, "check", "--data", dst)
	}
	last := filepath.Join(dir, "last.zimg")
	zimg(t, "crash", "--at", "flush:2", rec, last)
	zimg(t, "compare", last, path)
	if out := zimg(t, "crash", "--every", "write", "--unflushed", "torn", "--run", s.bin+" check --data {}", rec); !strings.Contains(out, "7 write points, 0 failed") {
		t.Error(out)
	}
	if _, errs, code := zimgStatus("serve", "--record", rec, path); code != 1 || !strings.Contains(errs, "exist") {
		t.Errorf("a recording is overwritten: exit %d\n%s", code, errs)
	}
}

// The power of a served image is cut at a point, or by zimg power-cut: the service ends, its host is not answered, the
// image is clean and what zimg crash makes of a recording of the same.
func TestServePowerCut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ spec, at, want string }{
		{"flush:1", "", "ca cb e e"},
		{"write:4,keep", "", "cac cbd e e"},
		{"write:7,drop,seed=7", "", "e cbd f e"},
		{"request", "", "e cbd f e"},
		{"", "write:3", "ca cb e e"},
	} {
		t.Run(c.spec+c.at, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, "d.zimg")
			zimg(t, "create", "-q", "--zones", "4", "--zone-size", "1M", "--block-size", "4096", path)
			args := []string{"--nqn", serveNQN}
			if c.spec != "" {
				args = append(args, "--power-cut", c.spec)
			}
			s := startServing(t, append(args, path)...)
			w := connectWriter(t, s)
			if c.at != "" {
				if _, errs, code := zimgStatus("power-cut", path); code != 1 || !strings.Contains(errs, "--power-cut request") {
					t.Errorf("a drive that is not ready: exit %d\n%s", code, errs)
				}
				zimg(t, "power-cut", "--at", c.at, path)
			}
			err := w.load()
			if c.spec == "request" {
				if err != nil {
					t.Fatal(err)
				}
				zimg(t, "power-cut", path)
			} else if err == nil {
				t.Error("everything was answered")
			}
			if code := s.wait(); code != 0 {
				t.Errorf("exit %d", code)
			}
			if !regexp.MustCompile(`d\.zimg: power cut after write \d+ and flush \d+: unflushed writes are (kept|dropped)`).MatchString(s.String()) {
				t.Errorf("output:\n%s", s)
			}
			if got := contents(t, path, 4); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			zimg(t, "check", "--data", path)
			for _, left := range []string{path + ".zctl", path + ".zlive"} {
				if _, err := os.Lstat(left); !os.IsNotExist(err) {
					t.Errorf("%s is left: %v", left, err)
				}
			}
		})
	}
}
