//go:build linux

package main

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"zimg/cmd/internal/cli"
)

// A panic in the goroutine of a connection, of whatever kind, ends zimg serve with the message and the exit status of an
// internal error, without a stack trace; and every write that was answered is in the image.
func TestServePanics(t *testing.T) {
	t.Parallel()
	bin, err := exec.LookPath("zimg-buggy")
	if err != nil {
		t.Fatal(err)
	}
	for name, connect := range map[string]func(s *served, path string) (net.Conn, error){
		"NVMe/TCP": func(s *served, _ string) (net.Conn, error) { return s.dial() },
		"control": func(_ *served, path string) (net.Conn, error) {
			return net.Dial("unix", path+".zctl")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, err := os.MkdirTemp("", "zimg-") // a socket needs a short path
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			path := filepath.Join(dir, "d.zimg")
			zimg(t, "create", "-q", "--zones", "4", "--zone-size", "1M", "--block-size", "4096", path)
			s := &served{t: t, bin: bin, args: []string{"--nqn", serveNQN, path}, port: "0", said: filepath.Join(dir, "said")}
			s.start()
			c, err := connectHost(s, 1)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			data := bytes.Repeat([]byte("answered\n"), 4096)[:2*4096]
			if cpl, err := c.IO[0].Do(zoneCommand(1, 256, 1, 0), data, nil); err != nil || cpl.Status != 0 {
				t.Fatalf("write: %+v, %v", cpl, err)
			}
			conn, err := connect(s, path)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			if _, err := conn.Write(bytes.Repeat([]byte{0xFF}, 256)); err != nil {
				t.Fatal(err)
			}
			wantInternalError(t, s)
			zimg(t, "check", "--repair", "-q", path)
			if got := zimg(t, "read", "--zone", "1", path); got != string(data) {
				t.Errorf("the zone has %d bytes: %.40q", len(got), got)
			}
		})
	}
}

// The same of a virtual machine's connection.
func TestServeSocketPanics(t *testing.T) {
	t.Parallel()
	bin, err := exec.LookPath("zimg-buggy")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "zimg-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path, socket := filepath.Join(dir, "d.zimg"), filepath.Join(dir, "vfio-user.sock")
	zimg(t, "create", "-q", "--zones", "4", "--zone-size", "1M", path)
	s := &served{t: t, bin: bin, said: filepath.Join(dir, "said")}
	s.launch("--vfio-user", socket, path)
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write(bytes.Repeat([]byte{0xFF}, 256)); err != nil {
		t.Fatal(err)
	}
	wantInternalError(t, s)
	zimg(t, "check", "--repair", "-q", path)
}

// wantInternalError waits for the end of s, which is to be that of an internal error.
func wantInternalError(t *testing.T, s *served) {
	t.Helper()
	if code := s.wait(); code != cli.ExitInternal {
		t.Errorf("exit status %d, want %d", code, cli.ExitInternal)
	}
	if said := s.String(); !strings.Contains(said, "zimg: internal error: a bug in a connection (zimg/cmd/zimg.(*buggy).Write, internal_test.go:") ||
		strings.Contains(said, "goroutine ") {
		t.Error(said)
	}
}

// Ctrl-\ ends zimg as it ends other programs: without the stacks of Go's goroutines, and not with exit status 2.
func TestServeQuit(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "d.zimg")
	zimg(t, "create", "-q", "--zones", "4", "--zone-size", "1M", path)
	s := startServing(t, "-q", path)
	if code := s.end(syscall.SIGQUIT); code != 128+int(syscall.SIGQUIT) {
		t.Errorf("exit status %d", code)
	}
	if said := s.String(); said != "" {
		t.Error(said)
	}
	zimg(t, "check", "--repair", "-q", path)
}
