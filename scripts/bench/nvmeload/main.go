//go:build unix

// Command nvmeload serves an image with zimg serve, reads or writes it over NVMe/TCP as a host with one I/O queue does,
// and prints the seconds that this took, without the start and the end of the target.
//
//	nvmeload [-rw read|write] [-bs BYTES] [-qd N] [-size BYTES] IMAGE
//
// The image has one zoned namespace with blocks of 4096 bytes, and its zones are as large as their capacity. Reads are of
// what is there; before writes all zones are reset, and that is flushed; then they are
// filled in order, and flushed, which counts.
package main

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"time"

	"zimg/image/drive/tcp/host"
)

const (
	nqn     = "nqn.2026-01.org.example:bench"
	hostNQN = "nqn.2026-01.org.example:load"
	block   = 4096

	opFlush, opWrite, opRead, opZoneSend = 0, 1, 2, 0x79
)

func main() {
	rw := flag.String("rw", "read", "read or write")
	bs := flag.Int("bs", 4096, "bytes of a command")
	qd := flag.Int("qd", 1, "commands at once")
	size := flag.Int64("size", 64<<20, "bytes altogether")
	flag.Parse()
	if err := run(flag.Arg(0), *rw == "write", *bs, *qd, *size); err != nil {
		fmt.Fprintln(os.Stderr, "nvmeload:", err)
		os.Exit(1)
	}
}

func run(image string, write bool, bs, qd int, size int64) (err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	cmd := exec.Command("zimg", "serve", "-q", "--once", "--listen", "127.0.0.1:0", "--nqn", nqn, "--ready-fd", "3", image)
	cmd.Stderr, cmd.ExtraFiles = os.Stderr, []*os.File{w}
	err = cmd.Start()
	_ = w.Close()
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = cmd.Process.Kill()
		}
		err = errors.Join(err, cmd.Wait())
	}()
	var address string
	if _, err := fmt.Fscanln(r, &address); err != nil {
		return err
	}
	c, err := host.Dial(func() (net.Conn, error) { return net.Dial("tcp", address) },
		host.Options{InCapsule: 8192}, host.Params{SubNQN: nqn, HostNQN: hostNQN, HostID: [16]byte{1}, SQSize: 127, NoFlowControl: true}, 1)
	if err != nil {
		return err
	}
	defer c.Close()
	if write {
		cpl, err := c.IO[0].Do(command(opZoneSend, 0, 0, 1<<8|4), nil, nil)
		if err = errors.Join(err, cpl.Check()); err != nil {
			return err
		}
		// The space of the old data comes back with a flush, not within what is measured.
		cpl, err = c.IO[0].Do(command(opFlush, 0, 0, 0), nil, nil)
		if err = errors.Join(err, cpl.Check()); err != nil {
			return err
		}
	}
	start := time.Now()
	if err := load(c.IO[0], write, bs, qd, size); err != nil {
		return err
	}
	if write {
		cpl, err := c.IO[0].Do(command(opFlush, 0, 0, 0), nil, nil)
		if err = errors.Join(err, cpl.Check()); err != nil {
			return err
		}
	}
	took := time.Since(start).Seconds()
	fmt.Printf("%.6f\n", took)
	return c.Admin.Shutdown()
}

// load keeps qd commands under way until size bytes have been moved, from the first block on.
func load(q *host.Queue, write bool, bs, qd int, size int64) error {
	free := make([][]byte, 0, qd)
	for range qd {
		b := make([]byte, bs)
		for i := range b {
			b[i] = byte(i * 7)
		}
		free = append(free, b)
	}
	busy := map[uint16][]byte{}
	for at := int64(0); at < size || len(busy) > 0; {
		if at < size && len(free) > 0 {
			b := free[len(free)-1]
			free = free[:len(free)-1]
			out, in := b, []byte(nil)
			op := uint8(opWrite)
			if !write {
				op, out, in = opRead, nil, b
			}
			cid, err := q.Submit(command(op, uint64(at/block), uint32(bs/block-1), 0), out, in)
			if err != nil {
				return err
			}
			busy[cid] = b
			at += int64(bs)
			continue
		}
		cpl, err := q.Next()
		if err = errors.Join(err, cpl.Check()); err != nil {
			return err
		}
		free = append(free, busy[cpl.CID])
		delete(busy, cpl.CID)
	}
	return nil
}

func command(op uint8, lba uint64, dw12, dw13 uint32) host.Command {
	cmd := host.Command{0: op, 4: 1}
	binary.LittleEndian.PutUint64(cmd[40:], lba)
	binary.LittleEndian.PutUint32(cmd[48:], dw12)
	binary.LittleEndian.PutUint32(cmd[52:], dw13)
	return cmd
}
