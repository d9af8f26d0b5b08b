//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"zimg/cmd/internal/report"
	"zimg/image/imagetest"
)

// load writes to zones and says what it does before and after, without end. A chunk
// of 64 KiB is one line over and over, so that a reader knows it again.
const load = `
d=/dev/nvme0n1
echo "## report"; blkzone report $d; echo "## load"
for z in 0 1 2 3 4 5 6 7; do echo "do reset $z"; blkzone reset -o $((z*2048)) -c 1 $d; echo "done reset $z"; done
n=0
while :; do
	z=$((n % 8)); n=$((n + 1))
	echo "do reset $z"; blkzone reset -o $((z*2048)) -c 1 $d; echo "done reset $z"
	for c in 0 1 2 3 4; do
		[ $c -lt $((1 + n % 5)) ] || break
		yes "round $n chunk $c" | head -c 65536 >/tmp/c
		dd if=/tmp/c of=$d bs=64K seek=$((z*16 + c)) oflag=direct conv=notrunc 2>/dev/null
		echo "wrote $z $c $n"
	done
	if [ $((n % 3)) = 0 ]; then echo "do finish $z"; blkzone finish -o $((z*2048)) -c 1 $d; echo "done finish $z"; fi
done
`

// zoneModel is what is known of a zone from the lines of load.
type zoneModel struct {
	chunks   []int // the round that wrote each
	finished bool
	doing    string // an action that was begun and not acknowledged
}

// model replays the lines of load.
func model(t *testing.T, output string) map[int]*zoneModel {
	t.Helper()
	zones := map[int]*zoneModel{}
	_, lines, _ := strings.Cut(output, "## load\n")
	for line := range strings.Lines(lines) {
		if !strings.HasSuffix(line, "\n") {
			break // cut short
		}
		f := strings.Fields(line)
		if len(f) < 3 {
			continue
		}
		number := func(s string) int {
			n, err := strconv.Atoi(s)
			if err != nil {
				t.Fatalf("line %q", line)
			}
			return n
		}
		switch f[0] {
		case "do":
			z := number(f[2])
			if zones[z] == nil {
				zones[z] = &zoneModel{}
			}
			zones[z].doing = f[1]
		case "done":
			z := zones[number(f[2])]
			z.doing = ""
			if f[1] == "reset" {
				*z = zoneModel{}
			} else {
				z.finished = true
			}
		case "wrote":
			z := zones[number(f[1])]
			z.chunks = append(z.chunks, number(f[3]))
		}
	}
	return zones
}

// verify holds the image against the model: nothing that was acknowledged may be
// missing.
func verify(t *testing.T, path, block string, zones map[int]*zoneModel) (chunks int) {
	t.Helper()
	var report struct {
		Namespaces []struct{ Zones []report.ZoneView }
	}
	if err := json.Unmarshal([]byte(zimg(t, "report", "--output", "json", path)), &report); err != nil {
		t.Fatal(err)
	}
	size, err := strconv.Atoi(block)
	if err != nil {
		t.Fatal(err)
	}
	perChunk := 65536 / size // blocks
	for i, m := range zones {
		z := report.Namespaces[0].Zones[i]
		if m.doing == "reset" && z.Written < uint64(len(m.chunks)*perChunk) {
			continue // it has been reset
		}
		if m.finished && m.doing == "" && z.State != "full" {
			t.Errorf("zone %d was finished, it is %s", i, z.State)
		}
		if z.Written < uint64(len(m.chunks)*perChunk) {
			t.Errorf("zone %d is written to %d blocks, %d chunks were acknowledged", i, z.Written, len(m.chunks))
			continue
		}
		if len(m.chunks) == 0 && !m.finished && z.Written > uint64(perChunk) {
			t.Errorf("zone %d was reset, it is written to %d", i, z.Written)
		}
		got := zimg(t, "read", "--lba", fmt.Sprint(z.Start), "--count", fmt.Sprint(max(1, len(m.chunks)*perChunk)), path)
		for c, round := range m.chunks {
			line := fmt.Sprintf("round %d chunk %d\n", round, c)
			want := strings.Repeat(line, 65536/len(line)+1)[:65536]
			if got[c*65536:(c+1)*65536] != want {
				t.Errorf("zone %d chunk %d does not read back", i, c)
			}
			chunks++
		}
	}
	return chunks
}

// kills is how often a test kills: ZIMG_KILLS, or few times.
func kills(t *testing.T, few int) int {
	n, err := strconv.Atoi(os.Getenv("ZIMG_KILLS"))
	if err != nil {
		return few
	}
	t.Logf("%d kills", n)
	return n
}

// QEMU, zimg or both are killed at random moments under load; the next run
// begins with what was acknowledged.
func TestRunKilled(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "d.zimg")
	zimg(t, "create", "--zones", "16", "--zone-size", "1M", "--zone-capacity", "768K", "--max-open", "4", "--max-active", "10", "--block-size", "512", path)
	random := rand.New(rand.NewPCG(imagetest.Seed(t), 0))
	ways := []string{"QEMU", "zimg", "both"}
	var last string
	total := 0
	for k := range kills(t, len(ways)) {
		way := ways[k%len(ways)]
		vm, err := runner(t, path).Start(t.Context(), nil, load)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		if _, err := vm.WaitLine(ctx, "wrote 0 "); err != nil {
			t.Fatalf("%v\n%s", err, vm.Output())
		}
		moment(ctx, random, 3*time.Second)
		cancel()
		qemu, err := vm.QEMU()
		if err != nil {
			t.Fatal(err)
		}
		if way != "zimg" {
			_ = syscall.Kill(qemu, syscall.SIGKILL)
		}
		if way != "QEMU" {
			_ = syscall.Kill(vm.Pid(), syscall.SIGKILL)
		}
		res, _ := vm.Wait()
		eventually(t, "the end of QEMU after the kill of "+way, func() bool { return syscall.Kill(qemu, 0) != nil })
		if last != "" {
			if got := afterPowerUp(section(t, res.Output, "report")); got != last {
				t.Errorf("after the last kill the guest saw\n%s\nwant\n%s", got, last)
			}
		}
		if way != "QEMU" { // else zimg has done it
			out, errs, code := zimgStatus("check", path)
			if code != 2 {
				t.Errorf("%s was killed: check says %d\n%s%s", way, code, out, errs)
			}
			if out, errs, code := zimgStatus("check", "--repair", path); code != 0 {
				t.Fatalf("%s was killed: check --repair says %d\n%s%s", way, code, out, errs)
			}
		}
		if out, errs, code := zimgStatus("check", "--data", path); code != 0 {
			t.Errorf("%s was killed: after the repair check says %d\n%s%s", way, code, out, errs)
		}
		total += verify(t, path, "512", model(t, res.Output))
		last = zimg(t, "report", "--output", "blkzone", path)
		for _, suffix := range []string{".zjournal", ".ztrace"} {
			if _, err := os.Stat(path + suffix); err == nil {
				t.Errorf("%s is left", path+suffix)
			}
		}
		if t.Failed() {
			t.Fatalf("%s was killed; the guest said\n%s\nzimg said\n%s", way, res.Output, res.Stderr)
		}
	}
	t.Logf("%d acknowledged chunks read back", total)
}
