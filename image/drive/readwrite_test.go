package drive_test

import (
	"bytes"
	"errors"
	"syscall"
	"testing"

	"zimg/image/drive"
	"zimg/image/drive/drivetest"
	"zimg/image/imagetest"
	"zimg/layout"
)

// fill is n bytes of b.
func fill(b byte, n int) []byte { return bytes.Repeat([]byte{b}, n) }

// read reads blocks and checks that they are what is wanted.
func (r *rig) wantData(id layout.NSID, lba uint64, nlb int, want []byte) {
	r.T.Helper()
	_, got := r.Want(1, drivetest.IO(opRead, id, lba, nlb, 0), nil, drive.Success)
	if !bytes.Equal(got, want) {
		r.T.Errorf("namespace %d, %d blocks at %d: % x..., want % x...", id, nlb, lba, got[:8], want[:8])
	}
}

func TestReadWrite(t *testing.T) {
	t.Parallel()
	r := standard(t)
	// A plain namespace: anywhere.
	r.Want(1, drivetest.IO(opWrite, 3, 255, 1, 0), fill('p', 4096), drive.Success)
	r.wantData(3, 255, 1, fill('p', 4096))
	r.Want(1, drivetest.IO(opWrite, 3, 255, 2, 0), nil, drive.LBAOutOfRange)
	r.Want(1, drivetest.IO(opRead, 3, 1<<63, 1, 0), nil, drive.LBAOutOfRange)
	r.Want(1, drivetest.IO(opRead, 3, ^uint64(0), 65536, 0), nil, drive.LBAOutOfRange)
	// A zone: at the write pointer.
	r.Want(1, drivetest.IO(opWrite, 2, 32, 2, 0), append(fill('1', 4096), fill('2', 4096)...), drive.Success)
	r.Want(1, drivetest.IO(opWrite, 2, 32, 1, 0), nil, drive.ZoneInvalidWrite)
	r.Want(1, drivetest.IO(opWrite, 2, 34, 15, 0), nil, drive.ZoneBoundaryError)
	r.wantData(2, 33, 2, append(fill('2', 4096), fill(0, 4096)...))
	cpl, _ := r.Want(1, drivetest.IO(opAppend, 2, 32, 3, 0), fill('3', 3*4096), drive.Success)
	if cpl.Result != 34 {
		t.Errorf("appended at %d, want 34", cpl.Result)
	}
	r.Want(1, drivetest.IO(opAppend, 2, 33, 1, 0), nil, drive.InvalidField)
	if z := r.zone(2, 2); z.State != layout.ImplicitlyOpened || z.WP != 37 {
		t.Errorf("%+v", z)
	}
	// Across zones a read fails; what was not written, or is above the capacity, is zero.
	r.Want(1, drivetest.IO(opRead, 2, 15, 2, 0), nil, drive.ZoneBoundaryError)
	r.wantData(1, 4*128+95, 2, append(fill('d', 512), fill(0, 512)...))
	r.wantData(1, 5*128+23, 2, append(fill('e', 512), fill(0, 512)...))
	r.wantData(1, 6*128+31, 2, append(fill('f', 512), fill(0, 512)...))
	for zone, want := range map[uint64]drive.Status{4: drive.ZoneIsFull, 6: drive.ZoneIsReadOnly, 7: drive.ZoneIsOffline} {
		cpl, _ := r.Want(1, drivetest.IO(opWrite, 1, zone*128, 1, 0), nil, want)
		if cpl.Status&drive.DNR == 0 {
			t.Errorf("zone %d: the host would try again", zone)
		}
	}
	r.Want(1, drivetest.IO(opRead, 1, 7*128, 1, 0), nil, drive.ZoneIsOffline)
}

// Where reads may cross zones, each zone has its say.
func TestReadAcross(t *testing.T) {
	t.Parallel()
	spec := imagetest.Standard(layout.Trailing)
	spec.Namespaces[0].CrossRead = true
	r := newRig(t, spec, drive.Options{}, drive.ControllerOptions{})
	if b := r.identify(5, 1, 2); le.Uint16(b[2:]) != 1 {
		t.Errorf("OZCS %#x", le.Uint16(b[2:]))
	}
	_, got := r.Want(1, drivetest.IO(opRead, 1, 3*128+94, 36, 0), nil, drive.Success)
	want := append(fill('c', 512), make([]byte, 33*512)...)
	if !bytes.Equal(got, append(want, fill('d', 2*512)...)) {
		t.Error("zones 3 and 4 read as something else")
	}
	r.Want(1, drivetest.IO(opRead, 1, 6*128+100, 29, 0), nil, drive.ZoneIsOffline)
}

// Data from before a zone was reset is never shown.
func TestStaleData(t *testing.T) {
	t.Parallel()
	r := standard(t)
	n, err := r.im.Namespace(2)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.WriteAt(fill('s', 16*4096), 16*4096); err != nil {
		t.Fatal(err)
	}
	r.wantData(2, 16, 16, fill(0, 16*4096))
	r.Want(1, drivetest.IO(opWrite, 2, 16, 1, 0), fill('n', 4096), drive.Success)
	r.wantData(2, 16, 3, append(fill('n', 4096), fill(0, 8192)...))
	r.Want(1, drivetest.Cmd(opSend, 2, 16, 0, 0, 2), nil, drive.Success) // finish
	r.wantData(2, 17, 2, fill(0, 8192))
	r.Want(1, drivetest.Cmd(opSend, 2, 16, 0, 0, 4), nil, drive.Success) // reset
	r.wantData(2, 16, 2, fill(0, 8192))
	r.Want(1, drivetest.IO(opZeroes, 2, 16, 4, 0), nil, drive.Success)
	r.wantData(2, 16, 4, fill(0, 4*4096))
}

func TestOtherCommands(t *testing.T) {
	t.Parallel()
	r := standard(t)
	r.Want(1, drivetest.IO(opWrite, 3, 0, 4, 0), fill('a', 4*4096), drive.Success)
	r.Want(1, drivetest.IO(opCompare, 3, 1, 2, 0), fill('a', 2*4096), drive.Success)
	r.Want(1, drivetest.IO(opCompare, 3, 1, 2, 0), fill('b', 2*4096), drive.CompareFailure)
	r.Want(1, drivetest.IO(opVerify, 3, 0, 4, 0), nil, drive.Success)
	r.Want(1, drivetest.IO(opVerify, 1, 7*128, 1, 0), nil, drive.ZoneIsOffline)
	r.Want(1, drivetest.IO(opZeroes, 3, 1, 1, 1<<25), nil, drive.Success)
	r.wantData(3, 0, 3, append(append(fill('a', 4096), fill(0, 4096)...), fill('a', 4096)...))

	ranges := make([]byte, 32)
	le.PutUint32(ranges[4:], 1)
	le.PutUint64(ranges[8:], 3)
	le.PutUint32(ranges[16+4:], 1)
	le.PutUint64(ranges[16+8:], 256)
	r.Want(1, drivetest.Cmd(opDSM, 3, 1, 4), ranges, drive.LBAOutOfRange)
	r.wantData(3, 3, 1, fill('a', 4096)) // nothing was done
	r.Want(1, drivetest.Cmd(opDSM, 3, 0, 4), ranges, drive.Success)
	r.wantData(3, 3, 1, fill(0, 4096))

	// Copy: two ranges to another place, and of zones to a write pointer.
	source := make([]byte, 64)
	le.PutUint64(source[8:], 2)
	le.PutUint64(source[32+8:], 0)
	r.Want(1, drivetest.Cmd(opCopy, 3, 100, 0, 1), source, drive.Success)
	r.wantData(3, 100, 2, fill('a', 2*4096))
	le.PutUint64(source[8:], 0)
	le.PutUint64(source[32+8:], 99*16+15)
	r.Want(1, drivetest.Cmd(opCopy, 2, 1, 0, 1), source, drive.Success)
	r.wantData(2, 1, 2, append(fill('x', 4096), fill('y', 4096)...))
	r.Want(1, drivetest.Cmd(opCopy, 2, 1, 0, 1), source, drive.ZoneInvalidWrite)
	le.PutUint16(source[16:], 128)
	r.Want(1, drivetest.Cmd(opCopy, 3, 100, 0, 1), source, drive.CommandSizeLimit)

	for _, op := range []uint8{0x04, 0x0D, 0x11, 0x7F, 0x80} {
		r.Want(1, drivetest.Cmd(op, 3), nil, drive.InvalidOpcode)
	}
	fused := drivetest.IO(opWrite, 3, 0, 1, 0)
	fused[1] = 1
	r.Want(1, fused, nil, drive.InvalidField)
	r.Want(1, drivetest.Cmd(opSend, 3, 0, 0, 0, 4), nil, drive.InvalidOpcode)
}

// Every length is bounded by MDTS, that of appends by ZASL.
func TestLimits(t *testing.T) {
	t.Parallel()
	r := newRig(t, imagetest.Standard(layout.Trailing), drive.Options{MDTS: 1, ZASL: 1}, drive.ControllerOptions{})
	for _, op := range []uint8{opRead, opWrite, opCompare} {
		r.Want(1, drivetest.IO(op, 1, 0, 17, 0), nil, drive.InvalidField)
	}
	r.Want(1, drivetest.IO(opAppend, 1, 0, 17, 0), nil, drive.InvalidField)
	r.Want(1, drivetest.IO(opAppend, 1, 0, 16, 0), nil, drive.Success)
	r.Want(1, drivetest.Cmd(opReceive, 1, 0, 0, 2048, 0), nil, drive.InvalidField)
	r.Want(1, drivetest.Cmd(opReceive, 1, 0, 0, 2047, 0), nil, drive.Success)
	r.Want(1, drivetest.IO(opVerify, 3, 0, 3, 0), nil, drive.InvalidField)
	r.Want(0, drivetest.Cmd(opGetLog, 0, 2048<<16|2), nil, drive.InvalidField)
}

// A completion means durable where the command or the drive says so.
func TestDurability(t *testing.T) {
	t.Parallel()
	r := standard(t)
	flushes := func(want int, what string) {
		t.Helper()
		if got := r.st.Flushes(); got != want {
			t.Errorf("%s: %d flushes, want %d", what, got, want)
		}
	}
	r.Want(1, drivetest.IO(opWrite, 3, 0, 1, 0), nil, drive.Success)
	flushes(0, "a write")
	r.Want(1, drivetest.IO(opWrite, 3, 0, 1, 1<<30), nil, drive.Success)
	flushes(1, "a write with FUA")
	r.Want(1, drivetest.IO(opWrite, 3, 999, 1, 1<<30), nil, drive.LBAOutOfRange)
	flushes(1, "a write with FUA that fails")
	r.Want(1, drivetest.Cmd(opFlush, 3), nil, drive.Success)
	r.Want(1, drivetest.Cmd(opFlush, 0xFFFFFFFF), nil, drive.Success)
	flushes(3, "two Flush commands")
	r.Want(0, drivetest.Cmd(opSet, 0, 6, 0), nil, drive.Success)
	flushes(4, "write cache off")
	r.Want(1, drivetest.IO(opAppend, 2, 32, 1, 0), nil, drive.Success)
	r.Want(1, drivetest.Cmd(opSend, 2, 32, 0, 0, 4), nil, drive.Success)
	r.Want(1, drivetest.IO(opRead, 2, 32, 1, 0), nil, drive.Success)
	flushes(6, "an append and a reset without a write cache")
	r.Shutdown()
	flushes(7, "shutdown")

	r = newRig(t, imagetest.Standard(layout.Trailing), drive.Options{NoWriteCache: true}, drive.ControllerOptions{})
	r.Want(1, drivetest.IO(opWrite, 3, 0, 1, 0), nil, drive.Success)
	flushes(1, "a write to a drive without a write cache")
	r.Want(0, drivetest.Cmd(opSet, 0, 6, 1), nil, drive.InvalidField)
	if b := r.identify(1, 0, 0); b[525] != 6 {
		t.Errorf("VWC %d", b[525])
	}
}

// Errors of the storage below become media errors, and change no zone.
func TestStorageFails(t *testing.T) {
	t.Parallel()
	r := standard(t)
	before := r.zone(2, 1)
	for _, c := range []struct {
		err         error
		read, write drive.Status
	}{
		{errors.New("the disk is gone"), drive.UnrecoveredRead, drive.WriteFault},
		{syscall.ENOSPC, drive.CapacityExceeded, drive.CapacityExceeded},
	} {
		r.st.Fail(c.err)
		r.Want(1, drivetest.IO(opRead, 3, 0, 1, 0), nil, c.read)
		r.Want(1, drivetest.IO(opWrite, 2, 16, 1, 0), nil, c.write)
		r.Want(1, drivetest.IO(opAppend, 2, 16, 1, 0), nil, c.write)
		r.Want(1, drivetest.IO(opZeroes, 2, 16, 1, 0), nil, c.write)
		r.Want(1, drivetest.Cmd(opFlush, 2), nil, c.write)
		if z := r.zone(2, 1); z != before {
			t.Errorf("after %v: %+v", c.err, z)
		}
		r.st.Fail(nil)
	}
	r.Want(1, drivetest.IO(opWrite, 2, 16, 1, 0), nil, drive.Success)
}
