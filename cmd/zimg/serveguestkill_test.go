//go:build linux

package main

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"zimg/image/imagetest"
)

// serveLoad works on a drive whose target dies again and again. A zone command that fails is tried again until it succeeds.
// Linux itself repeats a write whose answer was lost, so a write must not fail.
const serveLoad = `
echo "## load"
try() { what=$1; shift; echo "do $what"; until "$@" 2>/dev/null; do usleep 200000; done; echo "done $what"; }
for z in 0 1 2 3 4 5 6 7; do try "reset $z" blkzone reset -o $((z*2048)) -c 1 $d; done
n=0
while :; do
	z=$((n % 8)); n=$((n + 1))
	try "reset $z" blkzone reset -o $((z*2048)) -c 1 $d
	for c in 0 1 2 3 4; do
		[ $c -lt $((1 + n % 5)) ] || break
		yes "round $n chunk $c" | head -c 65536 >/tmp/c
		dd if=/tmp/c of=$d bs=64K seek=$((z*16 + c)) oflag=direct conv=notrunc 2>/tmp/dd || { cat /tmp/dd; exit 1; }
		echo "wrote $z $c $n"
	done
	if [ $((n % 3)) = 0 ]; then try "finish $z" blkzone finish -o $((z*2048)) -c 1 $d; fi
done
`

// The target, QEMU or both are killed at random moments while a guest works over NVMe/TCP: everything that was acknowledged
// to the guest is there, and nothing has to be inferred. A guest whose target has died continues with the next one.
// It runs with make torture.
func TestServeGuestKilled(t *testing.T) {
	t.Parallel()
	count := kills(t, 0)
	if count == 0 {
		t.Skip("takes minutes; set ZIMG_KILLS to the number of kills")
	}
	random := rand.New(rand.NewPCG(imagetest.Seed(t), 3))
	path := filepath.Join(t.TempDir(), "d.zimg")
	zimg(t, "create", "--zones", "16", "--zone-size", "1M", "--block-size", "4096", path)
	s := startServing(t, "--nqn", serveNQN, path)
	g := builtGuest(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+count)*3*time.Minute)
	defer cancel()
	chunks, done := 0, 0
	for done < count {
		vm, err := g.Start(ctx, network, "set -e\n"+connect(s.port, serveNQN)+serveLoad)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := vm.WaitLine(ctx, "wrote 0 "); err != nil {
			t.Fatalf("%v\n%s", err, vm.Output())
		}
		// The target dies several times, then QEMU, with the target or alone.
		for last := false; !last; done++ {
			moment(ctx, random, 2*time.Second)
			last = done%4 == 3 || done == count-1
			way := "the target"
			switch {
			case last && done%8 == 3:
				way = "QEMU"
			case last:
				way = "both"
			}
			if last {
				if err := vm.Kill(); err != nil {
					t.Fatal(err)
				}
			}
			if way != "QEMU" {
				_ = s.cmd.Process.Kill()
				_ = s.cmd.Wait()
			}
			if last {
				_, _ = vm.Wait()
			}
			if way == "QEMU" {
				if code := s.end(syscall.SIGTERM); code != 0 {
					t.Fatalf("exit %d: %s", code, s)
				}
				zimg(t, "check", "--data", path)
			} else {
				nothingToInfer(t, done, path)
			}
			out := vm.Output()
			zones := model(t, out)
			chunks += verify(t, path, "4096", zones)
			for i, z := range zonesOf(t, path) {
				m := zones[i]
				if m != nil && !m.finished && m.doing == "" && z.Written > uint64(len(m.chunks)+1)*16 {
					t.Errorf("zone %d has %d blocks, the guest has written %d chunks of 16", i, z.Written, len(m.chunks))
				}
			}
			if t.Failed() {
				t.Fatalf("death %d, of %s; the guest said\n%s", done, way, out)
			}
			s.start()
			if last {
				continue
			}
			written := strings.Count(out, "\nwrote ")
			for strings.Count(vm.Output(), "\nwrote ") < written+3 { // it goes on
				if _, err := vm.WaitLine(ctx, "wrote "); err != nil {
					t.Fatalf("after death %d, of %s: %v\n%s", done, way, err, vm.Output())
				}
			}
		}
	}
	t.Logf("%d deaths, %d acknowledged chunks read back", done, chunks)
	if code := s.end(syscall.SIGTERM); code != 0 {
		t.Fatalf("exit %d: %s", code, s)
	}
	zimg(t, "check", "--data", path)
}
