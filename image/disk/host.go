package disk

import (
	"encoding/hex"
	"os"
	"strings"
)

// BootID identifies this boot of the kernel, so that a later program can find out whether the computer has been restarted
// since. It is zero where the system has no such thing.
func BootID() (id [16]byte) {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return id
	}
	b, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(string(text)), "-", ""))
	if err == nil && len(b) == len(id) {
		copy(id[:], b)
	}
	return id
}

// Identity distinguishes a file from its copies: it stays the same when the file is renamed, and a copy has another. It is zero
// where the system does not say.
func Identity(file File) (id [16]byte) {
	if f, ok := file.(interface{ identity() ([16]byte, bool) }); ok {
		id, _ = f.identity()
	}
	return id
}
