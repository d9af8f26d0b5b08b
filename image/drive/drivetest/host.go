package drivetest

import (
	"encoding/binary"
	"time"

	"zimg/image/drive"
	"zimg/layout"
)

// T is what a Host needs of a test: *testing.T and *testing.B have it.
type T interface {
	Helper()
	Error(args ...any)
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// Host sends commands to a controller, as a driver does.
type Host struct {
	T    T
	C    *drive.Controller
	cid  uint16
	Meta []byte // separate metadata of the last command
}

// NewHost makes a controller and enables it for all command sets.
func NewHost(t T, d *drive.Drive, o drive.ControllerOptions) *Host {
	h := &Host{T: t, C: d.NewController(o)}
	h.Enable(0x460061)
	return h
}

// Register offsets.
const (
	regCC   = 0x14
	regCSTS = 0x1C
)

// Enable writes CC and waits for RDY.
func (h *Host) Enable(cc uint32) {
	h.T.Helper()
	if st := h.C.WriteRegister(regCC, 4, uint64(cc)); !st.OK() {
		h.T.Fatalf("CC = %#x: %v", cc, st)
	}
	h.Wait(3, 1)
}

// Shutdown asks for a normal shutdown and waits until it is complete.
func (h *Host) Shutdown() {
	h.T.Helper()
	h.C.WriteRegister(regCC, 4, 0x464061)
	h.Wait(0xC, 8)
}

// Reset disables the controller and waits for RDY to fall.
func (h *Host) Reset() {
	h.T.Helper()
	h.C.WriteRegister(regCC, 4, 0x460060)
	h.Wait(1, 0)
}

// Wait waits until CSTS has the bits of want under mask.
func (h *Host) Wait(mask, want uint64) {
	h.T.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Microsecond) {
		v, st := h.C.ReadRegister(regCSTS, 4)
		if !st.OK() {
			h.T.Fatalf("CSTS: %v", st)
		}
		if v&mask == want {
			return
		}
		if time.Now().After(end) {
			h.T.Fatalf("CSTS is %#x, want %#x under %#x", v, want, mask)
		}
	}
}

// Cmd makes a queue entry: dwords 10 to 15 are those given.
func Cmd(opcode uint8, id layout.NSID, dw ...uint32) *drive.Command {
	var c drive.Command
	c[0] = opcode
	binary.LittleEndian.PutUint32(c[4:], uint32(id))
	for i, v := range dw {
		binary.LittleEndian.PutUint32(c[40+4*i:], v)
	}
	return &c
}

// IO makes a queue entry for nlb blocks from lba on; control is or-ed to dword 12.
func IO(opcode uint8, id layout.NSID, lba uint64, nlb int, control uint32, dw ...uint32) *drive.Command {
	return Cmd(opcode, id, append([]uint32{uint32(lba), uint32(lba >> 32), uint32(nlb-1)&0xFFFF | control}, dw...)...)
}

// Do runs a command on queue qid to its end, as a transport does. Data to the controller is
// padded with zeroes or cut to what it takes; data from it is returned.
func (h *Host) Do(qid uint16, cmd *drive.Command, data []byte) (drive.Completion, []byte) {
	h.T.Helper()
	h.cid++
	binary.LittleEndian.PutUint16(cmd[2:], h.cid)
	dir, n, m, st := h.C.Transfer(qid, cmd)
	if !st.OK() {
		return drive.Completion{Status: st}, nil
	}
	buf := make([]byte, n)
	if dir == drive.ToController {
		copy(buf, data)
	}
	meta := make([]byte, m)
	if dir == drive.ToController {
		copy(meta, h.Meta)
	}
	done := make(chan drive.Completion, 1)
	cpl, ok := h.C.Execute(qid, cmd, buf, meta, func(c drive.Completion) { done <- c })
	if !ok {
		select {
		case cpl = <-done:
		case <-time.After(20 * time.Second):
			h.T.Fatalf("opcode %#x does not complete", cmd.Opcode())
		}
	}
	if dir == drive.FromController {
		h.Meta = meta
	}
	return cpl, buf
}

// Want runs a command and checks the code of its status.
func (h *Host) Want(qid uint16, cmd *drive.Command, data []byte, want drive.Status) (drive.Completion, []byte) {
	h.T.Helper()
	cpl, got := h.Do(qid, cmd, data)
	if cpl.Status.Code() != want {
		h.T.Fatalf("opcode %#x, dwords %#x %#x %#x: %v, want %v",
			cmd.Opcode(), cmd.DW(10), cmd.DW(12), cmd.DW(13), cpl.Status, want)
	}
	return cpl, got
}
