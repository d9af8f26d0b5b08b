package vfiouser

import (
	"context"
	"runtime/debug"

	"zimg/image/drive"
)

// worker executes commands one after the other, with buffers that it keeps.
type worker struct {
	data, meta []byte
	list       []byte
	segments   []segment
}

// segment is a piece of guest memory.
type segment struct {
	addr uint64
	n    int
}

func allowFaults() { debug.SetPanicOnFault(true) }

// psdtMask are the bits of the flags that choose SGLs, which this controller does not have.
const psdtMask = 0xC0

// execute runs cmd and posts its completion, if it has one already.
func (w *worker) execute(sq *submission, cmd *drive.Command) {
	e, cid := sq.e, cmd.CID()
	fail := func(st drive.Status) { sq.post(cid, drive.Completion{Status: st}) }
	if sq.id == 0 {
		if st, ok := e.queueCommand(cmd); ok {
			fail(st)
			return
		}
	}
	if cmd.Flags()&psdtMask != 0 {
		fail(drive.InvalidField | drive.DNR)
		return
	}
	c := e.s.c
	dir, n, nmeta, st := c.Transfer(sq.id, cmd)
	if !st.OK() {
		fail(st)
		return
	}
	if dir == drive.None {
		done := func(cpl drive.Completion) { c.Drive().Go(func() { sq.post(cid, cpl) }) }
		if cpl, ok := c.Execute(sq.id, cmd, nil, nil, done); ok {
			sq.post(cid, cpl)
		}
		return
	}
	segments, st := w.gather(sq.ctx, e, cmd, n)
	if !st.OK() {
		fail(st)
		return
	}
	data, meta := room(&w.data, n), room(&w.meta, nmeta)
	mptr := le.Uint64(cmd[16:])
	if dir == drive.ToController {
		if err := e.s.copyIn(sq.ctx, segments, data, mptr, meta); err != nil {
			fail(drive.DataTransferError)
			return
		}
	} else {
		clear(data) // a command that fills less must not show what was there before
		clear(meta)
	}
	finish := func(segments []segment, cpl drive.Completion) {
		if dir == drive.FromController && cpl.Status.OK() {
			if err := e.s.copyOut(sq.ctx, segments, data, mptr, meta); err != nil {
				cpl = drive.Completion{Status: drive.DataTransferError}
			}
		}
		sq.post(cid, cpl)
	}
	later := func(cpl drive.Completion) {
		c.Drive().Go(func() {
			allowFaults()
			finish(append([]segment(nil), segments...), cpl)
		})
	}
	// The completion may come later, and with it the time to copy: then the buffers are not ours any more.
	cpl, ok := c.Execute(sq.id, cmd, data, meta, later)
	if !ok {
		w.data, w.meta, w.segments = nil, nil, nil
		return
	}
	finish(segments, cpl)
}

// room is a buffer of n bytes out of *b, nil for 0.
func room(b *[]byte, n int) []byte {
	if n == 0 {
		return nil
	}
	if cap(*b) < n {
		*b = make([]byte, n)
	}
	return (*b)[:n]
}

// gather says where the n bytes of cmd are: PRP entry 1, and entry 2 or the list that it
// points to (NVMe Base 2.0, section 4.1.1). The first piece may begin within a page, all others begin
// with one. A list's last entry in a page points to the next list where there is more.
func (w *worker) gather(ctx context.Context, e *epoch, cmd *drive.Command, n int) ([]segment, drive.Status) {
	prp1, prp2 := le.Uint64(cmd[24:]), le.Uint64(cmd[32:])
	w.segments = w.segments[:0]
	if prp1%4 != 0 {
		return nil, invalidPRP | drive.DNR
	}
	first := int(min(uint64(n), e.page-prp1%e.page))
	w.segments = append(w.segments, segment{prp1, first})
	n -= first
	switch {
	case n == 0:
		return w.segments, drive.Success
	case uint64(n) <= e.page:
		if prp2%e.page != 0 {
			return nil, invalidPRP | drive.DNR
		}
		w.segments = append(w.segments, segment{prp2, n})
		return w.segments, drive.Success
	}
	for at := prp2; n > 0; {
		if at%8 != 0 {
			return nil, invalidPRP | drive.DNR
		}
		pages := (n + int(e.page) - 1) / int(e.page)
		entries := int(e.page-at%e.page) / 8
		count := min(entries, pages)
		list := room(&w.list, 8*count)
		if err := e.s.mem.read(ctx, at, list); err != nil {
			return nil, drive.DataTransferError
		}
		chained := pages > entries
		if chained {
			count--
		}
		for i := range count {
			addr := le.Uint64(list[8*i:])
			if addr%e.page != 0 {
				return nil, invalidPRP | drive.DNR
			}
			piece := int(min(uint64(n), e.page))
			w.add(addr, piece)
			n -= piece
		}
		if chained {
			at = le.Uint64(list[8*count:])
			if count == 0 && at%e.page == e.page-8 { // a list that goes nowhere
				return nil, invalidPRP | drive.DNR
			}
		}
	}
	return w.segments, drive.Success
}

// add adds a piece, to the last segment where it follows it.
func (w *worker) add(addr uint64, n int) {
	if last := &w.segments[len(w.segments)-1]; last.addr+uint64(last.n) == addr {
		last.n += n
		return
	}
	w.segments = append(w.segments, segment{addr, n})
}

// copyIn reads data, and metadata from mptr on.
func (s *session) copyIn(ctx context.Context, segments []segment, data []byte, mptr uint64, meta []byte) error {
	for _, g := range segments {
		if err := s.mem.read(ctx, g.addr, data[:g.n]); err != nil {
			return err
		}
		data = data[g.n:]
	}
	return s.mem.read(ctx, mptr, meta)
}

// copyOut writes data, and metadata from mptr on.
func (s *session) copyOut(ctx context.Context, segments []segment, data []byte, mptr uint64, meta []byte) error {
	for _, g := range segments {
		if err := s.mem.write(ctx, g.addr, data[:g.n]); err != nil {
			return err
		}
		data = data[g.n:]
	}
	return s.mem.write(ctx, mptr, meta)
}
