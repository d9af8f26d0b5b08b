package drive_test

import (
	"bytes"
	"testing"

	"zimg/image"
	"zimg/image/drive"
	"zimg/image/drive/drivetest"
	"zimg/image/imagetest"
	"zimg/layout"
)

// meddling is a store that lets something else happen while data is being written.
type meddling struct {
	*drivetest.Store
	meanwhile func()
}

func (m *meddling) Namespace(id layout.NSID) drive.NamespaceStore {
	return &meddlingNamespace{m.Store.Namespace(id), m}
}

type meddlingNamespace struct {
	drive.NamespaceStore
	m *meddling
}

func (n *meddlingNamespace) WriteData(p []byte, lba layout.LBA) error {
	err := n.NamespaceStore.WriteData(p, lba)
	if f := n.m.meanwhile; f != nil {
		n.m.meanwhile = nil
		f()
	}
	return err
}

// A zone loses its open resource while it is written: the write is refused after all, what
// it wrote beyond the written blocks is gone, and what had been written before is there.
func TestResourceLostDuringWrite(t *testing.T) {
	t.Parallel()
	fsys := imagetest.NewMemFS()
	spec := matrixSpec()
	spec.Namespaces[0].MOR, spec.Namespaces[0].Zones = 0, nil // one zone may be open
	if err := spec.Create(fsys, "disk"); err != nil {
		t.Fatal(err)
	}
	im, err := image.Open("disk", image.Options{FS: fsys, Write: true})
	if err != nil {
		t.Fatal(err)
	}
	st, err := drivetest.NewStore(im)
	if err != nil {
		t.Fatal(err)
	}
	m := &meddling{Store: st}
	d, err := drive.NewWith(im, m, drive.Options{})
	if err != nil {
		t.Fatal(err)
	}
	h := drivetest.NewHost(t, d, drive.ControllerOptions{})
	other := drivetest.NewHost(t, d, drive.ControllerOptions{CNTLID: 1})
	// Zone 0 without a random write area, zone 2 with one; both opened implicitly when written.
	h.Want(1, drivetest.Cmd(opSend, 1, 32, 0, 0, 3|1<<9), nil, drive.Success)
	h.Want(1, drivetest.Cmd(opSend, 1, 32, 0, 0, 1), nil, drive.Success)
	for _, start := range []uint64{0, 32} {
		h.Want(1, drivetest.IO(opWrite, 1, start, 2, 0), fill('a', 1024), drive.Success)
		m.meanwhile = func() { other.Want(1, drivetest.Cmd(opSend, 1, 16, 0, 0, 3), nil, drive.Success) }
		lba := start + 2
		want := slicesOf(512, 'a', 'a', 0, 0)
		if start == 32 {
			lba, want = start+1, slicesOf(512, 'a', 'b', 0, 0)
		}
		h.Want(1, drivetest.IO(opWrite, 1, lba, 2, 0), fill('b', 1024), drive.TooManyOpenZones)
		n, err := im.Namespace(1)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 4*512)
		if _, err := n.ReadAt(got, int64(start)*512); err != nil || !bytes.Equal(got, want) {
			t.Errorf("zone at %d: %q %q %q %q, %v", start, got[0], got[512], got[1024], got[1536], err)
		}
		if z := mustZone(t, st, start/16); z.Written != layout.LBA(start)+2 || z.State != layout.Closed {
			t.Errorf("zone at %d: %+v", start, z)
		}
		other.Want(1, drivetest.Cmd(opSend, 1, 16, 0, 0, 4), nil, drive.Success)
		h.Want(1, drivetest.IO(opWrite, 1, start+2, 1, 0), fill('d', 512), drive.Success)
	}
}

func mustZone(t *testing.T, st *drivetest.Store, i uint64) layout.Zone {
	t.Helper()
	z, err := st.Namespace(1).Zone(i)
	if err != nil {
		t.Fatal(err)
	}
	return z
}
