//go:build linux

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// What is in an image follows from what was done to it: the same commands and the same guest give the same bytes, in both
// slots, after a run too. A run has an id, a process and a start of its own, and nothing of that remains.
func TestRunIsReproducible(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	for _, layout := range []string{"trailing", "sidecar"} {
		t.Run(layout, func(t *testing.T) {
			var files [2][][]byte
			for i := range files {
				dir := t.TempDir()
				path := filepath.Join(dir, "d.zimg")
				zimg(t, "create", "-q", "--zones", "8", "--zone-size", "1M", "--uuid", "11111111-2222-4333-8444-555555555555", "--layout", layout, path)
				zimg(t, "zone", "finish", path, "5")
				runBoot(t, path, `
d=/dev/nvme0n1
yes "what the guest writes" | dd of=$d bs=64K count=3 iflag=fullblock oflag=direct 2>/dev/null
yes "to another zone" | dd of=$d bs=64K count=1 seek=32 iflag=fullblock oflag=direct 2>/dev/null
blkzone finish -o 0x1000 -c 1 $d
blkzone reset -o 0x2800 -c 1 $d
`)
				for _, name := range []string{"d.zimg", "d.zimg.zmeta"} {
					b, err := os.ReadFile(filepath.Join(dir, name))
					if err != nil && (layout == "sidecar" || name == "d.zimg") {
						t.Fatal(err)
					}
					files[i] = append(files[i], b)
				}
			}
			for k, a := range files[0] {
				b := files[1][k]
				if !bytes.Equal(a, b) {
					t.Errorf("file %d: %d and %d bytes differ from byte %d on", k, len(a), len(b), differAt(a, b))
				}
			}
		})
	}
}

// differAt is where a and b begin to differ.
func differAt(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}
