package qemu

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zimg/image"
	"zimg/image/imagetest"
	"zimg/image/zns"
	"zimg/layout"
)

// paused starts a QEMU with the image attached and nobody in it.
func paused(t *testing.T, im *image.Image, command ...string) *stock {
	t.Helper()
	return pausedWith(t, im, nil, command...)
}

// pausedWith is paused with properties of the controller.
func pausedWith(t *testing.T, im *image.Image, controllers [][]Property, command ...string) *stock {
	t.Helper()
	imagetest.NeedsPrograms(t, "QEMU")
	if command == nil {
		command = []string{"qemu-system-x86_64", "-nodefaults", "-display", "none", "-accel", "tcg"}
	}
	s, err := newSession(Config{Images: []*image.Image{im}, Stderr: os.Stderr, Command: command, Controllers: controllers})
	if err != nil {
		t.Fatal(err)
	}
	d := s.drives.(*stock)
	d.traced = false
	if s.private, err = newPrivate(d.fileSizes()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.private.remove() })
	if err := s.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.end)
	return d
}

func restore(c *Controller, im *image.Image) error { return c.Restore(im, false) }

func open(t *testing.T, path string) *image.Image {
	t.Helper()
	im, err := image.Open(path, image.Options{Write: true, ForceShare: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = im.Close() })
	return im
}

// Every state that a drive can be in goes into a real QEMU and comes out of it
// as it is after a power-up; the image keeps what QEMU cannot set.
func TestRestoreAndCapture(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "d.zimg")
	spec := imagetest.Standard(layout.Trailing)
	if err := spec.Create(nil, path); err != nil {
		t.Fatal(err)
	}
	im, out := open(t, path), open(t, path)
	s := paused(t, im)
	if err := s.each(restore); err != nil {
		t.Fatal(err)
	}
	if err := s.each(func(c *Controller, _ *image.Image) error { return c.Capture(out) }); err != nil {
		t.Fatal(err)
	}
	for k, n := range out.Namespaces() {
		i := uint64(0)
		for z, err := range n.All(0, n.ZoneCount) {
			if err != nil {
				t.Fatal(err)
			}
			if want := zns.AtRest(n.Namespace, spec.Zone(k, i)); z != want {
				t.Errorf("namespace %d zone %d: %+v, want %+v", n.ID, i, z, want)
			}
			i++
		}
	}
	ext, err := out.Namespaces()[0].Extension(8)
	if err != nil || !strings.HasPrefix(string(ext), "an extension\x00") {
		t.Errorf("extension %q, %v", ext, err)
	}
}

// More zones than a queue has entries, or a report room for.
func TestManyZones(t *testing.T) {
	t.Parallel()
	const zones = 10000
	path := filepath.Join(t.TempDir(), "d.zimg")
	n := layout.Namespace{ID: 1, CSI: layout.ZNS, BlockBits: 12, Blocks: zones * 16, ZoneCount: zones, ZoneSize: 16, ZoneCap: 12, MAR: layout.NoLimit, MOR: layout.NoLimit}
	table := &layout.ZoneSlice{}
	for i := range uint64(zones) {
		z := n.EmptyZone(i)
		switch i % 4 {
		case 1, 2:
			z.State = layout.Closed
			z.WP += layout.LBA(i%11 + 1)
			z.Written = z.WP
		case 3:
			z.State, z.WP = layout.Full, layout.NoWP
		}
		table.Table = append(table.Table, z)
	}
	if err := image.Create(path, image.CreateOptions{Namespaces: []image.NamespaceSpec{{Namespace: n}}, Zones: []layout.Zones{table}}); err != nil {
		t.Fatal(err)
	}
	im, out := open(t, path), open(t, path)
	s := paused(t, im)
	if err := s.each(restore); err != nil {
		t.Fatal(err)
	}
	if err := s.each(func(c *Controller, _ *image.Image) error { return c.Capture(out) }); err != nil {
		t.Fatal(err)
	}
	a, err := imagetest.Zones(im)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := imagetest.Zones(out); err != nil || a != b {
		t.Errorf("what comes out is not what went in (%v)", err)
	}
}

// A zone that a command is not for makes the error that the specification has for it.
func TestCommandFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "d.zimg")
	spec := imagetest.Standard(layout.Trailing)
	if err := spec.Create(nil, path); err != nil {
		t.Fatal(err)
	}
	s := paused(t, open(t, path))
	err := s.each(func(c *Controller, _ *image.Image) error {
		return c.run(&c.io, []command{zoneSend(1, zns.ActionClose, 0, false)}, 0)
	})
	if !errors.Is(err, zns.InvalidTransition) {
		t.Errorf("close of an Empty zone: %v", err)
	}
	err = s.each(func(c *Controller, _ *image.Image) error { return c.run(&c.io, writeZeroes(1, 90, 10), 0) })
	if !errors.Is(err, zns.ZoneInvalidWrite) {
		t.Errorf("a write off the write pointer: %v", err)
	}
	var refused *QMPError
	if err := s.qmp.Do("no-such-command", nil, nil); !errors.As(err, &refused) || refused.Class != "CommandNotFound" {
		t.Errorf("%v", err)
	}
	if _, err := s.qtest.send("nonsense"); err == nil {
		t.Error("qtest takes nonsense")
	}
}

// Somebody who says nothing, and somebody who says something else.
func TestNoQEMU(t *testing.T) {
	a, b := net.Pipe()
	defer func() { _ = b.Close() }()
	if _, err := NewQMP(a, 100*time.Millisecond, time.Second, nil); !errors.Is(err, ErrTimeout) {
		t.Errorf("silence: %v", err)
	}
	c, d := net.Pipe()
	go func() { _ = d.Close() }()
	if _, err := NewQMP(c, time.Second, time.Second, nil); !errors.Is(err, ErrQEMUGone) || !strings.Contains(err.Error(), "QEMU has exited") {
		t.Errorf("a closed connection: %v", err)
	}
	e, f := net.Pipe()
	go func() { _, _ = f.Write([]byte("{\"return\": {}}\n")) }()
	if _, err := NewQMP(e, time.Second, time.Second, nil); err == nil || !strings.Contains(err.Error(), "not a QMP greeting") {
		t.Errorf("no greeting: %v", err)
	}
}

func TestCallerArgs(t *testing.T) {
	for _, c := range []struct {
		args string
		want callerArgs
		err  string
	}{
		{"qemu-system-x86_64 -m 1G -nographic", callerArgs{}, ""},
		{"wrapper -S", callerArgs{paused: true}, ""},
		{"env -S qemu-system-x86_64", callerArgs{}, ""},
		{"gdb -D x -d y /usr/bin/qemu-system-aarch64 -S", callerArgs{paused: true}, ""},
		{"q -append -S -m 1G", callerArgs{}, ""},
		{"q -no-reboot", callerArgs{noReboot: true}, ""},
		{"q -no-reboot -action reboot=reset", callerArgs{}, ""},
		{"q -action panic=pause,reboot=shutdown", callerArgs{noReboot: true, panic: "pause"}, ""},
		{"q -action panic=exit-failure -action watchdog=poweroff", callerArgs{panic: "exit-failure", watchdog: "poweroff"}, ""},
		{"q -watchdog-action reset", callerArgs{watchdog: "reset"}, ""},
		{"q -D log -d int", callerArgs{log: true, file: "log"}, ""},
		{"q -trace pci_nvme_*,file=log", callerArgs{log: true, file: "log"}, ""},
		{"q -no-shutdown", callerArgs{stays: true}, ""},
		{"q -action shutdown=pause", callerArgs{stays: true}, ""},
		{"q -action shutdown=pause -action shutdown=poweroff", callerArgs{}, ""},
		{"q -serial tcp::1,server", callerArgs{waits: true}, ""},
		{"q -serial tcp::1,server=on,wait=off", callerArgs{}, ""},
		{"q -chardev socket,id=a,path=b,server=on,wait=on", callerArgs{waits: true}, ""},
		{"q --daemonize", callerArgs{}, "-daemonize: zimg has to outlive QEMU to save the zones; put zimg itself in the background instead"},
		{"q -M q35 -device pxb-pcie,id=p", callerArgs{machine: "q35", expander: true}, ""},
		{"q -machine accel=tcg,type=virt -device {\"driver\":\"pxb-pcie\"}", callerArgs{machine: "virt", expander: true}, ""},
		{"q -device pxb,id=p", callerArgs{expander: true}, ""},
		{"q -snapshot", callerArgs{}, "-snapshot"},
		{"q -qtest x", callerArgs{}, "-qtest: QEMU has one qtest socket, and zimg needs it"},
		{"q -loadvm x", callerArgs{}, "zones of its own past"},
		{"q -preconfig", callerArgs{}, "-preconfig is not supported: QEMU creates drives only after its user continues"},
	} {
		got, err := parseCallerArgs(strings.Fields(c.args))
		if c.err == "" && (err != nil || got != c.want) {
			t.Errorf("%s: %+v, %v; want %+v", c.args, got, err, c.want)
		}
		if c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: %v, want %q", c.args, err, c.err)
		}
	}
}

// A drive names the root bus only where there are others, on which a device without a bus could end up.
func TestRootBus(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"q -M q35":                                   "",
		"q -M q35,smm=on -device pxb-pcie,id=p":      "pcie.0",
		"q -M pc-q35-7.2 -device pxb-pcie,id=p":      "pcie.0",
		"q -machine virt-10.0 -device pxb-pcie":      "pcie.0",
		"q -device pxb,id=p":                         "pci.0",
		"q -machine pc-i440fx-7.2 -device pxb":       "pci.0",
		"q -device virtio-blk,id=pxb -M q35":         "",
		"q -M q35 -device {\"driver\":\"pxb-pcie\"}": "pcie.0",
	} {
		c, err := parseCallerArgs(strings.Fields(args))
		if err != nil || c.rootBus() != want {
			t.Errorf("%s: bus %q, %v; want %q", args, c.rootBus(), err, want)
		}
	}
}
