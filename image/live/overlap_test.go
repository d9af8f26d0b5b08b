package live_test

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"zimg/image/imagetest"
	"zimg/image/live"
	"zimg/image/zns"
	"zimg/layout"
)

// flushHook is a Recorder that calls a function once, in a flush that has taken its snapshot and has synced nothing yet.
type flushHook struct {
	once  sync.Once
	flush func()
	wrote chan struct{} // is sent to, if somebody listens, when data was written
}

func (h *flushHook) Write(layout.NSID, int64, []byte) error {
	select {
	case h.wrote <- struct{}{}:
	default:
	}
	return nil
}

func (h *flushHook) Discard(layout.NSID, int64, int64) error { return nil }

func (h *flushHook) Flush() error {
	if h.flush != nil {
		h.once.Do(h.flush)
	}
	return nil
}

// A zone is reset and written again while a flush has a snapshot that calls more of it written: the new data is there
// afterwards, and after a power failure in the flush so is the old data, since the slots have the old zone.
func TestResetDuringFlush(t *testing.T) {
	t.Parallel()
	fs := imagetest.NewMemFS()
	s := spec(layout.Trailing)
	if err := s.Create(fs, path); err != nil {
		t.Fatal(err)
	}
	hook := &flushHook{wrote: make(chan struct{})}
	im, st, err := openStore(fs, live.Options{BootID: boot, Recorder: hook})
	if err != nil {
		t.Fatal(err)
	}
	n := st.Namespace(1)
	m := zns.New(n.Namespace, n, n.Counts())
	const zone = 5
	start := n.ZoneSize * zone
	write := func(c byte, blocks layout.LBA) {
		n.Lock(zone)
		defer n.Unlock(zone)
		p, err := m.PlanWrite(start, blocks)
		if err == nil {
			err = n.WriteData(bytes.Repeat([]byte{c}, int(blocks)*blockBytes(n.Namespace)), start)
		}
		if err == nil {
			err = m.Make(p)
		}
		if err != nil {
			t.Error(err)
		}
	}
	write('a', 9)
	var writer sync.WaitGroup
	early := false
	hook.flush = func() {
		n.Lock(zone)
		if err := m.Reset(zone); err != nil {
			t.Error(err)
		}
		n.Unlock(zone)
		writer.Go(func() { write('b', 2) })
		select { // a moment in which nothing may happen
		case <-hook.wrote:
			early = true
		case <-time.After(200 * time.Millisecond):
		}
	}
	if err := n.Flush(); err != nil {
		t.Fatal(err)
	}
	writer.Wait()
	if early {
		t.Error("new data took the place of data that the commit under way calls written")
	}
	got, err := stateOf(n, zone)
	if want := string(bytes.Repeat([]byte{'b'}, 2*blockBytes(n.Namespace))); err != nil || got.data != want || got.zone.Written != start+2 {
		t.Errorf("zone %+v, %v, data %.20q", got.zone, err, got.data)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if err := im.Close(); err != nil {
		t.Fatal(err)
	}
}
