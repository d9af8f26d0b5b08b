//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"zimg/image/drive/tcp/host"
	"zimg/image/imagetest"
)

// Ten hosts use one zoned namespace at once: each writes and reads zones of its own over two queues, and all append to one
// zone. Every append has a place of its own, and everything reads back.
func TestServeTenHosts(t *testing.T) {
	t.Parallel()
	const hosts, ownZones, zoneBlocks, appends = 10, 2, 256, 100
	path := filepath.Join(t.TempDir(), "d.zimg")
	zimg(t, "create", "--zones", fmt.Sprint(hosts*ownZones+4), "--zone-size", "1M", "--block-size", "4096", path)
	s := startServing(t, "-q", "--nqn", serveNQN, path)
	block := func(h, k int) []byte { return bytes.Repeat(fmt.Appendf(nil, "host %02d %07d\n", h, k), 4096/16) }
	var mu sync.Mutex
	places := map[uint64][2]int{} // of the appends: host and number
	work := func(h int) error {
		c, err := connectHostAs(s, byte(h+1), 2, s.dial)
		if err != nil {
			return err
		}
		defer c.Close()
		do := func(q *host.Queue, cmd host.Command, out, in []byte) (uint64, error) {
			cpl, err := q.Do(cmd, out, in)
			if err == nil {
				err = cpl.Check()
			}
			return cpl.Result, err
		}
		var both sync.WaitGroup
		var errs [2]error
		both.Go(func() { // zones of its own
			for z := 4 + h*ownZones; z < 4+(h+1)*ownZones && errs[0] == nil; z++ {
				for k := 0; k < zoneBlocks && errs[0] == nil; k++ {
					_, errs[0] = do(c.IO[0], zoneCommand(1, uint64(z*zoneBlocks+k), 0, 0), block(h, k), nil)
				}
			}
		})
		both.Go(func() { // the zones of all
			for k := 0; k < appends && errs[1] == nil; k++ {
				var lba uint64
				lba, errs[1] = do(c.IO[1], zoneCommand(0x7D, uint64(k%4*zoneBlocks), 0, 0), block(h, k), nil)
				mu.Lock()
				if old, taken := places[lba]; taken && errs[1] == nil {
					errs[1] = fmt.Errorf("LBA %d is given to append %d, and to %v", lba, k, old)
				}
				places[lba] = [2]int{h, k}
				mu.Unlock()
			}
		})
		both.Wait()
		got := make([]byte, 4096)
		for z := 4 + h*ownZones; z < 4+(h+1)*ownZones; z++ {
			for k := range zoneBlocks {
				if _, err := do(c.IO[0], zoneCommand(2, uint64(z*zoneBlocks+k), 0, 0), nil, got); err != nil || !bytes.Equal(got, block(h, k)) {
					return fmt.Errorf("zone %d block %d: %.16q, %w", z, k, got, err)
				}
			}
		}
		return errors.Join(errs[0], errs[1], c.Admin.Shutdown())
	}
	var all sync.WaitGroup
	for h := range hosts {
		all.Go(func() {
			if err := work(h); err != nil {
				t.Errorf("host %d: %v", h, err)
			}
		})
	}
	all.Wait()
	if code := s.end(syscall.SIGTERM); code != 0 {
		t.Fatalf("exit %d: %s", code, s)
	}
	if len(places) != hosts*appends {
		t.Errorf("%d places for %d appends", len(places), hosts*appends)
	}
	for lba, w := range places {
		if got := zimg(t, "read", "--lba", fmt.Sprint(lba), "--count", "1", path); got != string(block(w[0], w[1])) {
			t.Errorf("LBA %d: %.16q, want append %v", lba, got, w)
		}
	}
	zimg(t, "check", "--data", path)
}

// cutConn is a connection that breaks after so many bytes, in both directions together, as if its cable was cut.
type cutConn struct {
	net.Conn
	left *atomic.Int64 // shared by the connections of a host
}

func (c cutConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	return n, c.count(n, err)
}

func (c cutConn) Write(p []byte) (int, error) {
	if left := c.left.Load(); int64(len(p)) > left { // the last PDU is sent in part
		p = p[:max(left, 0)]
	}
	n, err := c.Conn.Write(p)
	return n, c.count(n+1, err)
}

func (c cutConn) count(n int, err error) error {
	if c.left.Add(-int64(n)) > 0 {
		return err
	}
	_ = c.Close()
	return io.ErrUnexpectedEOF
}

// memory is the most memory that process pid has had, in bytes.
func memory(t *testing.T, pid int) (peak int) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(b), "\nVmHWM:")
	if _, err := fmt.Sscan(text, &peak); err != nil {
		t.Fatal(err)
	}
	return peak << 10
}

// Peers that stall, flood and disconnect in the middle of everything: a host beside them is served all the time, the
// target's memory stays within its bound, and the image is sound.
func TestServeHostilePeers(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(imagetest.Seed(t), 7))
	path := filepath.Join(t.TempDir(), "d.zimg")
	zimg(t, "create", "--zones", "16", "--zone-size", "1M", "--block-size", "4096", path)
	s := startServing(t, "-q", "--nqn", serveNQN, path)
	good, err := connectHostAs(s, 1, 1, s.dial)
	if err != nil {
		t.Fatal(err)
	}
	defer good.Close()
	block, read := bytes.Repeat([]byte("good"), 1024), make([]byte, 4096)
	served := 0
	serves := func(what string) {
		t.Helper()
		_ = good.IO[0].Conn.SetDeadline(time.Now().Add(time.Minute))
		lba := uint64(served % 256)
		if lba == 0 {
			if cpl, err := good.IO[0].Do(zoneCommand(0x79, 0, 0, 4), nil, nil); err != nil || cpl.Status != 0 {
				t.Fatalf("%s: reset: %+v, %v", what, cpl, err)
			}
		}
		if cpl, err := good.IO[0].Do(zoneCommand(1, lba, 0, 0), block, nil); err != nil || cpl.Status != 0 {
			t.Fatalf("%s: write: %+v, %v", what, cpl, err)
		}
		if cpl, err := good.IO[0].Do(zoneCommand(2, lba, 0, 0), nil, read); err != nil || cpl.Status != 0 || !bytes.Equal(read, block) {
			t.Fatalf("%s: read: %+v, %v", what, cpl, err)
		}
		served++
	}
	serves("alone")

	// Disconnects in the middle of everything: of connecting, of commands, of data in both directions.
	cuts := 300
	if testing.Short() {
		cuts = 60
	}
	for k := range cuts {
		var left atomic.Int64
		left.Store(random.Int64N(1 << (6 + k%16))) // up to 2 MiB
		c, err := connectHostAs(s, 2, 1, func() (net.Conn, error) {
			nc, err := s.dial()
			return cutConn{nc, &left}, err
		})
		for i := uint64(0); err == nil; i++ {
			z := 1 + i%14
			if _, err = c.IO[0].Do(zoneCommand(0x79, z*256, 0, 4), nil, nil); err == nil {
				_, err = c.IO[0].Do(zoneCommand(1, z*256, 15, 0), make([]byte, 16*4096), nil)
			}
			if err == nil {
				_, err = c.IO[0].Do(zoneCommand(2, z*256, 15, 0), nil, make([]byte, 16*4096))
			}
		}
		if c != nil {
			c.Close()
		}
		if k%10 == 0 {
			serves("disconnects")
		}
	}

	// Stalls: in the middle of a header, of the data of a write, and before anything was said.
	var open []net.Conn
	defer func() {
		for _, c := range open {
			_ = c.Close()
		}
	}()
	stall := func(b []byte) {
		c, err := s.dial()
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
		_, _ = c.Write(b) // the target may have closed it: there are too many
	}
	for range 100 {
		stall(nil)
		stall(host.ICReq(host.Options{}))
		stall(host.ICReq(host.Options{})[:77])
	}
	serves("stalls")

	// A flood: hosts that send commands for large reads, and writes whose data never comes, and take no answers.
	var floods sync.WaitGroup
	for h := range 8 {
		c, err := connectHostAs(s, byte(10+h), 2, s.dial)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for k, op := range []byte{2, 1} {
			q := c.IO[k]
			cmd := zoneCommand(op, 256, 127, 0)
			cmd[1], cmd[33], cmd[34], cmd[39] = 0x40, 0, 8, 0x5A // 512 KiB by transport SGL
			pdu := q.PDU(4, 0, cmd[:], nil)
			floods.Go(func() {
				_ = q.Conn.SetWriteDeadline(time.Now().Add(2 * time.Second))
				for range 20_000 {
					if _, err := q.Conn.Write(pdu); err != nil {
						return
					}
				}
			})
		}
	}
	for range 20 {
		serves("flood")
	}
	floods.Wait()
	serves("after the flood")

	const bound = 128 << 20
	if peak := memory(t, s.cmd.Process.Pid); peak > bound {
		t.Errorf("the target took %d MiB", peak>>20)
	} else {
		t.Logf("%d cuts, %d stalled connections; peak %d MiB, %d writes of the good host", cuts, len(open), peak>>20, served)
	}
	if err := good.Admin.Shutdown(); err != nil {
		t.Error(err)
	}
	if code := s.end(syscall.SIGTERM); code != 0 {
		t.Fatalf("exit %d: %s", code, s)
	}
	zimg(t, "check", "--data", path)
}
