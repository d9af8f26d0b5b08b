//go:build linux

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"zimg/image/imagetest"
)

// Several guests use one image at the same time, each for itself: all see what is in it, none sees what another writes,
// and the image is as it was before. Nobody else can change it meanwhile, and nothing is left.
func TestRunEphemeral(t *testing.T) {
	t.Parallel()
	for _, layout := range []string{"trailing", "sidecar"} {
		t.Run(layout, func(t *testing.T) {
			t.Parallel()
			dir, upper := t.TempDir(), t.TempDir()
			path := filepath.Join(dir, "golden.zimg")
			zimg(t, "create", "-q", "--layout", layout, "--zones", "8", "--zone-size", "4M", "--zone-capacity", "3M", "--block-size", "512", path)
			golden := bytes.Repeat([]byte("golden.."), 16384) // 128 KiB
			data := filepath.Join(dir, "data")
			if err := os.WriteFile(data, golden, 0o600); err != nil {
				t.Fatal(err)
			}
			zimg(t, "write", "--zone", "1", path, data)
			zimg(t, "write", "--zone", "2", path, data)
			if err := os.Remove(data); err != nil {
				t.Fatal(err)
			}
			before := imagetest.Files(t, dir)
			g := runner(t, "--ephemeral", path)
			g.Command = append([]string{"env", "TMPDIR=" + upper}, g.Command...)
			var guests sync.WaitGroup
			for _, name := range []string{"one", "two"} {
				guests.Go(func() {
					res, err := g.Run(t.Context(), nil, `set -e
yes golden.. | tr -d '\n' | head -c 131072 >/tmp/golden
dd if=/dev/nvme0n1 of=/tmp/was bs=4096 skip=1024 count=32 2>/dev/null; cmp /tmp/was /tmp/golden
yes `+name+` | head -c 65536 >/tmp/new
dd if=/tmp/new of=/dev/nvme0n1 bs=4096 seek=1056 oflag=direct 2>/dev/null
dd if=/dev/nvme0n1 of=/tmp/both bs=4096 skip=1024 count=48 iflag=direct 2>/dev/null
cat /tmp/golden /tmp/new | cmp - /tmp/both
blkzone reset -o 0x4000 -l 0x2000 /dev/nvme0n1
dd if=/dev/nvme0n1 of=/tmp/reset bs=4096 skip=2048 count=32 iflag=direct 2>/dev/null
head -c 131072 /dev/zero | cmp - /tmp/reset
dd if=/tmp/new of=/dev/nvme0n1 bs=4096 seek=2048 oflag=direct 2>/dev/null
dd if=/dev/nvme0n1 of=/tmp/again bs=4096 skip=2048 count=16 iflag=direct 2>/dev/null; cmp /tmp/again /tmp/new
blkzone finish -o 0xa000 -l 0x2000 /dev/nvme0n1
sync
echo all-is-well
`)
					if err != nil || res.Status != 0 || !strings.Contains(res.Output, "all-is-well") {
						t.Errorf("%s: status %d, %v\n%s\n%s", name, res.Status, err, res.Output, res.Stderr)
					}
				})
			}
			guests.Wait()
			for name, b := range imagetest.Files(t, dir) {
				if !bytes.Equal(b, before[name]) {
					t.Errorf("%s has changed", name)
				}
				delete(before, name)
			}
			if len(before) > 0 {
				t.Errorf("files are gone: %d", len(before))
			}
			if left, err := os.ReadDir(upper); err != nil || len(left) > 0 {
				t.Errorf("left in TMPDIR: %v, %v", left, err)
			}
		})
	}
}
