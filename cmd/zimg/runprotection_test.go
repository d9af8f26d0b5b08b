//go:build linux

package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// A guest reads what zimg wrote to namespaces with protection information, which QEMU's
// drive verifies, and 'check --data' verifies what the guest wrote.
func TestRunProtection(t *testing.T) {
	for _, format := range []string{"metadata-size=8,pi=1", "metadata-size=16,pi=1,pil=1", "metadata-size=8,pi=3"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "p.zimg")
			data, want := randomFile(t, 65536)
			zimg(t, "create", "-q", "--ns", "zones=4,zone-size=1M,"+format, path)
			zimg(t, "write", "--zone", "1", path, data)
			zimg(t, "append", "--zone", "2", path, data)
			out := runBoot(t, path, `
for lba in 256 512; do
	dd if=/dev/nvme0n1 bs=4096 skip=$lba count=16 iflag=direct 2>/dev/null | sha256sum
done
dd if=/dev/urandom of=/dev/nvme0n1 bs=4096 seek=768 count=4 oflag=direct conv=notrunc 2>/dev/null && echo written
`)
			if got := strings.Count(out, want); got != 2 || !strings.Contains(out, "written") {
				t.Errorf("the guest read the data %d times, want 2:\n%s", got, out)
			}
			zimg(t, "check", "--data", path)
		})
	}
}
