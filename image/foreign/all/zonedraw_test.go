package all_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"zimg/image"
	"zimg/image/disk"
	"zimg/image/foreign"
	"zimg/image/foreign/all"
	"zimg/image/transfer"
	"zimg/layout"
)

// The driver of the raw format takes write pointers through a signed 32-bit number. What that makes of
// a disk of 6 GiB is read again: pointers from what is left of them, and where the driver moves
// them no more, from the data, with leave.
func TestZonedRawBeyond32Bits(t *testing.T) {
	const gib = 1 << 30
	start := func(zone int32) uint64 { return uint64(uint32(zone) * gib) } // i * zone_size
	fresh := func(zone int32) uint64 { return 1<<60 | start(zone) }        // Empty
	write := func(e uint64, n uint64) uint64 {                             // Implicitly Opened
		return (uint64(int64(int32(uint32(e<<5>>5)))) + n) | 2<<60
	}
	entries := []uint64{
		write(fresh(0), 4096), 0xE<<60 | 2*gib, write(fresh(2), 1<<20), fresh(3), fresh(4), write(fresh(5), 8192), 0xE<<60 | start(7),
	}
	count := len(entries)
	want := map[int]struct {
		state   layout.ZoneState
		written int64
	}{
		0: {layout.ImplicitlyOpened, 4096}, 1: {layout.Full, 2 * gib}, 2: {layout.Closed, 2*gib + 3<<20 + 512}, 3: {layout.Empty, 3 * gib},
		4: {layout.Empty, 4 * gib}, 5: {layout.ImplicitlyOpened, 5*gib + 8192}, 6: {layout.Full, 7 * gib},
	}
	le := binary.LittleEndian
	length := int64(512 + count*gib + 8*count)
	h := make([]byte, 512)
	copy(h, "zone")
	for i, v := range []uint32{gib, uint32(count), uint32(count), 0, 0, 0, 128} {
		le.PutUint32(h[4+4*i:], v)
	}
	le.PutUint64(h[32:], uint64(length))
	h[40] = 1
	var table []byte
	for _, e := range entries {
		table = le.AppendUint64(table, e)
	}
	path := filepath.Join(t.TempDir(), "disk")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	data := bytes.Repeat([]byte{7}, 100)
	for off, b := range map[int64][]byte{0: h, length - int64(len(table)): table, 512 + 2*gib + 3<<20: data} {
		if _, err := file.WriteAt(b, off); err != nil {
			t.Fatal(err)
		}
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	f := formatOf("zoned-raw")
	in := &foreign.Input{FS: disk.OS, Path: path, Format: f}
	d, err := f.Decode(in)
	if err != nil {
		t.Fatal(err)
	}
	for i, w := range want {
		z, err := d.Contents[0].Zones.Zone(uint64(i))
		if err != nil || z.State != w.state || int64(z.Written)*512 != w.written {
			t.Errorf("zone %d: %v, %v written to %d; want %v to %d", i, err, z.State, int64(z.Written)*512, w.state, w.written)
		}
	}
	if len(d.Lost) != 1 {
		t.Errorf("lost %q", d.Lost)
	}
	odd := map[uint64]bool{}
	if err := d.Walk(func(p foreign.Problem) error { odd[p.Zone] = odd[p.Zone] || p.Verdict == foreign.Odd; return nil }); err != nil {
		t.Fatal(err)
	}
	for zone, is := range map[uint64]bool{0: false, 1: false, 2: true, 3: false, 4: true, 5: true, 6: true} {
		if odd[zone] != is {
			t.Errorf("zone %d: problem %v", zone, odd[zone])
		}
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	dst := filepath.Join(filepath.Dir(path), "own")
	if err := transfer.Copy(path, dst, transfer.Options{From: f}); !errors.Is(err, transfer.ErrLossy) {
		t.Errorf("%v", err)
	}
	if err := transfer.Copy(path, dst, transfer.Options{From: f, Lossy: true}); err != nil {
		t.Fatal(err)
	}
	im, err := image.Open(dst, image.Options{})
	if err != nil {
		t.Fatal(err)
	}
	n := im.Namespaces()[0]
	got := make([]byte, len(data))
	if _, err := n.File().ReadAt(got, int64(n.DataOff)+2*gib+3<<20); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%v, %x", err, got)
	}
	if err := im.Close(); err != nil {
		t.Fatal(err)
	}
}

// The format of a file that cannot be read is named anyway if more than the magic speaks for it, so that
// the reason can be reported; a text that begins with the magic is not.
func TestZonedRawIsNamed(t *testing.T) {
	x := readFixture(t, "../../../testdata/foreign/zoned-raw.txt")
	good := x.files["disk"]
	earliest := make([]byte, 1<<16)
	copy(earliest, "zone\x02\x00\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00\x00\x20")
	b := readFixture(t, "../../../testdata/foreign/zoned-raw-b.txt").files["disk"]
	for name, c := range map[string]struct {
		file  []byte
		named bool
	}{
		"C": {good, true}, "C, cut off": {good[:8192], true}, "C, longer": {append(bytes.Clone(good), 0), true},
		"B": {b, true}, "B, cut off": {b[:4096], true}, "A": {earliest, true},
		"text": {bytes.Repeat([]byte("zone of a city\n"), 100), false}, "other text": {bytes.Repeat([]byte("this is a zone too\n"), 100), false}, "short": {[]byte("zone"), false},
	} {
		x.files["disk"] = c.file
		fsys, path := x.place()
		f, err := foreign.Detect(all.Formats, fsys, path)
		if err != nil || (f == formatOf("zoned-raw")) != c.named {
			t.Errorf("%s: %v, %v", name, f, err)
		}
	}
}
