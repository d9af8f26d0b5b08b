package drive_test

import (
	"bytes"
	"testing"
	"time"

	"zimg/image/drive"
	"zimg/image/drive/drivetest"
	"zimg/image/imagetest"
	"zimg/layout"
)

// later is a command that does not complete at once.
func (r *rig) later(cmd *drive.Command, cid uint16) chan drive.Completion {
	r.T.Helper()
	le.PutUint16(cmd[2:], cid)
	done := make(chan drive.Completion, 2)
	_, n, m, st := r.C.Transfer(0, cmd)
	if !st.OK() {
		r.T.Fatal(st)
	}
	if cpl, ok := r.C.Execute(0, cmd, make([]byte, n), make([]byte, m), func(c drive.Completion) { done <- c }); ok {
		done <- cpl
	}
	return done
}

// soon waits for a completion.
func (r *rig) soon(done chan drive.Completion) drive.Completion {
	r.T.Helper()
	select {
	case c := <-done:
		return c
	case <-time.After(20 * time.Second):
		r.T.Fatal("nothing completes")
	}
	return drive.Completion{}
}

func pending(done chan drive.Completion) bool { return len(done) == 0 }

func TestEvents(t *testing.T) {
	t.Parallel()
	r := standard(t)
	r.Want(0, drivetest.Cmd(opSet, 0, 0xB, 1<<8|1<<27), nil, drive.Success)
	a := r.later(drivetest.Cmd(opAER, 0), 100)
	b := r.later(drivetest.Cmd(opAER, 0), 101)
	if err := r.d.ChangeZone(1, 4, drive.ChangeReadOnly, 0); err != nil {
		t.Fatal(err)
	}
	if got := r.soon(a); got.Result != 0x1_00BFEF02 || !got.Status.OK() {
		t.Errorf("a zone has changed: %#x, %v", got.Result, got.Status)
	}
	// The event is masked until the list was read.
	if err := r.d.ChangeZone(1, 9, drive.ChangeOffline, 0); err != nil {
		t.Fatal(err)
	}
	if !pending(b) {
		t.Error("a second event without the log read")
	}
	keep := r.log(0xBF|1<<15, 1, 4096, 0, 0)
	list := r.log(0xBF, 1, 4096, 0, 0)
	if le.Uint16(list) != 2 || le.Uint64(list[8:]) != 512 || le.Uint64(list[16:]) != 9*128 || !bytes.Equal(keep, list) {
		t.Errorf("changed zones % x", list[:32])
	}
	if again := r.log(0xBF, 1, 4096, 0, 0); le.Uint16(again) != 0 {
		t.Errorf("changed zones, read again: % x", again[:32])
	}
	if err := r.d.ChangeZone(1, 3, drive.ChangeReset, 0); err != nil {
		t.Fatal(err)
	}
	if got := r.soon(b); got.Result != 0x1_00BFEF02 {
		t.Errorf("a zone has changed: %#x", got.Result)
	}
	r.wantData(1, 3*128, 1, fill(0, 512))
	c := r.later(drivetest.Cmd(opAER, 0), 102)
	r.d.NamespaceChanged(2)
	if got := r.soon(c); got.Result != 0x00040002 {
		t.Errorf("a namespace has changed: %#x", got.Result)
	}
	if b := r.log(4, 0, 4096, 0, 0); le.Uint32(b) != 2 || le.Uint32(b[4:]) != 0 {
		t.Errorf("changed namespaces % x", b[:8])
	}
	// Limits, Abort, and the end.
	var waiting []chan drive.Completion
	for i := range uint16(4) {
		waiting = append(waiting, r.later(drivetest.Cmd(opAER, 0), 200+i))
	}
	r.Want(0, drivetest.Cmd(opAER, 0), nil, drive.AsyncLimitExceeded)
	if cpl, _ := r.Want(0, drivetest.Cmd(opAbort, 0, 201<<16), nil, drive.Success); cpl.Result != 0 {
		t.Errorf("abort: %d", cpl.Result)
	}
	if cpl, _ := r.Want(0, drivetest.Cmd(opAbort, 0, 999<<16), nil, drive.Success); cpl.Result != 1 {
		t.Errorf("abort of nothing: %d", cpl.Result)
	}
	if got := r.soon(waiting[1]); got.Status != drive.AbortRequested {
		t.Errorf("an aborted request: %v", got.Status)
	}
	r.C.Abandon()
	for _, i := range []int{0, 2, 3} {
		if got := r.soon(waiting[i]); got.Status != drive.AbortedSQDeletion {
			t.Errorf("a request of a host that is gone: %v", got.Status)
		}
	}
}

// More zones change than the list has room for.
func TestChangedZonesOverflow(t *testing.T) {
	t.Parallel()
	r := newRig(t, imagetest.Spec{Layout: layout.Trailing, UUID: [16]byte{2}, Namespaces: []imagetest.SpecNamespace{{
		Namespace: layout.Namespace{
			ID: 1, CSI: layout.ZNS, BlockBits: 9, Blocks: 600, ZoneCount: 600, ZoneSize: 1, ZoneCap: 1, MAR: layout.NoLimit, MOR: layout.NoLimit,
		},
	}}}, drive.Options{}, drive.ControllerOptions{})
	for i := range uint64(512) {
		if err := r.d.ChangeZone(1, i, drive.ChangeFinish, 0); err != nil {
			t.Fatal(err)
		}
		if i == 510 {
			if b := r.log(0xBF|1<<15, 1, 4096, 0, 0); le.Uint16(b) != 511 || le.Uint64(b[8+8*510:]) != 510 {
				t.Errorf("511 changed zones: % x", b[:8])
			}
		}
	}
	if b := r.log(0xBF, 1, 4096, 0, 0); le.Uint16(b) != 0xFFFF || le.Uint64(b[8:]) != 0 {
		t.Errorf("512 changed zones: % x", b[:16])
	}
}
