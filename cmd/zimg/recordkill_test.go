//go:build linux

package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// upToData takes the acknowledgements of finishes out of what load has said after its last write or
// reset: what came after those is not a point of a recording.
func upToData(output string) string {
	at := max(strings.LastIndex(output, "\nwrote "), strings.LastIndex(output, "\ndone reset "))
	return output[:at] + strings.ReplaceAll(output[at:], "\ndone finish ", "\nskip finish ")
}

// A recorded run is killed: the last point of the recording has what was acknowledged, with zones finished
// and reset, every point before it is a sound image, and the run's own image is repaired as ever.
func TestRecordKilled(t *testing.T) {
	t.Parallel()
	bin, err := program()
	if err != nil {
		t.Fatal(err)
	}
	for _, way := range []string{"QEMU", "zimg"} {
		dir := t.TempDir()
		path, rec, last := filepath.Join(dir, "d.zimg"), filepath.Join(dir, "rec"), filepath.Join(dir, "last.zimg")
		zimg(t, "create", "-q", "--zones", "16", "--zone-size", "1M", "--zone-capacity", "768K", "--max-open", "4", "--max-active", "10", "--block-size", "512", path)
		vm, err := runner(t, "--record", rec, path).Start(t.Context(), nil, load)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		if _, err := vm.WaitLine(ctx, "wrote 5 "); err != nil {
			t.Fatalf("%v\n%s", err, vm.Output())
		}
		cancel()
		pid := vm.Pid()
		if way == "QEMU" {
			if pid, err = vm.QEMU(); err != nil {
				t.Fatal(err)
			}
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		res, _ := vm.Wait()
		var writes, flushes int
		list := zimg(t, "crash", "--list", rec)
		for line := range strings.Lines(list) {
			if _, err := fmt.Sscanf(line, "%d writes, %d flush", &writes, &flushes); err == nil {
				break
			}
		}
		if writes < 10 || !strings.Contains(list, ": finish") {
			t.Fatalf("%s was killed: %s", way, list)
		}
		zimg(t, "crash", "--at", fmt.Sprintf("write:%d", writes), "--unflushed", "keep", rec, last)
		if n := verify(t, last, "512", model(t, upToData(res.Output))); n == 0 {
			t.Error("nothing was acknowledged")
		}
		out, errs, code := zimgStatus("crash", "--every", "write", "--unflushed", "torn", "--run", bin+" check -q --data {}", rec)
		if code != 0 {
			t.Errorf("exit %d: %s%s", code, out, errs)
		}
		if out, errs, code := zimgStatus("check", "--repair", "--data", path); code != 0 {
			t.Errorf("%s was killed: the image: exit %d\n%s%s", way, code, out, errs)
		}
		verify(t, path, "512", model(t, res.Output))
		if t.Failed() {
			t.Fatalf("%s was killed; the guest said\n%s\n%s", way, res.Output, list)
		}
		t.Logf("%s was killed: %d writes, %d flushes", way, writes, flushes)
	}
}
