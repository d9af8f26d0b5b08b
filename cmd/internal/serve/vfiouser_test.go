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
	case <-time.After(10 * time.Second):
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
