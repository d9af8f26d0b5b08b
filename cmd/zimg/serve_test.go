//go:build linux

package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"zimg/image/drive/tcp/host"
	"zimg/image/imagetest"
)

const serveHost = "nqn.2014-08.org.nvmexpress:uuid:11111111-2222-3333-4444-555555555555"

// connectHost connects to what s serves, with n I/O queues.
func connectHost(s *served, n int) (*host.Controller, error) { return connectHostAs(s, 1, n, s.dial) }

// connectHostAs connects as host number id, over connections that dial makes.
func connectHostAs(s *served, id byte, n int, dial func() (net.Conn, error)) (*host.Controller, error) {
	p := host.Params{SubNQN: serveNQN, HostNQN: serveHost, HostID: [16]byte{id}, SQSize: 127}
	return host.Dial(dial, host.Options{InCapsule: 8192}, p, n)
}

func (s *served) dial() (net.Conn, error) {
	return net.DialTimeout("tcp", "127.0.0.1:"+s.port, 10*time.Second)
}

func zoneCommand(op uint8, lba uint64, dw12, dw13 uint32) host.Command {
	cmd := host.Command{0: op, 4: 1}
	binary.LittleEndian.PutUint64(cmd[40:], lba)
	binary.LittleEndian.PutUint32(cmd[48:], dw12)
	binary.LittleEndian.PutUint32(cmd[52:], dw13)
	return cmd
}

// The target is killed under load, again and again: every write that was answered is there, the one that was
// not can be repeated, and nothing else has happened.
func TestServeKilled(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(imagetest.Seed(t), 0))
	const zones, zoneBlocks, blocks = 8, 256, 4
	path := filepath.Join(t.TempDir(), "d.zimg")
	zimg(t, "create", "--zones", fmt.Sprint(zones), "--zone-size", "1M", "--block-size", "4096", path)
	s := startServing(t, "-q", "--nqn", serveNQN, path)
	var wp [zones]uint64 // acknowledged
	fill := func(zone int, at uint64) []byte {
		return bytes.Repeat(fmt.Appendf(nil, "z%03d at %07d\n", zone, at), blocks*4096/16)
	}
	kills, repeats := 10, 0
	if testing.Short() {
		kills = 3
	}
	for round := range kills {
		c, err := connectHost(s, 1)
		if err != nil {
			t.Fatal(err)
		}
		q := c.IO[0]
		read := make([]byte, blocks*4096)
		for z := range wp {
			for at := uint64(0); at < wp[z]; at += blocks {
				if cpl, err := q.Do(zoneCommand(2, uint64(z)*zoneBlocks+at, blocks-1, 0), nil, read); err != nil || cpl.Status != 0 || !bytes.Equal(read, fill(z, at)) {
					t.Fatalf("round %d, zone %d at %d: other data: %+v, %v: %.40q, the zone has %d", round, z, at, cpl, err, read, wp[z])
				}
			}
		}
		timer := time.AfterFunc(time.Duration(20+random.IntN(200))*time.Millisecond, func() { _ = s.cmd.Process.Kill() })
		for {
			z := random.IntN(zones)
			if wp[z] == zoneBlocks {
				if cpl, err := q.Do(zoneCommand(0x79, uint64(z)*zoneBlocks, 0, 4), nil, nil); err != nil {
					wp[z] = lost
					break
				} else if cpl.Status != 0 {
					t.Fatalf("reset: %+v", cpl)
				}
				wp[z] = 0
			}
			cpl, err := q.Do(zoneCommand(1, uint64(z)*zoneBlocks+wp[z], blocks-1, 0), fill(z, wp[z]), nil)
			if err == nil && cpl.Status != 0 {
				t.Fatalf("round %d: write to zone %d at %d: %+v", round, z, wp[z], cpl)
			}
			if err == nil {
				wp[z] += blocks
				continue
			}
			// Linux connects again and repeats it.
			timer.Stop()
			s.restart(syscall.SIGKILL)
			c.Close()
			if c, err = connectHost(s, 1); err != nil {
				t.Fatal(err)
			}
			if cpl, err := c.IO[0].Do(zoneCommand(1, uint64(z)*zoneBlocks+wp[z], blocks-1, 0), fill(z, wp[z]), nil); err != nil || cpl.Status != 0 {
				t.Fatalf("round %d: repeated write to zone %d at %d: %+v, %v", round, z, wp[z], cpl, err)
			}
			wp[z] += blocks
			repeats++
			break
		}
		timer.Stop()
		for z := range wp {
			if wp[z] == lost { // the reset was done, or not: done again it is in any case
				s.restart(syscall.SIGKILL)
				c.Close()
				if c, err = connectHost(s, 1); err != nil {
					t.Fatal(err)
				}
				if cpl, err := c.IO[0].Do(zoneCommand(0x79, uint64(z)*zoneBlocks, 0, 4), nil, nil); err != nil || cpl.Status != 0 {
					t.Fatalf("reset again: %+v, %v", cpl, err)
				}
				wp[z] = 0
			}
		}
		c.Close()
	}
	t.Logf("%d kills, %d writes repeated", kills, repeats)
	if code := s.end(syscall.SIGTERM); code != 0 {
		t.Fatalf("exit %d: %s", code, s)
	}
	out := zimg(t, "report", "--output", "blkzone", path)
	for z, line := range strings.Split(strings.TrimSpace(out), "\n") {
		if want := fmt.Sprintf("wptr 0x%06x", wp[z]*8); wp[z] < zoneBlocks && !strings.Contains(line, want) {
			t.Errorf("zone %d: %s, want %s", z, line, want)
		}
	}
	zimg(t, "check", "--data", path)
}

const lost = ^uint64(0)

// restart ends the target by sig and starts it again on the same port.
func (s *served) restart(sig os.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Fatal(err)
	}
	_ = s.cmd.Wait()
	s.start()
}

// With --once the target ends when its host has disconnected, and the image is clean.
func TestServeOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "d.zimg")
	zimg(t, "create", "--zones", "4", "--zone-size", "1M", path)
	s := startServing(t, "--once", "--nqn", serveNQN, path)
	if _, errs, code := zimgStatus("write", "--zone", "0", path, "/dev/null"); code == 0 || !strings.Contains(errs, fmt.Sprintf("kill %d", s.cmd.Process.Pid)) {
		t.Errorf("a served image is changed: %s", errs)
	}
	c, err := connectHost(s, 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Admin.Shutdown(); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, s)
	}
	s.cmd = nil
	for _, line := range []string{
		"nvme connect -t tcp -a 127.0.0.1 -s " + s.port + " -n " + serveNQN + "\n",
		"nvme connect -t tcp -a 10.0.2.2 -s " + s.port + " -n " + serveNQN + "\n",
	} {
		if !strings.Contains(s.String(), line) {
			t.Errorf("printed\n%s\nwithout %s", s, line)
		}
	}
	zimg(t, "check", path)
}
