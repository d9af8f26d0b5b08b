package guest

import (
	"encoding/binary"
	"testing"
)

// The packed kernel is found in a bzImage, by the program that packed it.
func TestPayload(t *testing.T) {
	t.Parallel()
	image := func(payload string) []byte {
		b := make([]byte, 2048)
		b[0x1F1] = 2 // sectors after the boot sector
		copy(b[0x202:], "HdrS")
		binary.LittleEndian.PutUint32(b[0x248:], 16)
		binary.LittleEndian.PutUint32(b[0x24C:], uint32(len(payload)+4))
		copy(b[3*512+16:], payload)
		return b
	}
	for want, payloadText := range map[string]string{"xz": "\xFD7zXZ\x00kernel", "zstd": "\x28\xB5\x2F\xFDkernel", "": "\x1F\x8Bkernel"} {
		packed, program := payload(image(payloadText))
		if program != want || want != "" && string(packed) != payloadText {
			t.Errorf("%q: %q by %q, want %q", payloadText, packed, program, want)
		}
	}
	b := image("\xFD7zXZ\x00kernel")
	binary.LittleEndian.PutUint32(b[0x24C:], 1<<31)
	if _, program := payload(b); program != "" {
		t.Errorf("a payload beyond the file, of %s", program)
	}
	if _, program := payload(b[:100]); program != "" {
		t.Errorf("a short file has a payload, of %s", program)
	}
}
