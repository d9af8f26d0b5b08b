package drive_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"zimg/image/drive"
	"zimg/image/drive/drivetest"
	"zimg/image/imagetest"
	"zimg/layout"
)

func TestRegisters(t *testing.T) {
	t.Parallel()
	r := newRig(t, imagetest.Standard(layout.Trailing), drive.Options{}, drive.ControllerOptions{Fabrics: true})
	for _, c := range []struct {
		off  uint32
		size int
		want uint64
	}{{0, 8, 0x0000_0820_1E01_007F}, {0, 4, 0x1E01007F}, {4, 4, 0x820}, {8, 4, 0x20000}, {0x14, 4, 0x460061}, {0x1C, 4, 1}} {
		if v, st := r.C.ReadRegister(c.off, c.size); v != c.want || !st.OK() {
			t.Errorf("register %#x is %#x (%v), want %#x", c.off, v, st, c.want)
		}
	}
	for _, off := range []uint32{0xC, 0x20, 0x24, 0x3C, 0xE00, 0xFFFFFFFF} {
		if _, st := r.C.ReadRegister(off, 4); st != drive.InvalidField|drive.DNR {
			t.Errorf("register %#x: %v", off, st)
		}
		if st := r.C.WriteRegister(off, 4, 0); st != drive.InvalidField|drive.DNR {
			t.Errorf("writing register %#x: %v", off, st)
		}
	}
	p := drivetest.NewHost(t, r.d, drive.ControllerOptions{})
	if v, _ := p.C.ReadRegister(0, 8); v != 0x0040_0820_1E01_03FF {
		t.Errorf("CAP of a PCI function is %#x", v)
	}
	// What it cannot be enabled with is a fatal status, and a reset ends it.
	for _, cc := range []uint64{0x460011, 0x460071, 0x4600E1, 0x460861} {
		r.Reset()
		r.C.WriteRegister(0x14, 4, cc)
		r.Wait(3, 2)
	}
	r.Reset()
	r.Enable(0x460061)
}

// Opened zones come to rest when the last controller is shut down, and with nothing less.
func TestResetAndShutdown(t *testing.T) {
	t.Parallel()
	r := standard(t)
	other := drivetest.NewHost(t, r.d, drive.ControllerOptions{CNTLID: 2})
	r.Want(1, drivetest.IO(opWrite, 2, 32, 1, 0), nil, drive.Success)
	r.Want(1, drivetest.Cmd(opSend, 2, 48, 0, 0, 3), nil, drive.Success)
	states := func(what string, want ...layout.ZoneState) {
		t.Helper()
		for i, s := range want {
			if got := r.zone(2, uint64(2+i)).State; got != s {
				t.Errorf("%s: zone %d is %v, want %v", what, 2+i, got, s)
			}
		}
	}
	r.Reset()
	states("after a reset", layout.ImplicitlyOpened, layout.ExplicitlyOpened)
	r.Enable(0x460061)
	r.Shutdown()
	states("after one of two shutdowns", layout.ImplicitlyOpened, layout.ExplicitlyOpened)
	other.Shutdown()
	states("after both", layout.Closed, layout.Empty)
	r.Reset()
	r.Enable(0x460061)
	r.Want(1, drivetest.Cmd(opSend, 2, 48, 0, 0, 3), nil, drive.Success)
	r.C.Abandon()
	states("after an abandoned host", layout.Closed, layout.ExplicitlyOpened)
	r.C.Close()
	other.C.Close()
	if err := r.d.Close(); err != nil {
		t.Fatal(err)
	}
	states("after the drive's end", layout.Closed, layout.Empty)
	// One host went without a shutdown; the other had shut down before.
	fresh := drivetest.NewHost(t, r.d, drive.ControllerOptions{CNTLID: 3})
	b := make([]byte, 512)
	if cpl, ok := fresh.C.Execute(0, drivetest.Cmd(opGetLog, 0, 127<<16|2), b, nil, nil); !ok || !cpl.Status.OK() || le.Uint64(b[144:]) != 1 {
		t.Errorf("%d unsafe shutdowns, want 1", le.Uint64(b[144:]))
	}
	cpl, _ := r.Do(1, drivetest.IO(opWrite, 3, 0, 1, 0), nil)
	if cpl.Status.Code() != drive.SequenceError {
		t.Errorf("a write to an abandoned controller: %v", cpl.Status)
	}
}

// A shutdown that cannot make everything durable is a fatal status, abrupt or not.
func TestFailedShutdown(t *testing.T) {
	t.Parallel()
	for _, cc := range []uint64{0x464061, 0x468061} {
		r := standard(t)
		r.Want(1, drivetest.IO(opWrite, 3, 0, 1, 0), nil, drive.Success)
		r.st.Fail(errors.New("the disk is gone"))
		r.C.WriteRegister(0x14, 4, cc)
		r.Wait(0xE, 0xA)
		r.st.Fail(nil)
		r.Reset()
		r.Enable(0x460061)
		r.C.WriteRegister(0x14, 4, cc)
		r.Wait(0xE, 8)
	}
}

// Options that no drive can have are refused.
func TestOptions(t *testing.T) {
	t.Parallel()
	r := standard(t)
	for _, c := range []struct {
		o    drive.Options
		want string
	}{
		{drive.Options{MDTS: 10}, "maximum data transfer size (MDTS) 10 is too large: at most 9"},
		{drive.Options{ZASL: 8}, "zone append size limit (ZASL) 8 is larger than the maximum data transfer size (MDTS) 7"},
		{drive.Options{Serial: "123456789012345678901"}, `invalid serial number "123456789012345678901": use up to 20 printable ASCII characters`},
		{drive.Options{Model: "Tür"}, `invalid model "Tür": use up to 40 printable ASCII characters`},
		{drive.Options{NQN: "nqn." + strings.Repeat("x", 220)}, "NQN of 224 bytes is too long: at most 223"},
	} {
		if _, err := drive.NewWith(r.im, r.st, c.o); err == nil || err.Error() != c.want {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
	d, err := drive.NewWith(r.im, r.st, drive.Options{Serial: "S1", Model: "M1", Firmware: "F1", NQN: "nqn.x", Shared: true})
	if err != nil {
		t.Fatal(err)
	}
	h := &rig{Host: drivetest.NewHost(t, d, drive.ControllerOptions{})}
	b := h.identify(1, 0, 0)
	if got := string(b[4:72]); got != fmt.Sprintf("%-20s%-40s%-8s", "S1", "M1", "F1") || string(b[768:774]) != "nqn.x\x00" || b[76] != 2 {
		t.Errorf("%q, %q, CMIC %d", got, b[768:774], b[76])
	}
	if b := h.identify(0, 1, 0); b[30] != 1 {
		t.Errorf("NMIC %d", b[30])
	}
}

// log reads n bytes of a log page.
func (r *rig) log(lid uint32, id layout.NSID, n int, off uint32, csi uint32) []byte {
	r.T.Helper()
	_, b := r.Want(0, drivetest.Cmd(opGetLog, id, uint32(n/4-1)<<16|lid, 0, off, 0, csi<<24), nil, drive.Success)
	return b
}

func TestEffectsLog(t *testing.T) {
	t.Parallel()
	r := standard(t)
	for csi, want := range map[uint32]uint32{0: 0, 2: 3} {
		b := r.log(5, 0, 4096, 0, csi)
		for op, v := range map[int]uint32{opFlush: 1, opWrite: 3, opRead: 1, opZeroes: 3, opDSM: 3, opAppend: want, 0x11: 0} {
			if got := le.Uint32(b[1024+4*op:]); got != v {
				t.Errorf("CSI %d, opcode %#x: %#x, want %#x", csi, op, got, v)
			}
		}
		if le.Uint32(b[4*opIdentify:]) != 1 || le.Uint32(b[4*0x80:]) != 0 {
			t.Errorf("CSI %d: admin commands % x", csi, b[:64])
		}
		// The same by pieces.
		if part := r.log(5, 0, 256, 1024+256, csi); !bytes.Equal(part, b[1280:1536]) {
			t.Errorf("CSI %d: another piece", csi)
		}
	}
	r.Want(0, drivetest.Cmd(opGetLog, 0, 1023<<16|5, 0, 0, 0, 1<<24), nil, drive.InvalidField)
}

func TestLogs(t *testing.T) {
	t.Parallel()
	r := standard(t)
	b := r.log(0, 0, 1024, 0, 0)
	for lid := range 256 {
		want := uint32(0)
		switch lid {
		case 0, 1, 2, 3, 4, 5, 0xBF:
			want = 1
		}
		if got := le.Uint32(b[4*lid:]); got != want {
			t.Errorf("log %#x: %d", lid, got)
		}
	}
	if b := r.log(3, 0, 512, 0, 0); b[0] != 1 || string(b[8:16]) != "1       " {
		t.Errorf("firmware % x", b[:16])
	}
	for _, c := range []struct {
		dw10, dw12 uint32
		id         layout.NSID
		want       drive.Status
	}{
		{6, 0, 0, drive.InvalidLogPage},
		{2, 0, 1, drive.InvalidField},
		{2, 2, 0, drive.InvalidField},
		{2, 516, 0, drive.InvalidField},
		{0xBF, 0, 9, drive.InvalidNamespace},
		{0xBF, 0, 3, drive.InvalidField},
		{0xFFFF0002, 0, 0, drive.Success}, // longer than the page
	} {
		r.Want(0, drivetest.Cmd(opGetLog, c.id, c.dw10, 0, c.dw12), nil, c.want)
	}
}

// The counters are those of what was done; the error log has the commands that failed.
func TestHealthAndErrors(t *testing.T) {
	t.Parallel()
	r := standard(t)
	for range 3 {
		r.Want(1, drivetest.IO(opWrite, 3, 0, 128, 0), nil, drive.Success)
	}
	r.Want(1, drivetest.IO(opRead, 3, 0, 16, 0), nil, drive.Success)
	bad := drivetest.IO(opWrite, 1, 4*128+7, 1, 0)
	r.Want(3, bad, nil, drive.ZoneIsFull)
	r.Want(0, drivetest.Cmd(0x80, 2), nil, drive.InvalidOpcode)
	b := r.log(2, 0xFFFFFFFF, 512, 0, 0)
	for off, want := range map[int]uint64{32: 1, 48: 4, 64: 1, 80: 3, 112: 1, 128: 0, 144: 0, 160: 0, 176: 2} {
		if got := le.Uint64(b[off:]); got != want {
			t.Errorf("SMART at %d: %d, want %d", off, got, want)
		}
	}
	e := r.log(1, 0, 128, 0, 0)
	if le.Uint64(e) != 2 || le.Uint16(e[8:]) != 0 || le.Uint16(e[12:]) != 0x8002 {
		t.Errorf("the last error % x", e[:64])
	}
	e = e[64:]
	if le.Uint64(e) != 1 || le.Uint16(e[8:]) != 3 || le.Uint16(e[10:]) != bad.CID() || le.Uint16(e[12:]) != 0x8372 || le.Uint64(e[16:]) != 519 || le.Uint32(e[24:]) != 1 {
		t.Errorf("the first error % x", e[:64])
	}
}

func TestFeatures(t *testing.T) {
	t.Parallel()
	r := newRig(t, imagetest.Standard(layout.Trailing), drive.Options{IOQueues: 4}, drive.ControllerOptions{
		Fabrics: true, KeepAlive: 5 * time.Second, HostID: [16]byte{0xAB, 15: 0xCD},
	})
	get := func(fid, sel, dw11 uint32) uint64 {
		t.Helper()
		cpl, _ := r.Want(0, drivetest.Cmd(opGet, 1, sel<<8|fid, dw11), nil, drive.Success)
		return cpl.Result
	}
	if got := get(7, 0, 0); got != 0x30003 {
		t.Errorf("queues %#x", got)
	}
	cpl, _ := r.Want(0, drivetest.Cmd(opSet, 0, 7, 0x70007), nil, drive.Success)
	if cpl.Result != 0x30003 {
		t.Errorf("queues %#x", cpl.Result)
	}
	r.Want(0, drivetest.Cmd(opSet, 0, 7, 0xFFFF), nil, drive.InvalidField)
	if got := get(0xF, 0, 0); got != 5000 {
		t.Errorf("KATO %d", got)
	}
	for _, c := range []struct{ fid, v, want, initial uint32 }{
		{1, 3, 3, 7}, {4, 350, 350, 343}, {6, 0, 0, 1}, {8, 0x0102, 0x0102, 0}, {0xA, 1, 1, 0}, {0xB, 0x100, 0x100, 0}, {0xF, 1000, 1000, 5000}, {0x80, 9, 9, 0}, {2, 0, 0, 0}, {0x19, 0, 0, 0},
	} {
		r.Want(0, drivetest.Cmd(opSet, 0, c.fid, c.v), nil, drive.Success)
		if got := get(c.fid, 0, 0); got != uint64(c.want) {
			t.Errorf("feature %#x is %#x, want %#x", c.fid, got, c.want)
		}
		for _, sel := range []uint32{1, 2} {
			if got := get(c.fid, sel, 0); got != uint64(c.initial) {
				t.Errorf("feature %#x, select %d, is %#x, want %#x", c.fid, sel, got, c.initial)
			}
		}
		if got := get(c.fid, 3, 0); got != 4 {
			t.Errorf("feature %#x has the capabilities %#x", c.fid, got)
		}
		r.Want(0, drivetest.Cmd(opSet, 0, c.fid|1<<31, c.v), nil, drive.NotSaveable)
		r.Want(0, drivetest.Cmd(opSet, 1, c.fid, c.v), nil, drive.NotNamespaceSpecific)
	}
	_, id := r.Want(0, drivetest.Cmd(opGet, 0, 0x81, 1), nil, drive.Success)
	if !bytes.Equal(id, []byte{0xAB, 15: 0xCD}) {
		t.Errorf("host identifier % x", id)
	}
	r.Want(0, drivetest.Cmd(opSet, 0, 0x81, 1), make([]byte, 16), drive.SequenceError)
	_, _ = r.Want(0, drivetest.Cmd(opSet, 0, 0x0E), []byte{0, 0, 0, 0, 0, 1}, drive.Success)
	_, ts := r.Want(0, drivetest.Cmd(opGet, 0, 0x0E), nil, drive.Success)
	if ms := le.Uint64(ts) & (1<<48 - 1); ms < 1<<40 || ms > 1<<40+60_000 || ts[6] != 2 {
		t.Errorf("timestamp % x", ts)
	}
	behavior := fill(0, 512)
	behavior[2] = 1
	r.Want(0, drivetest.Cmd(opSet, 0, 0x16), behavior, drive.Success)
	if _, b := r.Want(0, drivetest.Cmd(opGet, 0, 0x16), nil, drive.Success); !bytes.Equal(b, behavior) {
		t.Error("host behavior support is not what was set")
	}
	for _, fid := range []uint32{0, 3, 0x0C, 0x11, 0x84, 0xFF} {
		r.Want(0, drivetest.Cmd(opGet, 0, fid), nil, drive.InvalidField)
		r.Want(0, drivetest.Cmd(opSet, 0, fid), nil, drive.InvalidField)
	}
	r.Want(0, drivetest.Cmd(opSet, 0, 2, 1), nil, drive.InvalidField)
	r.Want(0, drivetest.Cmd(opSet, 0, 0x19, 1), nil, drive.CommandSetRejected)
	r.Want(0, drivetest.Cmd(opSet, 1, 5, 1<<16), nil, drive.InvalidField)
	for _, op := range []uint8{0x00, 0x0D, 0x10, 0x14, 0x15, 0x19, 0x80, 0x81, 0x84} {
		r.Want(0, drivetest.Cmd(op, 1), nil, drive.InvalidOpcode)
	}
	r.Want(0, drivetest.Cmd(opKeepAlive, 0), nil, drive.Success)
	r.Reset()
	r.Enable(0x460061)
	if got := get(4, 0, 0); got != 343 {
		t.Errorf("the temperature threshold after a reset is %d", got)
	}
}
