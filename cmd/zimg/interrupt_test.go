//go:build linux

package main

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Signals at the same time are one request to stop, and timeout(1) sends two of them: the command has the time to leave the image as it
// was.
func TestSignalTwice(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "d.zimg")
	zimg(t, "create", "-q", "--zones", "4", "--zone-size", "16M", path)
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		cmd := exec.Command("zimg", "write", "--zone", "1", path, "-")
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := in.Write(make([]byte, 8<<20)); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the write to begin", func() bool {
			out, _, _ := zimgStatus("info", "-U", path)
			return !strings.Contains(out, "state: clean\n")
		})
		pace := time.NewTicker(time.Millisecond)
		for range 5 { // it may have ended before the last of them
			_ = cmd.Process.Signal(sig)
			<-pace.C
		}
		pace.Stop()
		_ = cmd.Wait()
		_ = in.Close()
		status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
		if !ok || status.Signal() != sig || stderr.String() != "zimg: interrupted\n" {
			t.Errorf("%v: ended by %v: %s", sig, status.Signal(), stderr.String())
		}
		if out, errs, code := zimgStatus("check", path); code != 0 {
			t.Errorf("%v: check says %d: %s%s", sig, code, out, errs)
		}
	}
}
