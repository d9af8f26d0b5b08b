package drive_test

import (
	"testing"
	"time"

	"zimg/image/drive"
	"zimg/image/drive/drivetest"
	"zimg/image/imagetest"
	"zimg/layout"
)

func TestFaults(t *testing.T) {
	t.Parallel()
	r := standard(t)
	f := r.d.Faults()
	read := f.Add(drive.Fault{NSID: 3, LBA: 10, Blocks: 2, Ops: drive.FaultReads, Status: drive.UnrecoveredRead | drive.DNR})
	f.Add(drive.Fault{NSID: 2, LBA: 32, Blocks: 16, Ops: drive.FaultWrites, Status: drive.WriteFault | drive.DNR, Count: 2})
	f.Add(drive.Fault{NSID: 1, LBA: 0, Blocks: 1, Ops: drive.FaultZones, Status: drive.CommandInterrupted, Count: 1})
	for range 3 {
		r.Want(1, drivetest.IO(opRead, 3, 11, 5, 0), nil, drive.UnrecoveredRead)
		r.Want(1, drivetest.IO(opVerify, 3, 8, 3, 0), nil, drive.UnrecoveredRead)
	}
	r.Want(1, drivetest.IO(opRead, 3, 12, 5, 0), nil, drive.Success)
	r.Want(1, drivetest.IO(opWrite, 3, 10, 2, 0), nil, drive.Success)
	for range 2 {
		r.Want(1, drivetest.IO(opAppend, 2, 32, 1, 0), nil, drive.WriteFault)
	}
	if z := r.zone(2, 2); z.State != layout.Empty {
		t.Errorf("a write fault has changed the zone: %+v", z)
	}
	r.Want(1, drivetest.IO(opAppend, 2, 32, 1, 0), nil, drive.Success)
	cpl, _ := r.Want(1, drivetest.Cmd(opSend, 1, 0, 0, 0, 3), nil, drive.CommandInterrupted)
	if cpl.Status&drive.DNR != 0 {
		t.Error("the host would not try again")
	}
	r.Want(1, drivetest.Cmd(opSend, 1, 0, 0, 0, 4), nil, drive.Success)
	if list := f.List(); len(list) != 1 || list[read].LBA != 10 {
		t.Errorf("faults %v", list)
	}
	if !f.Remove(read) || f.Remove(read) {
		t.Error("removing a fault")
	}
	r.Want(1, drivetest.IO(opRead, 3, 11, 5, 0), nil, drive.Success)
}

// A delayed command is executed late, and not at all once its host is gone.
func TestDelay(t *testing.T) {
	t.Parallel()
	r := standard(t)
	id := r.d.Faults().Add(drive.Fault{NSID: 3, Ops: drive.FaultWrites, Delay: 20 * time.Millisecond, Count: 1})
	start := time.Now()
	r.Want(1, drivetest.IO(opWrite, 3, 0, 1, 0), fill('l', 4096), drive.Success)
	if d := time.Since(start); d < 20*time.Millisecond {
		t.Errorf("done after %v", d)
	}
	r.wantData(3, 0, 1, fill('l', 4096))
	if r.d.Faults().Remove(id) {
		t.Error("a fault that occurs once is still there")
	}
	r.d.Faults().Add(drive.Fault{NSID: 3, Ops: drive.FaultWrites, Delay: time.Hour})
	begin := func(cid uint16, lba uint64) chan drive.Completion {
		cmd := drivetest.IO(opWrite, 3, lba, 1, 0)
		le.PutUint16(cmd[2:], cid)
		done := make(chan drive.Completion, 1)
		if _, ok := r.C.Execute(1, cmd, fill('n', 4096), nil, func(c drive.Completion) { done <- c }); ok {
			t.Fatal("not delayed")
		}
		return done
	}
	a, b := begin(7, 0), begin(8, 1)
	if cpl, _ := r.Want(0, drivetest.Cmd(opAbort, 0, 1|7<<16), nil, drive.Success); cpl.Result != 0 {
		t.Errorf("abort: %d", cpl.Result)
	}
	if got := r.soon(a); got.Status != drive.AbortRequested {
		t.Errorf("aborted: %v", got.Status)
	}
	r.C.Abandon()
	if got := r.soon(b); got.Status != drive.AbortedSQDeletion {
		t.Errorf("abandoned: %v", got.Status)
	}
	r.d.Faults().Clear()
	r.Host = drivetest.NewHost(t, r.d, drive.ControllerOptions{})
	r.wantData(3, 0, 2, append(fill('l', 4096), fill(0, 4096)...))
}

// A host that lost its connection may repeat exactly its last writes; nobody else may,
// and no other write.
func TestRepeatedWrites(t *testing.T) {
	t.Parallel()
	host := drive.ControllerOptions{Fabrics: true, HostNQN: "nqn.a", HostID: [16]byte{1}}
	r := newRig(t, imagetest.Standard(layout.Trailing), drive.Options{}, host)
	r.Want(1, drivetest.IO(opWrite, 2, 32, 2, 0), fill('1', 8192), drive.Success)
	r.Want(1, drivetest.IO(opWrite, 2, 34, 2, 0), fill('2', 8192), drive.Success)
	r.Want(1, drivetest.IO(opWrite, 2, 48, 16, 0), fill('3', 16*4096), drive.Success)
	// While the connection is there a repeat is an error like any other.
	r.Want(1, drivetest.IO(opWrite, 2, 34, 2, 0), nil, drive.ZoneInvalidWrite)
	first := r.C
	first.Abandon()
	stranger := drivetest.NewHost(t, r.d, drive.ControllerOptions{Fabrics: true, HostNQN: "nqn.b", HostID: [16]byte{1}})
	stranger.Want(1, drivetest.IO(opWrite, 2, 34, 2, 0), nil, drive.ZoneInvalidWrite)
	r.Host = drivetest.NewHost(t, r.d, host)
	for _, c := range []struct {
		lba uint64
		nlb int
	}{{34, 1}, {33, 2}, {32, 4}, {35, 1}, {16, 1}} {
		if c.lba == 16 {
			r.Want(1, drivetest.IO(opWrite, 2, c.lba, c.nlb, 0), nil, drive.Success) // an ordinary one
			continue
		}
		r.Want(1, drivetest.IO(opWrite, 2, c.lba, c.nlb, 0), nil, drive.ZoneInvalidWrite)
	}
	// The data is written again: what it was before may be a hole by now.
	r.Want(1, drivetest.IO(opWrite, 2, 34, 2, 0), fill('R', 8192), drive.Success)
	r.Want(1, drivetest.IO(opWrite, 2, 32, 2, 0), fill('Q', 8192), drive.Success)
	r.wantData(2, 32, 4, append(fill('Q', 8192), fill('R', 8192)...))
	if z := r.zone(2, 2); z.WP != 36 {
		t.Errorf("a repeated write has moved the write pointer: %+v", z)
	}
	r.Want(1, drivetest.IO(opWrite, 2, 48, 16, 0), fill('S', 16*4096), drive.Success) // the zone is Full
	r.wantData(2, 48, 1, fill('S', 4096))
	// Zone management forgets: the blocks are others now.
	r.Want(1, drivetest.Cmd(opSend, 2, 32, 0, 0, 4), nil, drive.Success)
	r.Want(1, drivetest.IO(opWrite, 2, 32, 4, 0), nil, drive.Success)
	r.Want(1, drivetest.IO(opWrite, 2, 34, 2, 0), nil, drive.ZoneInvalidWrite)
	// After an orderly shutdown there is nothing to repeat.
	r.Shutdown()
	r.C.Close()
	r.Host = drivetest.NewHost(t, r.d, host)
	r.Want(1, drivetest.IO(opWrite, 2, 32, 4, 0), nil, drive.ZoneInvalidWrite)
}
