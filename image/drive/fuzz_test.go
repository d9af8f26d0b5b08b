package drive_test

import (
	"testing"
	"time"

	"zimg/image"
	"zimg/image/drive"
	"zimg/image/drive/drivetest"
	"zimg/image/imagetest"
	"zimg/layout"
)

// hostileSpec has every kind of namespace, small.
func hostileSpec() imagetest.Spec {
	spec := imagetest.Standard(layout.Trailing)
	spec.Namespaces = append(spec.Namespaces, protected(layout.Namespace{MS: 8, PI: 1}).Namespaces...)
	spec.Namespaces = append(spec.Namespaces, protected(layout.Namespace{MS: 32, PI: 2, PIFormat: 2, ExtLBA: true}).Namespaces...)
	spec.Namespaces = append(spec.Namespaces, matrixSpec().Namespaces...)
	for i := range spec.Namespaces {
		spec.Namespaces[i].ID = layout.NSID(i + 1)
	}
	return spec
}

// FuzzExecute sends any queue entries with any data: nothing panics or hangs, what is to
// be moved is bounded, and the limits on zones hold.
func FuzzExecute(f *testing.F) {
	for _, op := range []byte{opFlush, opWrite, opRead, opCompare, opZeroes, opDSM, opVerify, opCopy, opSend, opReceive, opAppend, opAER, opSet} {
		for id := range byte(8) {
			f.Add([]byte{op, 0, 1, 0, id, 0, 0, 0, 40: 16, 48: 1, 52: 4}, []byte("data"))
		}
	}
	f.Fuzz(func(t *testing.T, entries, data []byte) {
		o := drive.ControllerOptions{Fabrics: len(data)%2 == 1, HostNQN: "nqn.fuzz"}
		if len(data)%4 > 1 {
			fuzzLive(t, o, entries, data)
			return
		}
		r := newRig(t, hostileSpec(), drive.Options{MDTS: 2}, o)
		hostile(t, r.C, entries, data)
		var zones uint64
		for _, ns := range r.im.Namespaces() {
			if !ns.Zoned() {
				continue
			}
			c := r.st.Namespace(ns.ID).Counts()
			zones += c.Total()
			before := imageCounts(r, ns.ID)
			if limit := ns.MaxActive(); limit > 0 && c.Active() > max(limit, before) {
				t.Fatalf("namespace %d: %d active zones", ns.ID, c.Active())
			}
		}
		if zones == 0 {
			t.Fatal("no zones")
		}
		finished := make(chan struct{})
		go func() {
			r.C.Close()
			close(finished)
		}()
		select {
		case <-finished:
		case <-time.After(30 * time.Second):
			t.Fatal("the controller does not end")
		}
		if err := r.d.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// hostile sends entries, each to the admin queue and to an I/O queue.
func hostile(t *testing.T, c *drive.Controller, entries, data []byte) {
	t.Helper()
	most := c.Drive().MaxTransfer()
	for n := 0; len(entries) > 0 && n < 16; n++ {
		var cmd drive.Command
		entries = entries[copy(cmd[:], entries):]
		if n%3 > 0 { // most name a namespace that there is
			cmd[4], cmd[5], cmd[6], cmd[7] = cmd[4]%9, 0, 0, 0
		}
		for q := range uint16(2) {
			_, length, meta, st := c.Transfer(q, &cmd)
			if length < 0 || meta < 0 || length > most || meta > most {
				t.Fatalf("% x moves %d and %d bytes", cmd, length, meta)
			}
			buf, m := make([]byte, length), make([]byte, meta)
			copy(buf, data)
			copy(m, data)
			cpl, ok := c.Execute(q, &cmd, buf, m, func(drive.Completion) {})
			if ok && !st.OK() && cpl.Status.OK() {
				t.Fatalf("% x: refused with %v, and then executed", cmd, st)
			}
		}
	}
}

// fuzzLive sends them to a drive over live zones: whatever they do, the image ends in order,
// and opens again.
func fuzzLive(t *testing.T, o drive.ControllerOptions, entries, data []byte) {
	t.Helper()
	fsys := imagetest.NewMemFS()
	spec := hostileSpec()
	if err := spec.Create(fsys, "disk"); err != nil {
		t.Fatal(err)
	}
	h := serve(t, fsys, o)
	hostile(t, h.C, entries, data)
	h.end()
	im, err := image.Open("disk", image.Options{FS: fsys})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range im.Namespaces() {
		if n.Counts().Open() > 0 {
			t.Errorf("namespace %d has open zones at rest", n.ID)
		}
	}
	if err := im.Close(); err != nil {
		t.Fatal(err)
	}
}

// imageCounts is the number of active zones that namespace id began with.
func imageCounts(r *rig, id layout.NSID) uint64 {
	n, err := r.im.Namespace(id)
	if err != nil {
		r.T.Fatal(err)
	}
	return n.Counts().Active()
}

// Buffers of wrong lengths, as a broken transport would hand over, are refused.
func TestWrongBuffers(t *testing.T) {
	t.Parallel()
	r := standard(t)
	for qid, cmd := range map[uint16]*drive.Command{
		0: drivetest.Cmd(opIdentify, 0, 1), 1: drivetest.IO(opWrite, 3, 0, 1, 0), 2: drivetest.IO(opRead, 3, 0, 1, 0), 3: drivetest.Cmd(opDSM, 3, 0, 4),
	} {
		for _, n := range []int{0, 1, 4095, 4097} {
			if cpl, ok := r.C.Execute(qid, cmd, make([]byte, n), nil, nil); !ok || cpl.Status.Code() != drive.DataTransferError {
				t.Errorf("opcode %#x, %d bytes: %v", cmd.Opcode(), n, cpl.Status)
			}
		}
	}
}

// A bug in a command ends where the program wants it to, and not in a trace on its standard error.
func TestPanicked(t *testing.T) {
	t.Parallel()
	var got []any
	r := newRig(t, imagetest.Standard(layout.Trailing), drive.Options{Panicked: func(v any) { got = append(got, v) }}, drive.ControllerOptions{})
	r.C.Execute(1, nil, nil, nil, nil)
	r.C.Transfer(1, nil)
	if len(got) != 2 {
		t.Errorf("%d panics were handed over: %v", len(got), got)
	}
}
