//go:build unix

package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"zimg/cmd/internal/cli"
	"zimg/image/imagetest"
)

// What is there before the examples of a command are typed: the image of the first example of all, with
// extensions, and what else they speak of.
const exampleSetup = `zimg create -q --zones 64 --zone-size 64M --descr-ext-size 64 disk.zimg
head -c 20000 /dev/urandom >data.bin
zimg write --zone 3 disk.zimg data.bin
mkdir -p .zfunc .config/fish/completions dumps src
cp data.bin src
`

// exampleSetups are what else a command's examples want.
var exampleSetups = map[string]string{
	"zimg":         "rm disk.zimg",
	"zimg create":  "rm disk.zimg",
	"zimg undo":    "truncate -s -4096 disk.zimg",
	"zimg compare": "zimg convert -q disk.zimg copy.zimg; zimg convert -q -O qcow2 disk.zimg export.qcow2 2>/dev/null",
	"zimg convert": "zimg create -q --zones 4 z.zimg; zimg convert -q -O zone-file z.zimg zns.raw; rm z.zimg",
	"zimg serve": "for i in a b; do zimg create -q --zones 4 --zone-size 1M $i.zimg; done; " +
		"echo DHHC-1:00:eGHcprOPJOI3FKucQVWMEr5MtQYpgJAG9+CIrPD4XMnv07Wz: >keys",
	"zimg run":        "zimg convert -q disk.zimg a.zimg; zimg convert -q disk.zimg b.zimg",
	"zimg zone close": "zimg zone open disk.zimg 4-9",
	"zimg fault":      exampleFault, "zimg fault add": exampleFault, "zimg fault list": exampleFault, "zimg fault clear": exampleFault,
	"zimg power-cut": exampleFault,
}

// exampleFault serves the image while the examples run, with a fault to be cleared.
const exampleFault = `
zimg serve -q --listen 127.0.0.1:0 --ready-fd 9 disk.zimg 9>started & service=$!
trap 'kill $service 2>/dev/null || :; wait $service || :' EXIT
until [ -s started ] || ! kill -0 $service 2>/dev/null; do sleep 0.02; done
zimg fault add --delay 1ms disk.zimg
`

// exampleServe serves on a free port until hosts could connect.
const exampleServe = `
serve() {
	rm -f started
	zimg serve "$@" --listen 127.0.0.1:0 --ready-fd 9 9>started & pid=$!
	until [ -s started ] || ! kill -0 $pid 2>/dev/null; do sleep 0.02; done
	kill $pid; wait $pid
}
`

// The examples of every help work as they are written. QEMU is not started: run prints its command
// line only. What is served, is served on another port, and until hosts could connect.
func TestExamples(t *testing.T) {
	imagetest.NeedsPrograms(t, "what the examples start beside zimg")
	ran := 0
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range cli.Visible(c) {
			walk(sub)
		}
		path := c.CommandPath()
		if path == "zimg crash" {
			return // wants a recorded run: TestCrashWalk
		}
		dir := t.TempDir()
		script := exampleSetup + exampleSetups[path] + "\nqemu-system-x86_64() { test $# -gt 3; }\n" + exampleServe
		for line := range strings.Lines(c.Example) {
			line = strings.TrimSpace(strings.ReplaceAll(line, " ...", ""))
			line = strings.NewReplacer("zimg run", "zimg run --dry-run", "zimg serve", "serve", "/run/user/1000/", "").Replace(line)
			script += "set -x\n" + line + "\n{ set +x; } 2>/dev/null\n"
			ran++
		}
		sh := exec.Command("bash", "-ec", "set -o pipefail\n"+script)
		sh.Dir = dir
		sh.Env = append(os.Environ(), "HOME="+dir)
		if out, err := sh.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", path, err, out)
		}
	}
	walk(newRootCommand(nil))
	if ran < 40 {
		t.Errorf("%d examples", ran)
	}
}
