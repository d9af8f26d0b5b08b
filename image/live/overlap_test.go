package live_test

import (
	"bytes"
	"io/fs"
	"sync"
	"testing"
	"time"

	"zimg/image/disk"
	"zimg/image/imagetest"
	"zimg/image/live"
	"zimg/image/zns"
	"zimg/layout"
)

// flushHook is a file system whose image calls a function once, in the sync of a flush that has taken its snapshot.
type flushHook struct {
	disk.FS
	once  sync.Once
	flush func()
	wrote chan struct{} // is sent to, if somebody listens, when data was written
}

func (h *flushHook) Open(name string, mode disk.Mode, perm fs.FileMode) (disk.File, error) {
	f, err := h.FS.Open(name, mode, perm)
	if err != nil || name != path {
		return f, err
	}
	return &hookedFile{f, h}, nil
}

type hookedFile struct {
	disk.File
	h *flushHook
}

func (f *hookedFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.File.WriteAt(p, off)
	select {
	case f.h.wrote <- struct{}{}:
	default:
	}
	return n, err
}

func (f *hookedFile) Sync() error {
	if f.h.flush != nil {
		f.h.once.Do(f.h.flush)
	}
	return f.File.Sync()
}

// A zone is reset and written again while a flush has a snapshot that calls more of it written: the new data is there
// afterwards, and after a power failure in the flush so is the old data, since the slots have the old zone.
func TestResetDuringFlush(t *testing.T) {
	t.Parallel()
	mem := imagetest.NewMemFS()
	s := spec(layout.Trailing)
	if err := s.Create(mem, path); err != nil {
		t.Fatal(err)
	}
	hook := &flushHook{FS: mem, wrote: make(chan struct{})}
	im, st, err := openStore(hook, live.Options{BootID: boot})
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
