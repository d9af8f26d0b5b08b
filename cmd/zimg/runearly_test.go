//go:build linux

package main

import (
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"zimg/image/imagetest"
)

// earlyConts is how often the guest is started early.
const earlyConts = 8

// Somebody who starts the guest before its zones are restored gets it started when they are.
func TestRunEarlyCont(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "d.zimg")
	zimg(t, "create", "-q", "--zones", "60000", "--zone-size", "64K", path)
	zimg(t, "zone", "finish", path, "0-59999")
	before := zimg(t, "report", "--output", "csv", path)
	rng := rand.New(rand.NewPCG(imagetest.Seed(t), 0))
	for round := range earlyConts {
		socket := filepath.Join(t.TempDir(), "q")
		b := startBoxed(t, path, nil, nil, serial(t, "-S", "-qmp", "unix:"+socket+",server=on,wait=off"), nil)
		q := dialQMP(t, socket)
		early := time.Duration(rng.IntN(150)) * time.Millisecond
		switch round % 4 {
		case 0: // at once
		case 1, 2: // in the middle of the work
			<-time.After(early)
		case 3: // and stopped again
			<-time.After(early)
			q.do("cont")
			q.do("stop")
			<-time.After(early / 4)
		}
		q.do("cont")
		b.await(b.console, "READY", 1)
		eventually(t, "the mark that the image is in use", func() bool { return zimgState(t, path) == "in use" })
		if round%4 == 2 { // a repair must not count zimg's own resets as the guest's
			qemu := b.findQEMU()
			if err := b.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			<-b.exited
			if qemu != 0 {
				b.gone(qemu)
			}
			zimgStatus("check", "--repair", path)
		} else {
			b.typed("oo") // the first may be lost with the machine's reset
			b.end(0, 0)
			b.saved()
		}
		if got := zimg(t, "report", "--output", "csv", path); got != before {
			t.Fatalf("round %d: the zones have changed; cont came %v after QEMU", round, early)
		}
	}
}
