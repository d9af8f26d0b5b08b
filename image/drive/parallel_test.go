package drive_test

import (
	"bytes"
	"sync"
	"testing"

	"zimg/image/drive"
	"zimg/image/drive/drivetest"
	"zimg/image/imagetest"
	"zimg/layout"
)

// Several hosts and queues at once: appends get blocks of their own, every zone is as long
// as what was written to it, and a reset beside writes leaves no old data.
func TestParallel(t *testing.T) {
	t.Parallel()
	r := newRig(t, imagetest.Spec{Layout: layout.Trailing, UUID: [16]byte{2}, Namespaces: []imagetest.SpecNamespace{{
		Namespace: layout.Namespace{
			ID: 1, CSI: layout.ZNS, BlockBits: 9, Blocks: 16 * 256, ZoneCount: 16, ZoneSize: 256, ZoneCap: 256,
			MAR: layout.NoLimit, MOR: 3, ZDES: 1, // four zones may be open: others are closed for them
		},
	}}}, drive.Options{}, drive.ControllerOptions{})
	const workers, each = 8, 64
	results := make([][]uint64, workers)
	var wg sync.WaitGroup
	for w := range workers {
		host := r.Host
		if w%2 == 1 {
			host = drivetest.NewHost(t, r.d, drive.ControllerOptions{CNTLID: uint16(w)})
		}
		wg.Go(func() {
			q := drivetest.Host{T: t, C: host.C}
			for i := range each {
				zone := uint64(i+w) % 8
				cpl, _ := q.Do(uint16(w+1), drivetest.IO(opAppend, 1, zone*256, 1, 0), fill(byte(w+1), 512))
				if !cpl.Status.OK() {
					t.Errorf("append: %v", cpl.Status)
					return
				}
				results[w] = append(results[w], cpl.Result)
				if cpl, got := q.Do(uint16(w+1), drivetest.IO(opRead, 1, cpl.Result, 1, 0), nil); !cpl.Status.OK() || got[0] != byte(w+1) {
					t.Errorf("read: %v, %d", cpl.Status, got[0])
				}
			}
		})
		wg.Go(func() { // zones of its own, opened, filled and reset again and again
			q := drivetest.Host{T: t, C: host.C}
			start := uint64(8+w) * 256
			for range each / 4 {
				for i := range uint64(4) {
					if cpl, _ := q.Do(uint16(w+20), drivetest.IO(opWrite, 1, start+i, 1, 0), fill('z', 512)); !cpl.Status.OK() {
						t.Errorf("write: %v", cpl.Status)
					}
				}
				q.Do(uint16(w+20), drivetest.Cmd(opReceive, 1, 0, 0, 1023, 0), nil)
				if cpl, _ := q.Do(uint16(w+20), drivetest.Cmd(opSend, 1, uint32(start), 0, 0, 4), nil); !cpl.Status.OK() {
					t.Errorf("reset: %v", cpl.Status)
				}
				if cpl, got := q.Do(uint16(w+20), drivetest.IO(opRead, 1, start, 4, 0), nil); !cpl.Status.OK() || !bytes.Equal(got, make([]byte, 2048)) {
					t.Errorf("after a reset: %v", cpl.Status)
				}
			}
		})
	}
	wg.Wait()
	seen := map[uint64]bool{}
	for _, list := range results {
		for _, lba := range list {
			if seen[lba] {
				t.Fatalf("two appends at %d", lba)
			}
			seen[lba] = true
		}
	}
	written := layout.LBA(0)
	open := 0
	for i := range uint64(16) {
		z := r.zone(1, i)
		written += z.Written - z.Start
		if z.State.Open() {
			open++
		}
	}
	if written != workers*each || len(seen) != workers*each {
		t.Errorf("%d blocks written, %d appends, want %d", written, len(seen), workers*each)
	}
	if open > 4 {
		t.Errorf("%d zones are open, at most 4 may be", open)
	}
}

// Resets of the controller beside commands: each command ends, with its effect or without.
func TestResetUnderLoad(t *testing.T) {
	t.Parallel()
	r := standard(t)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			q := drivetest.Host{T: t, C: r.C}
			for {
				select {
				case <-stop:
					return
				default:
				}
				cpl, _ := q.Do(uint16(w+1), drivetest.IO(opAppend, 2, uint64(16*(10+w)), 1, 0), nil)
				switch cpl.Status.Code() {
				case drive.Success, drive.SequenceError:
				case drive.ZoneIsFull:
					q.Do(uint16(w+1), drivetest.Cmd(opSend, 2, uint32(16*(10+w)), 0, 0, 4), nil)
				default:
					t.Errorf("append: %v", cpl.Status)
				}
			}
		})
	}
	other := drivetest.NewHost(t, r.d, drive.ControllerOptions{CNTLID: 9})
	for i := range 50 {
		if i%10 == 0 { // zones come to rest while the first host is disabled
			r.Reset()
			other.Shutdown()
			other.Reset()
			other.Enable(0x460061)
			r.Enable(0x460061)
		}
		r.Reset()
		r.Enable(0x460061)
		r.Want(0, drivetest.Cmd(opKeepAlive, 0), nil, drive.Success)
	}
	close(stop)
	wg.Wait()
	r.Shutdown()
	r.C.Close()
}
