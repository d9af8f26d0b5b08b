//go:build linux

package main

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// With -no-shutdown, which libvirt always gives, a guest that has shut down stays: its zones are saved, and it may be
// started again, or ended.
func TestRunNoShutdown(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "q")
	b := startBoxed(t, smallImage(t), nil, nil, serial(t, "-no-shutdown", "-qmp", "unix:"+socket+",server=on,wait=off"), nil)
	b.await(b.console, "READY", 1)
	q := dialQMP(t, socket)
	for n := 2; n <= 3; n++ { // started again at once, as libvirt does for a reboot
		b.typed("o")
		b.await(b.console, "<o>", n-1)
		eventually(t, "a stopped guest", func() bool { return strings.Contains(q.do("query-status"), `"running": false`) })
		if n == 3 {
			break
		}
		q.do("system_reset")
		q.do("cont")
		b.await(b.console, "READY", n)
	}
	// Saved, and ended by its user.
	eventually(t, "the reset after it", func() bool { return strings.Contains(q.do("query-status"), `"prelaunch"`) })
	eventually(t, "the image in use", func() bool { return b.findQEMU() == 0 || zimgState(t, b.path) == "in use" })
	if err := syscall.Kill(b.findQEMU(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	b.end(0, syscall.SIGTERM)
	b.saved()
}

// With -no-shutdown, somebody who starts the guest again before zimg has saved its zones gets it started.
func TestRunNoShutdownEarlyCont(t *testing.T) {
	t.Parallel()
	path := smallImage(t)
	zimg(t, "zone", "finish", path, "0")
	before := zimg(t, "report", "--output", "csv", path)
	socket := filepath.Join(t.TempDir(), "q")
	b := startBoxed(t, path, nil, nil, serial(t, "-no-shutdown", "-qmp", "unix:"+socket+",server=on,wait=off"), nil)
	q := dialQMP(t, socket)
	b.await(b.console, "READY", 1)
	for n := 1; n <= 5; n += 2 {
		b.signal(syscall.SIGSTOP)
		b.typed("o")
		q.event("SHUTDOWN")
		q.do("system_reset")
		eventually(t, "a machine that was reset", func() bool { return !strings.Contains(q.do("cont"), `"error"`) })
		b.await(b.console, "READY", n+1)
		b.signal(syscall.SIGCONT)
		b.await(b.console, "READY", n+2) // it starts over, since zimg has stopped it
	}
	if state := zimgState(t, path); state != "in use" {
		t.Errorf("state: %s", state)
	}
	b.signal(syscall.SIGTERM)
	b.end(0, syscall.SIGTERM)
	b.saved()
	if got := zimg(t, "report", "--output", "csv", path); got != before {
		t.Errorf("the zones have changed:\n%s\nwant\n%s", got, before)
	}
}

// A guest that would stay after a shutdown does not when zimg was sent a signal: the caller wants QEMU to end, and soon.
func TestRunNoShutdownEnded(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		ignores bool
		want    string
	}{
		"powers down":        {false, "asking the guest to power down"},
		"ignores the button": {true, "the guest has not powered down: saving the zones"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := startBoxed(t, smallImage(t), nil, nil, serial(t, "-no-shutdown"), nil)
			b.await(b.console, "READY", 1)
			if c.ignores {
				b.ignoresButton()
			}
			b.signal(syscall.SIGTERM)
			b.end(0, syscall.SIGTERM)
			b.await(b.stderr, c.want, 1)
			b.saved()
		})
	}
}
