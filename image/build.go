package image

import (
	"fmt"

	"zimg/image/disk"
	"zimg/layout"
)

// builder writes the tables of a new metadata area from zones of any origin,
// in bounded memory: each table is filled block by block and written to both slots a
// chunk at a time.
type builder struct {
	file   disk.File
	plan   *layout.Plan
	sums   []uint32
	counts []layout.Counts
}

// buildTables writes the tables of plan to both slots in file. zones has an
// element for each namespace; nil means that all of its zones are Empty.
func buildTables(file disk.File, plan *layout.Plan, zones []layout.Zones) (*builder, error) {
	b := &builder{file: file, plan: plan, sums: make([]uint32, plan.ChecksumCount), counts: make([]layout.Counts, len(plan.Entries))}
	table := b.table(plan.TableOff)
	for _, e := range plan.Entries {
		entry := make([]byte, layout.NamespaceLen)
		e.Encode(entry)
		if err := table.append(entry); err != nil {
			return nil, err
		}
	}
	if err := table.finish(); err != nil {
		return nil, err
	}
	for i, e := range plan.Entries {
		if !e.Zoned() {
			continue
		}
		z := zones[i]
		if z == nil {
			z = emptyZones{&e.Namespace}
		}
		if err := b.namespace(i, e, z); err != nil {
			return nil, fmt.Errorf("namespace %d: %w", e.ID, err)
		}
	}
	return b, nil
}

// namespace writes the three tables of one namespace.
func (b *builder) namespace(index int, e *layout.Entry, zones layout.Zones) error {
	desc, wps := b.table(e.Tables.Desc), b.table(e.Tables.WP)
	var d [layout.DescriptorSize]byte
	var w [layout.WPLen]byte
	var i uint64
	withExt := []uint64{}
	for z, err := range zones.All(0, e.ZoneCount) {
		if err != nil {
			return err
		}
		z.Encode(d[:])
		layout.EncodeWP(w[:], 0, z.Written)
		if err := desc.append(d[:]); err != nil {
			return err
		}
		if err := wps.append(w[:]); err != nil {
			return err
		}
		if s := z.State.Index(); s >= 0 {
			b.counts[index][s]++
		}
		if z.Attrs&layout.ZDEV != 0 && e.ZDES > 0 {
			withExt = append(withExt, i)
		}
		i++
	}
	if err := desc.finish(); err != nil {
		return err
	}
	if err := wps.finish(); err != nil {
		return err
	}
	if e.ZDES == 0 {
		return nil
	}
	return b.extensions(e, zones, withExt)
}

// extensions writes the extension area: those of the zones listed, zero for all others.
func (b *builder) extensions(e *layout.Entry, zones layout.Zones, withExt []uint64) error {
	t := b.table(e.Tables.Ext)
	zero := make([]byte, e.ExtSize())
	for i := uint64(0); i < e.ZoneCount; i++ {
		ext := zero
		if len(withExt) > 0 && withExt[0] == i {
			withExt = withExt[1:]
			got, err := zones.Extension(i)
			if err != nil {
				return err
			}
			if len(got) == len(zero) {
				ext = got
			}
		}
		if err := t.append(ext); err != nil {
			return err
		}
	}
	return t.finish()
}

// tableWriter collects one table and writes it a chunk at a time.
type tableWriter struct {
	b   *builder
	num uint64 // of the next block to write, from TableOff
	buf []byte
}

func (b *builder) table(off layout.Bytes) *tableWriter {
	return &tableWriter{b: b, num: uint64(off-b.plan.TableOff) / layout.BlockLen, buf: make([]byte, 0, chunk+layout.BlockLen)}
}

func (t *tableWriter) append(p []byte) error {
	t.buf = append(t.buf, p...)
	if len(t.buf) < chunk {
		return nil
	}
	whole := len(t.buf) &^ (layout.BlockLen - 1)
	if err := t.write(t.buf[:whole]); err != nil {
		return err
	}
	t.buf = append(t.buf[:0], t.buf[whole:]...)
	return nil
}

// finish pads the table to a whole block and writes the rest.
func (t *tableWriter) finish() error {
	if pad := -len(t.buf) & (layout.BlockLen - 1); pad > 0 {
		t.buf = append(t.buf, make([]byte, pad)...)
	}
	return t.write(t.buf)
}

func (t *tableWriter) write(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	for i := 0; i < len(p); i += layout.BlockLen {
		t.b.sums[t.num+uint64(i/layout.BlockLen)] = layout.Checksum(p[i : i+layout.BlockLen])
	}
	err := writeBoth(t.b.file, t.b.plan, t.num, p)
	t.num += uint64(len(p) / layout.BlockLen)
	return err
}
