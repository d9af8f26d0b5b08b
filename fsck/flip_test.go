package fsck_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"runtime"
	"testing"

	"zimg/fsck"
	"zimg/image"
	"zimg/image/imagetest"
	"zimg/layout"
)

// compact is an image whose metadata area is small enough to flip every bit of it.
func compact(t testing.TB, kind layout.Kind) (*imagetest.MemFS, *imagetest.Spec) {
	t.Helper()
	s := imagetest.Standard(kind)
	s.Namespaces = s.Namespaces[:1]
	for i, z := range s.Namespaces[0].Zones {
		if z.State.Open() {
			delete(s.Namespaces[0].Zones, i)
		}
	}
	fs := imagetest.NewMemFS()
	if err := s.Create(fs, path); err != nil {
		t.Fatal(err)
	}
	return fs, &s
}

// metaArea is where the metadata area of an image begins.
func metaArea(t testing.TB, fs *imagetest.MemFS) int {
	t.Helper()
	im, err := image.Open(path, image.Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = im.Close() }()
	return int(im.Header().MetaOff)
}

// differing is a compact image whose slots differ: the last two commits each
// finished a zone.
func differing(t testing.TB, kind layout.Kind) *imagetest.MemFS {
	t.Helper()
	fs, _ := compact(t, kind)
	for _, zone := range []uint64{10, 11} {
		im, err := image.Open(path, image.Options{FS: fs, Write: true})
		if err != nil {
			t.Fatal(err)
		}
		n := im.Namespaces()[0]
		z, err := n.Zone(zone)
		if err != nil {
			t.Fatal(err)
		}
		z.State, z.WP = layout.Full, layout.NoWP
		if err := errors.Join(n.SetZone(zone, z), im.Commit(), im.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return fs
}

// zonesOf is everything in the image that a commit can change.
func zonesOf(t testing.TB, fs *imagetest.MemFS) string {
	t.Helper()
	im, err := image.Open(path, image.Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = im.Close() }()
	text, err := imagetest.Zones(im)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Every bit of the metadata area flipped, one at a time, in an image whose slots
// differ: each is detected; a safe repair loses nothing, not even the last commit; a second
// one changes nothing; undo restores the exact bytes.
func TestEveryBitFlipped(t *testing.T) {
	for _, kind := range []layout.Kind{layout.Trailing, layout.Sidecar} {
		// The metadata area is the same in both layouts; in one all bits that say something are tried.
		step, parts := 1, 2*runtime.GOMAXPROCS(0)
		if kind == layout.Trailing || testing.Short() {
			step, parts = 397, 1
			if testing.Short() {
				step = 3989
			}
		}
		for part := range parts {
			t.Run(fmt.Sprint(kind, part), func(t *testing.T) {
				t.Parallel()
				flipEveryBit(t, kind, step, part, parts)
			})
		}
	}
}

// everyBit has TestEveryBitFlipped try every bit, which takes a quarter of an hour.
var everyBit = flag.Bool("every-bit", false, "flip every bit of the metadata, not only those of bytes that are not zero and some of the others")

func flipEveryBit(t *testing.T, kind layout.Kind, step, part, parts int) {
	disk := differing(t, kind)
	want := zonesOf(t, disk)
	off := metaArea(t, disk)
	all := files(t, disk)
	name := metaName(kind)
	meta := all[name]
	flips := 0
	for bit := off*8 + part*step; bit < len(meta)*8 && !t.Failed(); bit += step * parts {
		if !*everyBit && step == 1 && meta[bit/8] == 0 && bit%397 != 0 {
			continue
		}
		if flips++; flips%1000 == 0 {
			disk = diskOf(all) // it remembers everything that was done to it
		}
		flipped := bytes.Clone(meta)
		flipped[bit/8] ^= 1 << (bit % 8)
		disk.WriteFile(name, flipped)
		where := fmt.Sprintf("bit %d of byte %d (metadata byte %d)", bit%8, bit/8, bit/8-off)
		if r, codes, err := verdict(t, disk, fsck.Options{}); err != nil || r.ExitCode() == 0 {
			t.Errorf("%s is not detected: %v, %v", where, codes, err)
		}
		r, codes, err := verdict(t, disk, fsck.Options{Mode: fsck.Safe})
		if err != nil || r.ExitCode() != 0 {
			t.Errorf("%s is not repaired: %v, %v", where, codes, err)
			continue
		}
		if got := zonesOf(t, disk); got != want {
			t.Errorf("%s is repaired with a loss (%v): got\n%s\nwant\n%s", where, codes, got, want)
		}
		if r, codes, err := verdict(t, disk, fsck.Options{Mode: fsck.Safe}); err != nil || r.Changed {
			t.Errorf("%s: a second repair changes something: %v, %v", where, codes, err)
		}
		if err := fsck.Undo(path, fsck.Options{FS: disk}, false); err != nil {
			t.Errorf("%s: undo: %v", where, err)
		}
		if back, err := disk.ReadFile(name); err != nil || !bytes.Equal(back, flipped) {
			t.Errorf("%s: undo does not bring back the bytes, %v", where, err)
		}
	}
	disk.WriteFile(name, meta)
	if !same(all, files(t, disk)) {
		t.Error("something else has changed")
	}
	t.Logf("%d bits flipped, all detected and repaired without loss", flips)
}

// Every block zeroed, and every two different blocks swapped: detected.
func TestBlocksZeroedAndSwapped(t *testing.T) {
	for _, kind := range []layout.Kind{layout.Trailing, layout.Sidecar} {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			blocksZeroedAndSwapped(t, kind)
		})
	}
}

func blocksZeroedAndSwapped(t *testing.T, kind layout.Kind) {
	fs, s := standard(t, kind)
	off := metaArea(t, fs)
	all := files(t, fs)
	meta := all[metaName(kind)]
	var blocks [][]byte
	for at := off; at < len(meta); at += layout.BlockLen {
		blocks = append(blocks, meta[at:at+layout.BlockLen])
	}
	build := func(change func(b [][]byte)) *imagetest.MemFS {
		b := append([][]byte(nil), blocks...)
		change(b)
		all[metaName(kind)] = append(bytes.Clone(meta[:off]), bytes.Join(b, nil)...)
		return diskOf(all)
	}
	detected := func(what string, i, j int, disk *imagetest.MemFS) {
		t.Helper()
		if r, codes, err := verdict(t, disk, fsck.Options{}); err == nil && r.ExitCode() == 0 {
			t.Errorf("blocks %d and %d %s: %v", i, j, what, codes)
		}
		if r, codes, err := verdict(t, disk, fsck.Options{Mode: fsck.All}); err == nil && r.ExitCode() != 0 && codes[fsck.SlotsLost] == 0 {
			t.Errorf("blocks %d and %d %s are not repaired: %v", i, j, what, codes)
		}
	}
	zero := make([]byte, layout.BlockLen)
	swaps := 0
	for i := range blocks {
		if !bytes.Equal(blocks[i], zero) {
			disk := build(func(b [][]byte) { b[i] = zero })
			detected("zeroed", i, i, disk)
			sound(t, disk, s)
		}
		for j := range i {
			if bytes.Equal(blocks[i], blocks[j]) {
				continue
			}
			if swaps++; imagetest.Sampled(swaps, 1) {
				detected("swapped", i, j, build(func(b [][]byte) { b[i], b[j] = b[j], b[i] }))
			}
		}
	}
	t.Logf("%d blocks, %d swaps", len(blocks), swaps)
}
