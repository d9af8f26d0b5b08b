//go:build linux

package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// check -U of an image that is being served does not call the drive dead. When it has been killed check says so.
func TestServeCheckUnlocked(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "d.zimg")
	zimg(t, "create", "-q", "--zones", "4", "--zone-size", "1M", "--block-size", "4096", path)
	s := startServing(t, "-q", "--nqn", serveNQN, path)
	c, err := connectHost(s, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if cpl, err := c.IO[0].Do(zoneCommand(1, 256, 0, 0), bytes.Repeat([]byte{7}, 4096), nil); err != nil || cpl.Status != 0 {
		t.Fatalf("write: %+v, %v", cpl, err)
	}
	if out, errs, code := zimgStatus("check", "-U", "--data", path); code != 0 || !strings.HasPrefix(out, "No errors were found on the image.\n") {
		t.Errorf("served: exit status %d: %s%s", code, out, errs)
	}
	s.end(syscall.SIGKILL)
	for _, args := range [][]string{{"check", path}, {"check", "-U", path}} {
		if out, errs, code := zimgStatus(args...); code != checkWarnings || !strings.Contains(errs, "WARNING drive-died: ") {
			t.Errorf("killed, %s: exit status %d: %s%s", args, code, out, errs)
		}
	}
}
