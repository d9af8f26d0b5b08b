package fsck_test

import (
	"bytes"
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

// Every bit of the metadata area flipped, one at a time: all are detected, and a
// safe repair brings back the image without loss.
func TestEveryBitFlipped(t *testing.T) {
	for _, kind := range []layout.Kind{layout.Trailing, layout.Sidecar} {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			// The metadata area is the same in both layouts; in one every bit is tried.
			step := 1
			if kind == layout.Trailing || testing.Short() {
				step = 97
			}
			fs, s := compact(t, kind)
			off := metaArea(t, fs)
			all := files(t, fs)
			meta := all[metaName(kind)]
			flips, detected, repairs, restored := 0, 0, 0, 0
			disk := diskOf(all)
			for bit := off * 8; bit < len(meta)*8 && !t.Failed(); bit += step {
				flips++
				flipped := bytes.Clone(meta)
				flipped[bit/8] ^= 1 << (bit % 8)
				disk.WriteFile(metaName(kind), flipped)
				r, codes, err := verdict(t, disk, fsck.Options{})
				if err != nil || r.ExitCode() == 0 {
					t.Errorf("bit %d of byte %d: %v, %v", bit%8, bit/8, codes, err)
					continue
				}
				detected++
				// Repairing is the same whatever the bit: some are enough.
				if step == 1 && (bit%8 != bit/8%8 || bit/8%7 != 0) {
					continue
				}
				repairs++
				if r, codes, err := verdict(t, disk, fsck.Options{Mode: fsck.Safe}); err != nil || r.ExitCode() != 0 {
					t.Errorf("bit %d of byte %d is not repaired: %v, %v", bit%8, bit/8, codes, err)
					continue
				}
				sound(t, disk, s)
				restored++
			}
			t.Logf("%d bits flipped: %d detected; %d repairs: %d restored without loss (%.1f %%)", flips, detected, repairs, restored, 100*float64(restored)/float64(repairs))
			if detected != flips || restored*100 < repairs*99 {
				t.Errorf("want all detected, and 99 %% restored")
			}
		})
	}
}

// Every block zeroed, and every two different blocks swapped: detected.
func TestBlocksZeroedAndSwapped(t *testing.T) {
	for _, kind := range []layout.Kind{layout.Trailing, layout.Sidecar} {
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
				t.Errorf("%v: blocks %d and %d %s: %v", kind, i, j, what, codes)
			}
			if r, codes, err := verdict(t, disk, fsck.Options{Mode: fsck.All}); err == nil && r.ExitCode() != 0 && codes[fsck.SlotsLost] == 0 {
				t.Errorf("%v: blocks %d and %d %s are not repaired: %v", kind, i, j, what, codes)
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
				if !bytes.Equal(blocks[i], blocks[j]) {
					detected("swapped", i, j, build(func(b [][]byte) { b[i], b[j] = b[j], b[i] }))
					swaps++
				}
			}
		}
		t.Logf("%v: %d blocks, %d swaps", kind, len(blocks), swaps)
	}
}
