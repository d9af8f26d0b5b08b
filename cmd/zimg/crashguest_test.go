//go:build linux

package main

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zimg/image/imagetest"
)

// A stock QEMU, without zimg run, is killed while a guest writes with O_DIRECT to several
// zones, finishes some, resets some: check says what is wrong, the repair fixes it,
// and whatever the guest had acknowledged is there.
func TestStockQEMUKilled(t *testing.T) {
	t.Parallel()
	seed := imagetest.Seed(t)
	for _, c := range []struct{ name, layout, block string }{
		{"trailing 512", "trailing", "512"}, {"sidecar 4096", "sidecar", "4096"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "d.zimg")
			zimg(t, "create", "--layout", c.layout, "--zones", "16", "--zone-size", "1M", "--zone-capacity", "768K", "--block-size", c.block, path)
			args := strings.Fields(zimg(t, "qemu-args", path))
			vm, err := builtGuest(t).Start(t.Context(), args, load)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			if _, err := vm.WaitLine(ctx, "wrote 3 "); err != nil {
				t.Fatal(err)
			}
			moment(ctx, rand.New(rand.NewPCG(seed, uint64(len(c.layout)))), 2*time.Second)
			if err := vm.Kill(); err != nil {
				t.Fatal(err)
			}
			res, _ := vm.Wait()
			out, errs, code := zimgStatus("check", path)
			if code != 2 || !strings.Contains(errs, "data-beyond-wp") {
				t.Errorf("check: exit %d\n%s%s", code, out, errs)
			}
			if out, errs, code := zimgStatus("check", "--repair", path); code != 0 {
				t.Fatalf("check --repair: exit %d\n%s%s", code, out, errs)
			}
			zones := model(t, res.Output)
			for _, z := range zones {
				z.finished = false // there is no journal, and the data does not show what is finished
			}
			if n := verify(t, path, c.block, zones); n == 0 {
				t.Error("nothing was acknowledged")
			}
		})
	}
}
