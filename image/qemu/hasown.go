package qemu

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// HasOwnDrive reports whether the QEMU that command starts can have a drive that is zimg's own.
//
// It asks QEMU, which takes as long as a start of QEMU. The answer is kept in the folder cache until the program changes, unless
// cache is empty, or command begins with a wrapper, whose answer may change without it.
func HasOwnDrive(ctx context.Context, command []string, cache string) bool {
	known := knownAnswer(command[0], cache)
	if own, ok := known.read(); ok {
		return own
	}
	own, sure := askOwnDrive(ctx, command)
	if sure {
		known.write(own)
	}
	return own
}

// askOwnDrive asks the QEMU that command starts. sure is false if it has not given an answer.
func askOwnDrive(ctx context.Context, command []string) (own, sure bool) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	program := command
	for i, word := range command {
		if isQEMU(word) {
			program = command[:i+1]
			break
		}
	}
	if len(program) == len(command) && !isQEMU(program[len(program)-1]) {
		program = command[:1] // a wrapper that ends in QEMU itself
	}
	argv := append(append([]string(nil), program...), "-device", "vfio-user-pci,help")
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var refusal bytes.Buffer
	cmd.Stderr = &refusal
	out, err := cmd.Output()
	if err != nil {
		return false, strings.Contains(refusal.String(), "'vfio-user-pci' not found")
	}
	return strings.Contains(string(out), "socket"), true
}

// answer is what a program has said, in a file. The file has a line that identifies the program, with the answer: a program that was
// replaced, or a file that was written in part, has another line.
type answer struct {
	file    string // "" if answers of this program are not kept
	program string // identifies it
}

// elfMagic begins a program that is not a script.
const elfMagic = "\x7fELF"

func knownAnswer(name, cache string) answer {
	if cache == "" || !isQEMU(name) {
		return answer{}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return answer{}
	}
	if path, err = filepath.Abs(path); err != nil {
		return answer{}
	}
	file, err := os.Open(path)
	if err != nil {
		return answer{}
	}
	defer func() { _ = file.Close() }()
	magic := make([]byte, len(elfMagic))
	id := fileIdentity(file)
	if _, err := file.ReadAt(magic, 0); err != nil || string(magic) != elfMagic || id == "" {
		return answer{}
	}
	sum := sha256.Sum256([]byte(path))
	return answer{file: filepath.Join(cache, fmt.Sprintf("vfio-user-%x", sum[:8])), program: id}
}

func (a answer) line(own bool) string {
	if own {
		return a.program + " yes\n"
	}
	return a.program + " no\n"
}

func (a answer) read() (own, ok bool) {
	if a.file == "" {
		return false, false
	}
	b, err := os.ReadFile(a.file)
	if err != nil {
		return false, false
	}
	own = string(b) == a.line(true)
	return own, own || string(b) == a.line(false)
}

// write keeps an answer, in a new file: what is there may be a link. If that is not possible QEMU is asked again the next time.
func (a answer) write(own bool) {
	if a.file == "" || os.MkdirAll(filepath.Dir(a.file), 0o700) != nil {
		return
	}
	_ = os.Remove(a.file)
	file, err := os.OpenFile(a.file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	_, _ = file.WriteString(a.line(own))
	_ = file.Close()
}
