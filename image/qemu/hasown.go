package qemu

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// ownDevice is QEMU's end of a drive that is zimg's own (QEMU 10.1, hw/vfio-user/pci.c).
const ownDevice = "vfio-user-pci"

// HasOwnDrive reports whether the QEMU that command starts can have a drive that is zimg's own.
//
// It asks QEMU, which takes as long as a start of QEMU, unless the program is a QEMU that cannot know the device, since its name is
// not in it. Wrappers are always asked, also those that are no scripts.
func HasOwnDrive(ctx context.Context, command []string) bool {
	if isQEMU(command[0]) && lacks(command[0], ownDevice) {
		return false
	}
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
	argv := append(append([]string(nil), program...), "-device", ownDevice+",help")
	out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).Output()
	return err == nil && strings.Contains(string(out), "socket")
}

// elfMagic begins a program that is not a script.
const elfMagic = "\x7fELF"

// everyQEMU is a text that each QEMU contains that has an NVMe controller, and a launcher of QEMU does not.
const everyQEMU = "nvme-ns"

// lacks reports whether name is a QEMU, and not what starts one, that was read to its end and does not contain text.
func lacks(name, text string) bool {
	path, err := exec.LookPath(name)
	if err != nil {
		return false
	}
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = file.Close() }()
	const piece = 1 << 20
	overlap := max(len(text), len(everyQEMU)) - 1
	buf := make([]byte, overlap+piece)
	kept := 0 // bytes of the last piece, in which text may begin
	itself := false
	for first := true; ; first = false {
		n, err := io.ReadFull(file, buf[kept:kept+piece])
		b := buf[:kept+n]
		if first && !bytes.HasPrefix(b, []byte(elfMagic)) || bytes.Contains(b, []byte(text)) {
			return false
		}
		itself = itself || bytes.Contains(b, []byte(everyQEMU))
		if err != nil {
			return itself && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF))
		}
		kept = copy(buf, b[len(b)-overlap:])
	}
}
