package drive_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"testing"

	"zimg/image/drive"
	"zimg/image/drive/drivetest"
	"zimg/image/imagetest"
	"zimg/layout"
)

var le = binary.LittleEndian

// identify reads a structure.
func (r *rig) identify(cns uint32, id layout.NSID, csi uint32) []byte {
	r.T.Helper()
	_, b := r.Want(0, drivetest.Cmd(opIdentify, id, cns, csi<<24), nil, drive.Success)
	return b
}

// What Linux insists on, at the offsets of NVMe Base 2.0, figure 276.
func TestIdentifyController(t *testing.T) {
	t.Parallel()
	r := newRig(t, imagetest.Standard(layout.Trailing), drive.Options{ZASL: 3}, drive.ControllerOptions{
		CNTLID: 7, Fabrics: true, IOCapsule: 8192,
	})
	b := r.identify(1, 0, 0)
	if got := string(b[4:24]); got != "5a010203040546078809" {
		t.Errorf("serial number %q", got)
	}
	if got, want := string(bytes.TrimRight(b[768:1024], "\x00")), "nqn.2014-08.org.nvmexpress:uuid:5a010203-0405-4607-8809-0a0b0c0d0e0f"; got != want {
		t.Errorf("NQN %q, want %q", got, want)
	}
	for _, f := range []struct {
		name      string
		off, size int
		want      uint64
	}{
		{"CMIC", 76, 1, 2},
		{"MDTS", 77, 1, 7},
		{"CNTLID", 78, 2, 7},
		{"VER", 80, 4, 0x20000},
		{"OAES", 92, 4, 0x08000100},
		{"CTRATT", 96, 4, 1},
		{"CNTRLTYPE", 111, 1, 1},
		{"OACS", 256, 2, 0},
		{"ACL", 258, 1, 3},
		{"AERL", 259, 1, 3},
		{"FRMW", 260, 1, 3},
		{"LPA", 261, 1, 6},
		{"ELPE", 262, 1, 63},
		{"KAS", 320, 2, 10},
		{"SQES", 512, 1, 0x66},
		{"CQES", 513, 1, 0x44},
		{"MAXCMD", 514, 2, 128},
		{"NN", 516, 4, 3},
		{"ONCS", 520, 2, 0x1DD},
		{"VWC", 525, 1, 7},
		{"SGLS", 536, 4, 0x100001},
		{"MNAN", 540, 4, 3},
		{"IOCCSZ", 1792, 4, 516},
		{"IORCSZ", 1796, 4, 1},
		{"ICDOFF", 1800, 2, 0},
		{"MSDBD", 1803, 1, 1},
	} {
		v := make([]byte, 8)
		copy(v, b[f.off:f.off+f.size])
		if got := le.Uint64(v); got != f.want {
			t.Errorf("%s at %d is %#x, want %#x", f.name, f.off, got, f.want)
		}
	}
	if b := r.identify(6, 0, 2); b[0] != 3 {
		t.Errorf("ZASL %d", b[0])
	}
	if b := r.identify(0x1C, 0, 0); le.Uint64(b) != 5 {
		t.Errorf("I/O command sets %#x", le.Uint64(b))
	}
	if b := r.identify(0x13, 0, 0); le.Uint16(b) != 1 || le.Uint16(b[2:]) != 7 {
		t.Errorf("controllers % x", b[:6])
	}
}

func TestIdentifyNamespaces(t *testing.T) {
	t.Parallel()
	r := standard(t)
	for cns, want := range map[uint32]string{2: "010000000200000003000000", 0x10: "010000000200000003000000"} {
		if got := hex.EncodeToString(r.identify(cns, 0, 0)[:12]); got != want {
			t.Errorf("CNS %#x: %s", cns, got)
		}
	}
	for csi, want := range map[uint32]string{0: "0300000000000000", 2: "0100000002000000"} {
		if got := hex.EncodeToString(r.identify(7, 0, csi)[:8]); got != want {
			t.Errorf("CNS 07h, CSI %d: %s", csi, got)
		}
	}
	b := r.identify(0, 1, 0)
	if le.Uint64(b) != 2048 || le.Uint64(b[8:]) != 2048 || le.Uint64(b[16:]) != 2048 || b[25] != 0 || b[26] != 0 || b[30] != 0 || b[33] != 9 || b[130] != 9 {
		t.Errorf("namespace 1: % x", b[:136])
	}
	z := r.identify(5, 1, 2)
	if le.Uint16(z) != 0 || le.Uint32(z[4:]) != 5 || le.Uint32(z[8:]) != 3 || le.Uint64(z[2816:]) != 128 || z[2824] != 1 {
		t.Errorf("namespace 1, zoned: % x, % x", z[:56], z[2816:2832])
	}
	if b := r.identify(8, 2, 0); b[14] != 1 {
		t.Errorf("CNS 08h: NSTAT %d", b[14])
	}
	d := r.identify(3, 1, 0)
	if d[0] != 3 || d[1] != 16 || d[20] != 4 || d[21] != 1 || d[24] != 2 || d[25] != 0 {
		t.Errorf("descriptors % x", d[:32])
	}
	if again := r.identify(3, 2, 0); bytes.Equal(again[4:20], d[4:20]) {
		t.Error("two namespaces have one UUID")
	}
	for _, c := range []struct {
		cns, csi uint32
		id       layout.NSID
		want     drive.Status
	}{
		{0, 0, 0, drive.InvalidNamespace},
		{0, 0, 4, drive.InvalidNamespace},
		{2, 0, 0xFFFFFFFE, drive.InvalidNamespace},
		{5, 2, 3, drive.InvalidField},
		{5, 1, 1, drive.InvalidField},
		{7, 1, 0, drive.InvalidField},
		{0x55, 0, 1, drive.InvalidField},
	} {
		cpl, _ := r.Want(0, drivetest.Cmd(opIdentify, c.id, c.cns, c.csi<<24), nil, c.want)
		if cpl.Status&drive.DNR == 0 {
			t.Errorf("CNS %#x: the host would try again", c.cns)
		}
	}
}

// An image whose identifiers have gaps: what is between is inactive.
func TestInactiveNamespace(t *testing.T) {
	t.Parallel()
	r := newRig(t, imagetest.Spec{Layout: layout.Trailing, UUID: [16]byte{1}, Namespaces: []imagetest.SpecNamespace{
		{Namespace: layout.Namespace{ID: 5, CSI: layout.NVM, BlockBits: 9, Blocks: 64}},
		{Namespace: layout.Namespace{ID: 9, CSI: layout.NVM, BlockBits: 9, Blocks: 64}},
	}}, drive.Options{}, drive.ControllerOptions{})
	if b := r.identify(0, 7, 0); !bytes.Equal(b, make([]byte, 4096)) {
		t.Errorf("an inactive namespace: % x", b[:32])
	}
	r.Want(1, drivetest.IO(opRead, 7, 0, 1, 0), nil, drive.InvalidField)
	r.Want(1, drivetest.IO(opRead, 10, 0, 1, 0), nil, drive.InvalidNamespace)
	if b := r.identify(2, 5, 0); le.Uint32(b) != 9 || le.Uint32(b[4:]) != 0 {
		t.Errorf("namespaces after 5: % x", b[:8])
	}
}

// A copy of an image beside the image has identifiers of its own: Linux refuses a namespace with one that it knows.
func TestIdentifyCopy(t *testing.T) {
	t.Parallel()
	spec := imagetest.Spec{Layout: layout.Trailing, UUID: [16]byte{1}, Namespaces: []imagetest.SpecNamespace{
		{Namespace: layout.Namespace{
			ID: 1, CSI: layout.NVM, BlockBits: 12, Blocks: 256,
			EUI64: [8]byte{1, 7: 0xFF}, NGUID: [16]byte{2, 15: 3}, UUID: [16]byte{4, 15: 5},
		}},
		{Namespace: layout.Namespace{ID: 2, CSI: layout.NVM, BlockBits: 12, Blocks: 256}}, // has a UUID of the image's
	}}
	first := newRig(t, spec, drive.Options{}, drive.ControllerOptions{CNTLID: 1})
	second := newRig(t, spec, drive.Options{Copy: 2}, drive.ControllerOptions{CNTLID: 1})
	for _, c := range []struct {
		r    *rig
		want string
	}{
		{first, "01080000" + "01000000000000ff" + "02100000" + "02000000000000000000000000000003" + "03100000" + "04000000000000000000000000000005"},
		{second, "01080000" + "0100000000000001" + "02100000" + "02000000000000000000000000000005" + "03100000" + "04000000000000000000000000000007"},
	} {
		if got := hex.EncodeToString(c.r.identify(3, 1, 0)[:12+20+20]); got != c.want {
			t.Errorf("descriptors %s, want %s", got, c.want)
		}
		if b := c.r.identify(0, 1, 0); !bytes.Equal(b[104:128], append(c.r.identify(3, 1, 0)[16:32:32], c.r.identify(3, 1, 0)[4:12]...)) {
			t.Errorf("NGUID and EUI64 % x", b[104:128])
		}
	}
	if a, b := first.identify(3, 2, 0)[4:20], second.identify(3, 2, 0)[4:20]; bytes.Equal(a, b) {
		t.Errorf("both have the UUID % x", a)
	}
}
