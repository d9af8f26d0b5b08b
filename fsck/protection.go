package fsck

import (
	"errors"
	"fmt"
	"io"

	"zimg/image/disk"
	"zimg/image/pi"
	"zimg/layout"
)

// checkProtection verifies the protection information of what has been written, if
// the data is to be looked at in any case. A zone's written part is checked, or a whole
// namespace without zones, except for holes and blocks that are zeroes with their metadata:
// those were never written, and a drive returns them unchecked.
func (s *state) checkProtection() error {
	if s.o.Data != DataAlways || s.im == nil {
		return nil
	}
	for _, n := range s.im.Namespaces() {
		f := pi.Of(n.Namespace)
		if !f.Enabled() {
			continue
		}
		v := &verifier{s: s, n: n.Namespace, format: f, file: s.files.Data[n.DataFile]}
		if !n.Zoned() {
			if err := v.verify(0, n.Blocks, Finding{}); err != nil {
				return err
			}
			continue
		}
		i := uint64(0)
		for z, err := range n.All(0, n.ZoneCount) {
			if err != nil {
				return err
			}
			if z.Written > z.Start && z.State != layout.Offline && z.Written <= n.Blocks {
				if err := v.verify(z.Start, z.Written, Finding{Zone: i, InZone: true}); err != nil {
					return err
				}
			}
			i++
		}
	}
	return nil
}

// verifier checks the protection information of one namespace.
type verifier struct {
	s      *state
	n      *layout.Namespace
	format pi.Format
	file   disk.File

	data, meta []byte
	bad        uint64     // blocks of the range that is verified
	first      layout.LBA // the first of them
	why        error      // what is wrong with it
}

// verifyChunk is how much data is read at a time; a multiple of every block size.
const verifyChunk = 256 << 10

// verify checks the blocks from first to end, and makes f a finding of those that are wrong.
func (v *verifier) verify(first, end layout.LBA, f Finding) error {
	v.bad, v.why = 0, nil
	base := int64(v.n.DataOff)
	from, to := base+int64(v.n.ByteOff(first)), base+int64(v.n.ByteOff(end))
	for at := from; at < to; {
		data, err := v.file.SeekData(at)
		if errors.Is(err, io.EOF) || err == nil && data >= to {
			break
		}
		if err != nil {
			return err
		}
		hole, err := v.file.SeekHole(data)
		if err != nil {
			return err
		}
		at = min(hole, to)
		lba := layout.LBA((data - base) >> v.n.BlockBits)
		last := layout.LBA((at - base + v.n.BlockSize() - 1) >> v.n.BlockBits)
		for lba < last {
			n := min(last-lba, layout.LBA(verifyChunk>>v.n.BlockBits))
			if err := v.chunk(lba, int(n)); err != nil {
				return err
			}
			lba += n
		}
		at = base + int64(v.n.ByteOff(last))
	}
	if v.bad == 0 {
		return nil
	}
	f.Code, f.Namespace = ProtectionWrong, v.n.ID
	f.Detail = fmt.Sprintf("%d blocks, the first is LBA %d: %v", v.bad, v.first, v.why)
	if v.bad == 1 {
		f.Detail = fmt.Sprintf("LBA %d: %v", v.first, v.why)
	}
	return v.s.found(f, nil)
}

// chunk checks n blocks from lba on.
func (v *verifier) chunk(lba layout.LBA, n int) error {
	if err := v.s.o.context().Err(); err != nil {
		return err
	}
	if v.data == nil {
		v.data = make([]byte, verifyChunk)
		v.meta = make([]byte, verifyChunk>>v.n.BlockBits*v.format.Meta)
	}
	data, meta := v.data[:n*v.format.Block], v.meta[:n*v.format.Meta]
	base := v.n.DataOff
	if err := readZeroes(v.file, data, int64(base+v.n.ByteOff(lba))); err != nil {
		return err
	}
	if err := readZeroes(v.file, meta, int64(base+v.n.MetadataOff()+layout.Bytes(lba)*layout.Bytes(v.n.MS))); err != nil {
		return err
	}
	check := pi.CheckGuard
	if v.n.PI == 1 { // of the other types the host chooses the reference tag
		check |= pi.CheckRef
	}
	for i := range n {
		block, own := data[i*v.format.Block:(i+1)*v.format.Block], meta[i*v.format.Meta:(i+1)*v.format.Meta]
		at := lba + layout.LBA(i)
		err := v.format.Verify(block, own, v.format.TagsAt(at), check)
		if err == nil || allZero(own) && allZero(block) {
			continue
		}
		if v.bad == 0 {
			v.first, v.why = at, err
			var wrong *pi.Error
			if errors.As(err, &wrong) {
				v.why = fmt.Errorf("%s is %#x, want %#x", wrong.Field, wrong.Got, wrong.Want)
			}
		}
		v.bad++
	}
	return nil
}

// readZeroes fills b, with zeros after the end of the file.
func readZeroes(file disk.File, b []byte, off int64) error {
	n, err := file.ReadAt(b, off)
	if errors.Is(err, io.EOF) {
		clear(b[n:])
		return nil
	}
	return err
}
