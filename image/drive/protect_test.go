package drive_test

import (
	"bytes"
	"fmt"
	"testing"

	"zimg/image/drive"
	"zimg/image/drive/drivetest"
	"zimg/image/imagetest"
	"zimg/image/pi"
	"zimg/layout"
)

// protected is an image with a zoned and a plain namespace with metadata.
func protected(n layout.Namespace) imagetest.Spec {
	zoned, plain := n, n
	zoned.ID, zoned.CSI, zoned.BlockBits, zoned.Blocks = 1, layout.ZNS, 9, 4*16
	zoned.ZoneCount, zoned.ZoneSize, zoned.ZoneCap, zoned.MAR, zoned.MOR = 4, 16, 16, layout.NoLimit, layout.NoLimit
	plain.ID, plain.BlockBits, plain.Blocks = 2, 9, 64
	return imagetest.Spec{Layout: layout.Trailing, UUID: [16]byte{4}, Namespaces: []imagetest.SpecNamespace{{Namespace: zoned}, {Namespace: plain}}}
}

// Fields of dword 12: PRACT and PRCHK.
const (
	pract    = 1 << 29
	chkGuard = 1 << 28
	chkApp   = 1 << 27
	chkRef   = 1 << 26
	piremap  = 1 << 25
)

// hostBuffer is blocks with metadata as a host sends them: interleaved, or apart in h.Meta.
func (r *rig) hostBuffer(extended bool, ms int, data, meta []byte) []byte {
	if !extended {
		r.Meta = meta
		return data
	}
	var b []byte
	for i := range len(data) / 512 {
		b = append(append(b, data[i*512:(i+1)*512]...), meta[i*ms:(i+1)*ms]...)
	}
	return b
}

// Metadata without protection information, apart and interleaved; a fabric knows only the latter.
func TestMetadata(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ ext, fabrics, want bool }{{false, false, false}, {true, false, true}, {false, true, true}} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, protected(layout.Namespace{MS: 16, ExtLBA: c.ext}), drive.Options{}, drive.ControllerOptions{Fabrics: c.fabrics})
			if b := r.identify(0, 1, 0); (b[26] == 1<<4) != c.want || le.Uint16(b[128:]) != 16 || b[130] != 9 {
				t.Errorf("FLBAS %#x, LBA format % x", b[26], b[128:132])
			}
			for id := layout.NSID(1); id <= 2; id++ {
				data, meta := append(fill('a', 512), fill('b', 512)...), append(fill('A', 16), fill('B', 16)...)
				b := r.hostBuffer(c.want, 16, data, meta)
				r.Want(1, drivetest.IO(opWrite, id, 0, 2, 0), b, drive.Success)
				_, got := r.Want(1, drivetest.IO(opRead, id, 0, 2, 0), nil, drive.Success)
				if !bytes.Equal(got, b) || !c.want && !bytes.Equal(r.Meta, meta) {
					t.Errorf("namespace %d reads % x", id, got[:8])
				}
				r.Meta = meta
				r.Want(1, drivetest.IO(opCompare, id, 0, 2, 0), b, drive.Success)
				meta[17]++
				r.Want(1, drivetest.IO(opCompare, id, 0, 2, 0), r.hostBuffer(c.want, 16, data, meta), drive.CompareFailure)
				r.Want(1, drivetest.IO(opRead, id, 3, 1, 0), nil, drive.Success)
				if !c.want && !bytes.Equal(r.Meta, make([]byte, 16)) {
					t.Errorf("metadata that was not written: % x", r.Meta)
				}
			}
			r.Want(1, drivetest.IO(opZeroes, 2, 0, 1, 0), nil, drive.Success)
			r.Want(1, drivetest.IO(opRead, 2, 0, 1, 0), nil, drive.Success)
			if !c.want && !bytes.Equal(r.Meta, make([]byte, 16)) {
				t.Errorf("metadata of zeroes: % x", r.Meta)
			}
		})
	}
}

// Every type and guard, with the controller inserting and stripping, and with the host's own.
func TestProtection(t *testing.T) {
	t.Parallel()
	for _, c := range []layout.Namespace{
		{MS: 8, PI: 1},
		{MS: 8, PI: 2},
		{MS: 8, PI: 3},
		{MS: 16, PI: 1},
		{MS: 16, PI: 1, PIFirst: true},
		{MS: 8, PI: 1, ExtLBA: true},
		{MS: 16, PI: 1, ExtLBA: true},
		{MS: 16, PI: 1, PIFormat: 2},
		{MS: 32, PI: 2, PIFormat: 2, ExtLBA: true},
	} {
		t.Run(fmt.Sprintf("type %d, %d bytes, first %v, format %d, extended %v", c.PI, c.MS, c.PIFirst, c.PIFormat, c.ExtLBA), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, protected(c), drive.Options{}, drive.ControllerOptions{})
			for id := layout.NSID(1); id <= 2; id++ {
				r.protection(id, c)
			}
		})
	}
}

// protection runs the commands on one namespace.
func (r *rig) protection(id layout.NSID, c layout.Namespace) {
	t := r.T
	n, err := r.im.Namespace(id)
	if err != nil {
		t.Fatal(err)
	}
	f := pi.Of(n.Namespace)
	ref, checks := uint32(0), uint32(chkGuard|chkApp|chkRef)
	if c.PI == 2 {
		ref = 70
	}
	if c.PI == 3 {
		checks = chkGuard | chkApp
	}
	const app = 0xFFFF0000 | 0x1234
	data := append(fill('a', 512), fill('b', 512)...)
	// PRACT: the host sends no protection information. With metadata besides it, it does.
	if int(c.MS) == f.Size() {
		r.Want(1, drivetest.IO(opWrite, id, 0, 2, pract, 0, ref, app), data, drive.Success)
		_, got := r.Want(1, drivetest.IO(opRead, id, 0, 2, pract|checks, 0, ref, app), nil, drive.Success)
		if !bytes.Equal(got, data) {
			t.Errorf("stripped: % x", got[:8])
		}
	} else {
		r.Want(1, drivetest.IO(opWrite, id, 0, 2, pract, 0, ref, app), r.hostBuffer(c.ExtLBA, int(c.MS), data, fill('m', 2*int(c.MS))), drive.Success)
	}
	_, got := r.Want(1, drivetest.IO(opRead, id, 0, 2, checks, 0, ref, app), nil, drive.Success)
	whole, apart := bytes.Clone(got), bytes.Clone(r.Meta)
	r.Want(1, drivetest.IO(opVerify, id, 0, 2, checks, 0, ref, app), nil, drive.Success)
	r.Want(1, drivetest.IO(opVerify, id, 0, 2, chkApp, 0, ref, 0xFFFF4321), nil, drive.ApplicationTagError)
	switch c.PI {
	case 1:
		r.Want(1, drivetest.IO(opVerify, id, 0, 2, chkRef, 0, ref+1, app), nil, drive.InvalidProtection)
	case 2:
		r.Want(1, drivetest.IO(opVerify, id, 0, 2, chkRef, 0, ref+1, app), nil, drive.ReferenceTagError)
	case 3:
		r.Want(1, drivetest.IO(opVerify, id, 0, 2, chkRef, 0, ref, app), nil, drive.InvalidProtection)
	}
	// What was not written is not checked.
	r.Want(1, drivetest.IO(opRead, id, 8, 2, checks&^chkRef, 0, 8, app), nil, drive.Success)
	// The host's own, at blocks 2 and 3: reference tags count on from it.
	if c.PI != 3 {
		ref += 2
	}
	tags := pi.Tags{Ref: uint64(ref), App: 0x1234}
	own := fill('m', 2*int(c.MS))
	if err := f.Generate(data, own, tags); err != nil {
		t.Fatal(err)
	}
	r.Want(1, drivetest.IO(opWrite, id, 2, 2, checks, 0, ref, app), r.hostBuffer(c.ExtLBA, int(c.MS), data, own), drive.Success)
	bad := bytes.Clone(data)
	bad[700]++
	r.Want(1, drivetest.IO(opWrite, id, 4, 2, checks&^chkRef, 0, ref, app), r.hostBuffer(c.ExtLBA, int(c.MS), bad, own), drive.GuardCheckError)
	_, got = r.Want(1, drivetest.IO(opRead, id, 0, 2, 0), nil, drive.Success)
	if !bytes.Equal(got, whole) || !bytes.Equal(r.Meta, apart) {
		t.Error("a refused write has changed its neighbours")
	}
	// An append: reference tags are remapped to where it goes.
	if id == 1 {
		r.appendProtected(c, f, data, app)
	}
	// Zeroes with protection information.
	lba := uint64(8)
	if id == 1 {
		lba = 48
	}
	zref := uint32(lba)
	if c.PI == 3 {
		zref = 0
	}
	r.Want(1, drivetest.IO(opZeroes, id, lba, 4, pract, 0, zref, app), nil, drive.Success)
	r.Want(1, drivetest.IO(opVerify, id, lba, 4, checks, 0, zref, app), nil, drive.Success)
	// Damage on the medium.
	if _, err := n.WriteAt([]byte{'!'}, 2*512+9); err != nil {
		t.Fatal(err)
	}
	r.Want(1, drivetest.IO(opRead, id, 2, 1, chkGuard, 0, ref, app), nil, drive.GuardCheckError)
}

func (r *rig) appendProtected(c layout.Namespace, f pi.Format, data []byte, app uint32) {
	t := r.T
	own := fill('m', 2*int(c.MS))
	tags := f.TagsAt(32)
	tags.App = 0x1234
	if err := f.Generate(data, own, tags); err != nil {
		t.Fatal(err)
	}
	remap, wrong := uint32(piremap), uint32(0)
	checks := uint32(chkGuard | chkRef)
	if c.PI == 3 {
		remap, wrong, checks = 0, piremap, chkGuard
	}
	if c.PI != 2 {
		r.Want(1, drivetest.IO(opAppend, 1, 32, 2, wrong|checks, 0, uint32(tags.Ref), app), r.hostBuffer(c.ExtLBA, int(c.MS), data, own), drive.InvalidProtection)
	}
	for i := range uint64(2) {
		cpl, _ := r.Want(1, drivetest.IO(opAppend, 1, 32, 2, remap|checks, 0, uint32(tags.Ref), app), r.hostBuffer(c.ExtLBA, int(c.MS), data, own), drive.Success)
		if cpl.Result != 32+2*i {
			t.Errorf("appended at %d", cpl.Result)
		}
	}
	at := f.TagsAt(34)
	r.Want(1, drivetest.IO(opVerify, 1, 34, 2, checks, 0, uint32(at.Ref), app), nil, drive.Success)
}
