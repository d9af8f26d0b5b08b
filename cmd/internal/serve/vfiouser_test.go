//go:build linux

package serve

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"zimg/image"
	"zimg/image/disk"
	"zimg/image/imagetest"
	"zimg/layout"
)

// A socket is for its owner alone; one that a killed process left is taken over, others are not. The end of the
// service ends its clients, and the image is clean.
func TestSockets(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, socket := filepath.Join(dir, "disk.zimg"), filepath.Join(dir, "s")
	spec := imagetest.Standard(layout.Trailing)
	if err := spec.Create(disk.OS, path); err != nil {
		t.Fatal(err)
	}
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	_ = stale.Close()
	d, err := OpenDisk(t.Context(), Image{Path: path}, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ListenVFIOUser([]*Disk{d}, []string{socket}, false, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v, %v", info.Mode(), err)
	}
	if _, err := ListenVFIOUser([]*Disk{d}, []string{socket}, false, t.Logf); err == nil {
		t.Error("a socket in use is taken over")
	}
	if _, err := ListenVFIOUser([]*Disk{d}, []string{path}, false, t.Logf); err == nil {
		t.Error("a file is taken for a socket")
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	cancel()
	select {
	case err := <-served:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the service does not end with its client")
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	im, err := image.Open(path, image.Options{})
	if err != nil {
		t.Fatalf("after the service: %v", err)
	}
	_ = im.Close()
}

// Clients that come and go leave nothing.
func TestClientsComeAndGo(t *testing.T) {
	clients := 1000
	if testing.Short() {
		clients = 100
	}
	dir := t.TempDir()
	path, socket := filepath.Join(dir, "disk.zimg"), filepath.Join(dir, "s")
	spec := imagetest.Standard(layout.Trailing)
	if err := spec.Create(disk.OS, path); err != nil {
		t.Fatal(err)
	}
	d, err := OpenDisk(t.Context(), Image{Path: path}, func(string, ...any) {})
	if err != nil {
		t.Fatal(err)
	}
	s, err := ListenVFIOUser([]*Disk{d}, []string{socket}, false, func(string, ...any) {})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	visit := func() {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		// VERSION 0.1, and the answer to it.
		hello := append([]byte{1, 0, 1, 0, 22, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0}, "{}"...)
		if _, err := conn.Write(hello); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(make([]byte, 1024)); err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
	}
	for range 50 {
		visit()
	}
	goroutines, heap := settled(t, 0)
	for range clients {
		visit()
	}
	after, used := settled(t, goroutines)
	t.Logf("%d clients: %d goroutines before, %d after; heap %d KiB before, %d KiB after", clients, goroutines, after, heap>>10, used>>10)
	if after > goroutines || used > heap+2<<20 {
		t.Errorf("%d goroutines, %d before; heap %d bytes, %d before", after, goroutines, used, heap)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}
