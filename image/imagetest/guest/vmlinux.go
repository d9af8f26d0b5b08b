package guest

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
)

// unpackKernel writes the kernel of the bzImage at image to out as what it unpacks itself to, which takes an emulated
// processor half of the time of a boot. QEMU boots that at its PVH entry. Where there is none, or the kernel is packed in
// some other way, out is a copy of image.
func unpackKernel(ctx context.Context, image, out string) error {
	b, err := os.ReadFile(image)
	if err != nil {
		return err
	}
	packed, program := payload(b)
	if program == "" {
		return copyFile(image, out)
	}
	name := filepath.Join(filepath.Dir(image), "payload")
	if err := os.WriteFile(name, packed, 0o644); err != nil {
		return err
	}
	text, err := output(ctx, "", program, "-dc", name)
	if err != nil {
		return err
	}
	if !pvh([]byte(text)) {
		return copyFile(image, out)
	}
	return os.WriteFile(out, []byte(text), 0o644)
}

// payload is the packed kernel in a bzImage, and the program that unpacks it (Linux, Documentation/arch/x86/boot.rst);
// "" if there is none.
func payload(b []byte) (packed []byte, program string) {
	const setupSects, magic, payloadOffset, payloadLength = 0x1F1, 0x202, 0x248, 0x24C
	if len(b) < payloadLength+4 || string(b[magic:magic+4]) != "HdrS" {
		return nil, ""
	}
	from := (int(b[setupSects])+1)*512 + int(binary.LittleEndian.Uint32(b[payloadOffset:]))
	length := int(binary.LittleEndian.Uint32(b[payloadLength:]))
	if length < 8 || from+length > len(b) {
		return nil, ""
	}
	packed = b[from : from+length-4] // without the length that follows
	switch {
	case bytes.HasPrefix(packed, []byte("\xFD7zXZ\x00")):
		return packed, "xz"
	case bytes.HasPrefix(packed, []byte("\x28\xB5\x2F\xFD")):
		return packed, "zstd"
	}
	return nil, ""
}

// pvh reports whether b is an ELF file with an entry for PVH, which a note of type 18 of Xen's has (Linux,
// include/xen/interface/elfnote.h).
func pvh(b []byte) bool {
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		return false
	}
	note := fmt.Appendf(binary.LittleEndian.AppendUint32(nil, 18), "Xen\x00")
	for _, p := range f.Progs {
		if p.Type != elf.PT_NOTE {
			continue
		}
		notes := make([]byte, p.Filesz)
		if _, err := p.ReadAt(notes, 0); err == nil && bytes.Contains(notes, note) {
			return true
		}
	}
	return false
}
