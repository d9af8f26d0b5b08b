//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"zimg/image/imagetest"
)

// In bash a list goes on after a comma, without backslashes; and nothing has the quotes that flags' descriptions are
// written with.
func TestBashCompletion(t *testing.T) {
	imagetest.NeedsPrograms(t, "bash")
	t.Parallel()
	program, err := program()
	if err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(t.TempDir(), "zimg")
	if err := os.WriteFile(script, []byte(zimg(t, "completion", "bash")), 0o666); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"zimg report --state full,of":      "full,offline",
		"zimg create --ns type=nvm,zone-s": "nvm,zone-size=", // bash has the word up to the = already
		"zimg cre":                         "create",
		"zimg create --like zn":            "zn540",
	} {
		cmd := exec.Command("bash", "-c", `
_init_completion() { words=("${COMP_WORDS[@]}"); cword=$COMP_CWORD; cur=${words[cword]}; prev=${words[cword-1]}; }
. "$1"
COMP_LINE=$2; COMP_POINT=${#2}; COMP_TYPE=9
read -ra COMP_WORDS <<<"$2"; COMP_CWORD=$((${#COMP_WORDS[@]}-1))
__start_zimg 2>/dev/null
printf '%s\n' "${COMPREPLY[@]}"`, "bash", script, line)
		cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", line, got, err, want)
		}
	}
	for _, shell := range completionShells {
		if out := zimg(t, "completion", shell); strings.Contains(out, "`NAME`") {
			t.Errorf("%s: quotes", shell)
		}
	}
}
