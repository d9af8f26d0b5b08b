package drive_test

import (
	"testing"

	"zimg/image"
	"zimg/image/drive"
	"zimg/image/drive/drivetest"
	"zimg/image/imagetest"
	"zimg/layout"
)

// Opcodes, as a host knows them.
const (
	opFlush, opWrite, opRead, opCompare, opZeroes, opDSM, opVerify, opCopy, opSend, opReceive, opAppend = 0, 1, 2, 5, 8, 9, 0xC, 0x19, 0x79, 0x7A, 0x7D

	opGetLog, opIdentify, opAbort, opSet, opGet, opAER, opKeepAlive = 2, 6, 8, 9, 0xA, 0xC, 0x18
)

// rig is a drive over an image in memory, with one host.
type rig struct {
	*drivetest.Host
	d  *drive.Drive
	st *drivetest.Store
	im *image.Image
}

func newRig(t testing.TB, spec imagetest.Spec, o drive.Options, co drive.ControllerOptions) *rig {
	t.Helper()
	fsys := imagetest.NewMemFS()
	if err := spec.Create(fsys, "disk"); err != nil {
		t.Fatal(err)
	}
	im, err := image.Open("disk", image.Options{FS: fsys, Write: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = im.Close() })
	st, err := drivetest.NewStore(im)
	if err != nil {
		t.Fatal(err)
	}
	d, err := drive.NewWith(im, st, o)
	if err != nil {
		t.Fatal(err)
	}
	return &rig{Host: drivetest.NewHost(t, d, co), d: d, st: st, im: im}
}

// standard is a rig over the image that has every zone state.
func standard(t testing.TB) *rig {
	return newRig(t, imagetest.Standard(layout.Trailing), drive.Options{}, drive.ControllerOptions{CNTLID: 1})
}

// zone is zone i of namespace id.
func (r *rig) zone(id layout.NSID, i uint64) layout.Zone {
	r.T.Helper()
	z, err := r.st.Namespace(id).Zone(i)
	if err != nil {
		r.T.Fatal(err)
	}
	return z
}
