package crash_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"zimg/image"
	"zimg/image/crash"
	"zimg/layout"
)

const block, zone = 4096, 16 * 4096

// zoned is a namespace of four zones of 16 blocks; active is how many may be active.
func zoned(active uint32) layout.Namespace {
	mar := layout.NoLimit
	if active > 0 {
		mar = layout.ZeroBased(active)
	}
	return layout.Namespace{ID: 1, CSI: layout.ZNS, BlockBits: 12, ZoneSize: 16, ZoneCap: 16, ZoneCount: 4, Blocks: 64, MAR: mar, MOR: mar}
}

// plain is a namespace of 16 blocks without zones; its data is 1 MiB on, after that of zoned.
var plain = layout.Namespace{ID: 2, CSI: layout.NVM, BlockBits: 12, Blocks: 16}

const plainOff = 1 << 20

// logger writes a log as QEMU does, sectors of 512 bytes, and the trace of its requests.
type logger struct {
	bytes.Buffer
	trace strings.Builder
}

func newLogger() *logger {
	l := &logger{}
	super := make([]byte, 512)
	copy(super, "\x72\x68\x73\x77\x66\x73\x6a\x00\x01")
	super[25] = 2
	l.Write(super)
	return l
}

func (l *logger) entry(off, length int64, flags uint64, data []byte) {
	e := make([]byte, 512)
	binary.LittleEndian.PutUint64(e, uint64(off/512))
	binary.LittleEndian.PutUint64(e[8:], uint64(length/512))
	binary.LittleEndian.PutUint64(e[16:], flags)
	l.Write(e)
	l.Write(data)
}

// request is in the trace as QEMU 7.2 has it there.
func (l *logger) request(off, length int64) {
	if off >= plainOff {
		fmt.Fprintf(&l.trace, "pci_nvme_io_cmd cid 1 nsid 0x2 sqid 1 opc 0x1 opname 'NVME_NVM_CMD_WRITE'\n")
		fmt.Fprintf(&l.trace, "blk_co_pwritev blk 0x52 bs 0x72 offset %d bytes %d flags 0x0\n", off-plainOff, length)
		return
	}
	fmt.Fprintf(&l.trace, "pci_nvme_io_cmd cid 1 nsid 0x1 sqid 1 opc 0x1 opname 'NVME_NVM_CMD_WRITE'\n")
	fmt.Fprintf(&l.trace, "blk_co_pwritev blk 0x51 bs 0x71 offset %d bytes %d flags 0x0\n", off, length)
}

// manage is a zone management command in the trace.
func (l *logger) manage(format string, args ...any) {
	l.trace.WriteString("pci_nvme_io_cmd cid 9 nsid 0x1 sqid 1 opc 0x79 opname 'NVME_ZONED_CMD_MGMT_SEND'\n")
	fmt.Fprintf(&l.trace, format+"\n", args...)
}

func (l *logger) write(off int64, c byte, blocks int) {
	l.request(off, int64(blocks)*block)
	l.entry(off, int64(blocks)*block, 0, bytes.Repeat([]byte{c}, blocks*block))
}

func (l *logger) flush() {
	l.trace.WriteString("pci_nvme_io_cmd cid 7 nsid 0x1 sqid 1 opc 0x0 opname 'NVME_NVM_CMD_FLUSH'\npci_nvme_flush_ns nsid 0x1\n")
	l.entry(0, 0, 1, nil)
}

func (l *logger) reset(i int64) {
	l.manage("pci_nvme_reset_zone reset zone, slba=%d, idx=%d, all=0", i*16, i)
	fmt.Fprintf(&l.trace, "pci_nvme_zns_zone_reset zslba 0x%x\nblk_co_pwritev blk 0x51 bs 0x71 offset %d bytes %d flags 0x6\n", i*16, i*zone, zone)
	l.entry(i*zone, zone, 0, make([]byte, zone))
}

func (l *logger) finish(i int64) {
	l.manage("pci_nvme_finish_zone finish zone, slba=%d, idx=%d, all=0", i*16, i)
}

// record makes a recording of l on an image of zoned, whose zone 3 has two blocks, and plain.
func record(t *testing.T, l *logger, active uint32, traced bool) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "rec")
	path := filepath.Join(t.TempDir(), "d.zimg")
	n := zoned(active)
	z := &layout.ZoneSlice{Table: []layout.Zone{n.EmptyZone(0), n.EmptyZone(1), n.EmptyZone(2), n.EmptyZone(3)}}
	z.Table[3].State, z.Table[3].WP, z.Table[3].Written = layout.Closed, 50, 50
	specs := []image.NamespaceSpec{{Namespace: n}, {Namespace: plain}}
	if err := image.Create(path, image.CreateOptions{Namespaces: specs, Zones: []layout.Zones{z, nil}}); err != nil {
		t.Fatal(err)
	}
	prepare(t, dir, path)
	im, err := image.Open(path, image.Options{Write: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(crash.Prepare(t.Context(), dir, im), im.Close()); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a recording was overwritten: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, crash.LogName), l.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	if traced {
		if err := os.WriteFile(filepath.Join(dir, crash.TraceName), []byte(l.trace.String()), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// prepare makes the folder of a recording of the image at path.
func prepare(t *testing.T, dir, path string) {
	t.Helper()
	im, err := image.Open(path, image.Options{Write: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(crash.Prepare(t.Context(), dir, im), im.Close()); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, dir string) *crash.Recording {
	t.Helper()
	r, err := crash.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// state is an image in one line: for each zone its state, how far it is written, and the first
// byte of each block up to there; and that of each block of plain up to the last written.
func state(t *testing.T, path string) string {
	t.Helper()
	im, err := image.Open(path, image.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = im.Close() }()
	n := im.Namespaces()[0]
	text := func(n *image.Namespace, first, end layout.LBA) string {
		s := ""
		b := make([]byte, 1)
		for lba := first; lba < end; lba++ {
			if _, err := n.ReadAt(b, int64(n.ByteOff(lba))); err != nil {
				t.Fatal(err)
			}
			if b[0] == 0 {
				b[0] = '.'
			}
			s += string(b)
		}
		return s
	}
	var out []string
	for z, err := range n.All(0, 4) {
		if err != nil {
			t.Fatal(err)
		}
		if beyond := strings.Trim(text(n, z.Written, z.Start+16), "."); beyond != "" {
			t.Errorf("data beyond the write pointer: %s", beyond)
		}
		out = append(out, z.State.String()[:1]+text(n, z.Start, z.Written))
	}
	if p := strings.TrimRight(text(im.Namespaces()[1], 0, 16), "."); p != "" {
		out = append(out, "| "+p)
	}
	return strings.Join(out, " ")
}

// make returns the state at a point.
func at(t *testing.T, r *crash.Recording, kind crash.Kind, n int, fate crash.Unflushed, seed uint64) string {
	t.Helper()
	entries, err := r.Point(kind, n)
	if err != nil {
		t.Fatal(err)
	}
	dst := filepath.Join(t.TempDir(), "c.zimg")
	if err := r.Make(t.Context(), dst, entries, fate, seed, false); err != nil {
		t.Fatal(err)
	}
	return state(t, dst)
}
