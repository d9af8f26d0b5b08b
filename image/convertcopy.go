package image

import (
	"errors"
	"fmt"
	"io/fs"

	"zimg/image/disk"
	"zimg/layout"
)

// appendMetadata makes data, which ends with its data area, a trailing image; the locator is written when what it
// leads to is durable.
func (im *Image) appendMetadata(data disk.File, plan *layout.Plan) error {
	if err := data.Truncate(int64(plan.MetaOff)); err != nil {
		return err
	}
	if err := im.copySlots(data, plan, im.hdr.UUID, 0); err != nil {
		return err
	}
	if err := data.Sync(); err != nil {
		return err
	}
	if err := writeLocator(data, plan, im.hdr.UUID); err != nil {
		return err
	}
	return data.Sync()
}

// copyMetadata writes the whole metadata area of plan to file, of an image with that UUID.
func (im *Image) copyMetadata(file disk.File, plan *layout.Plan, uuid [16]byte, compat uint32) error {
	if err := im.copySlots(file, plan, uuid, compat); err != nil {
		return err
	}
	return writeLocator(file, plan, uuid)
}

// copySlots writes both slots of plan: im's tables, and headers that are newer
// than im's. The tables are at the same place of a slot in every layout; only the namespace table
// differs.
func (im *Image) copySlots(file disk.File, plan *layout.Plan, uuid [16]byte, compat uint32) error {
	live, err := im.slots[im.live].Sums()
	if err != nil {
		return err
	}
	sums := append([]uint32(nil), live...)
	table := layout.EncodeTable(plan.Entries)
	buf := make([]byte, chunk)
	for first := uint64(0); first < plan.ChecksumCount; {
		b := buf[:min(chunk, (plan.ChecksumCount-first)*layout.BlockLen)]
		if err := im.readBlocks(b, first); err != nil {
			return err
		}
		if at := first * layout.BlockLen; at < uint64(len(table)) {
			n := copy(b, table[at:])
			for i := 0; i < n; i += layout.BlockLen {
				sums[first+uint64(i/layout.BlockLen)] = layout.Checksum(b[i : i+layout.BlockLen])
			}
		}
		if err := writeBoth(file, plan, first, b); err != nil {
			return err
		}
		first += uint64(len(b) / layout.BlockLen)
	}
	h := im.hdr
	h.UUID, h.Flags, h.Session = uuid, layout.Clean, layout.Session{}
	h.Tool, h.Committed, h.Compat = im.files.stamp.tool(), im.files.stamp.now(), h.Compat&^layout.Moving|compat
	return writeHeaders(file, plan, &h, sums, im.hdr.Generation+1)
}

// copyData copies the data of every namespace to where plan has it in file.
func (im *Image) copyData(file disk.File, plan *layout.Plan, progress func(done, total int64) error) error {
	if err := file.Truncate(int64(plan.DataLen[0])); err != nil {
		return err
	}
	var done, total int64
	for _, e := range plan.Entries {
		total += int64(e.DataLen)
	}
	tick := func(n int64) error {
		done += n
		if progress == nil {
			return nil
		}
		return progress(done, total)
	}
	for i, e := range plan.Entries {
		n := im.ns[i]
		if err := file.CopyFrom(n.File(), int64(n.DataOff), int64(e.DataOff), int64(e.DataLen), tick); err != nil {
			return fmt.Errorf("copy namespace %d: %w", e.ID, err)
		}
	}
	return nil
}

func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
