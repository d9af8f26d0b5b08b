//go:build linux

package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// served is a zimg serve in a process of its own.
type served struct {
	t    *testing.T
	bin  string
	args []string
	port string // the same over all starts
	nqn  string
	cmd  *exec.Cmd
	said string // file with what it has printed since its last start
}

// startServing serves images on a free port.
func startServing(t *testing.T, args ...string) *served {
	t.Helper()
	bin, err := program()
	if err != nil {
		t.Fatal(err)
	}
	s := &served{t: t, bin: bin, args: args, port: "0", said: filepath.Join(t.TempDir(), "said")}
	s.start()
	t.Cleanup(func() {
		if s.cmd != nil {
			_ = s.cmd.Process.Kill()
			_ = s.cmd.Wait()
		}
		t.Log(s)
	})
	return s
}

func (s *served) start() {
	s.t.Helper()
	ready := s.launch(append([]string{"--listen", "127.0.0.1:" + s.port}, s.args...)...)
	var err error
	if _, s.port, err = net.SplitHostPort(ready); err != nil {
		s.t.Fatal(err)
	}
}

// launch starts zimg serve and returns where it says that it is ready.
func (s *served) launch(args ...string) (ready string) {
	s.t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	s.cmd = exec.Command(s.bin, append([]string{"serve", "--ready-fd", "3"}, args...)...)
	said, err := os.Create(s.said)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = said.Close() }()
	s.cmd.Stdout, s.cmd.Stderr, s.cmd.ExtraFiles = said, said, []*os.File{w}
	err = s.cmd.Start()
	_ = w.Close()
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := fmt.Fscanln(r, &ready); err != nil {
		_ = s.cmd.Wait()
		s.t.Fatalf("not ready: %v\n%s", err, s)
	}
	return ready
}

// String is what it has printed since its last start.
func (s *served) String() string {
	b, err := os.ReadFile(s.said)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// end ends it by a signal and returns its exit status.
func (s *served) end(sig os.Signal) int {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
	return s.wait()
}

// wait waits for its end and returns its exit status.
func (s *served) wait() int {
	_ = s.cmd.Wait()
	code := s.cmd.ProcessState.ExitCode()
	s.cmd = nil
	return code
}

// network is the guest's side of QEMU's user networking.
var network = []string{"-m", "768M", "-netdev", "user,id=net", "-device", "e1000,netdev=net"}

// connect is the part of a script that connects to what port serves.
func connect(port, nqn string) string {
	return `
modprobe e1000; modprobe nvme-tcp
ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up
` + connectMore(port, nqn) + `
until [ -b "$(echo /dev/nvme[0-9]*n1)" ]; do usleep 10000; done
d=$(echo /dev/nvme[0-9]*n1)
`
}

// connectMore connects to one more subsystem, without waiting for its namespaces.
func connectMore(port, nqn string) string {
	const id = "11111111-2222-3333-4444-555555555555"
	return fmt.Sprintf("nvme connect -t tcp -a 10.0.2.2 -s %s -n %s -q nqn.2014-08.org.nvmexpress:uuid:%s -I %s -c 1", port, nqn, id, id)
}

// printedNQNs are the names of the n subsystems that are served, from the commands that were printed.
func (s *served) printedNQNs(n int) (nqns []string) {
	s.t.Helper()
	for line := range strings.Lines(s.String()) {
		if f := strings.Fields(line); len(f) > 9 && f[5] == "127.0.0.1" {
			nqns = append(nqns, f[9])
		}
	}
	if len(nqns) != n {
		s.t.Fatalf("printed %s", s)
	}
	return nqns
}

func (s *served) boot(script string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Minute)
	defer cancel()
	res, err := builtGuest(s.t).Run(ctx, network, "set -e\n"+connect(s.port, s.nqn)+script)
	if err != nil || res.Status != 0 {
		s.t.Fatalf("guest: status %d, %v\n%s\n%s", res.Status, err, res.Output, res.Stderr)
	}
	return res.Output
}

const serveNQN = "nqn.2026-01.org.example:disk"

// A guest that connects over the network sees the zones as zimg says, writes data, and finds file systems as it left
// them after the target was stopped and started.
func TestServeGuest(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "d.zimg")
	zimg(t, "create", "--ns", "zones=40,zone-size=4M,zone-capacity=3M,max-open=8,max-active=10,block-size=4096",
		"--ns", "type=nvm,size=64M,block-size=4096", path)
	before, _ := randomFile(t, 300*1024)
	zimg(t, "write", "--ns", "1", "--zone", "3", path, before)
	zimg(t, "zone", "finish", "--ns", "1", path, "5")
	s := startServing(t, "--nqn", serveNQN, path)
	s.nqn = serveNQN
	out := s.boot(`
dd if=/dev/urandom of=/tmp/r bs=64K count=20 2>/dev/null
dd if=/tmp/r of=$d bs=64K seek=$((7*64)) oflag=direct conv=notrunc 2>/dev/null
blkzone open -o $((8*8192)) -c 1 $d
p=${d%n1}n2
dd if=/tmp/r of=$p bs=64K oflag=direct conv=notrunc 2>/dev/null
dd if=$d bs=64K skip=$((7*64)) count=20 iflag=direct 2>/dev/null | cmp - /tmp/r
dd if=$p bs=64K count=20 iflag=direct 2>/dev/null | cmp - /tmp/r
echo "## sum"; sha256sum </tmp/r | cut -d' ' -f1
nvme disconnect -n ` + serveNQN + ` >/dev/null
` + connect(s.port, serveNQN) + `
echo "## blkzone"; blkzone report $d
echo "## nvme"; nvme zns report-zones $d -o json
echo "## zbd"; zbd report $d
echo "## end"
nvme disconnect -n ` + serveNQN + `
`)
	if code := s.end(os.Interrupt); code != 0 {
		t.Fatalf("exit %d\n%s", code, s)
	}
	for _, form := range []struct{ section, output string }{{"blkzone", "blkzone"}, {"nvme", "nvme"}, {"zbd", "zbd"}} {
		want := zimg(t, "report", "--ns", "1", "--output", form.output, path)
		if form.output == "nvme" {
			want = attrsInfo.ReplaceAllString(want, `"attrs":$1`)
		}
		got := section(t, out, form.section)
		if i := strings.Index(got, "Zone 00000"); form.output == "zbd" && i > 0 {
			got = got[i:]
		}
		got = withoutWP(got)
		if got != want {
			t.Errorf("%s: %s", form.section, firstDifference(got, want))
		}
	}
	if got := sum(zimg(t, "read", "--ns", "1", "--zone", "7", path)); got != strings.TrimSpace(section(t, out, "sum")) {
		t.Errorf("zone 7 holds other data: %s", got)
	}
	zimg(t, "check", "--data", path)
}

// firstDifference is the first line that differs.
func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d:\n%s\nwant\n%s", i+1, g[i], w[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(g), len(w))
}
