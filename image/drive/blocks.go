package drive

import "zimg/layout"

// readBlocks reads the blocks from lba on into data, whole blocks, and their metadata
// into meta (nil: not wanted). What was not written reads as zeroes, with protection
// information that no check refuses. That the blocks may be read has been checked.
func (n *namespace) readBlocks(lba layout.LBA, data, meta []byte) error {
	if !n.Zoned() {
		if err := n.load(lba, data, meta); err != nil {
			return err
		}
		n.markZeroes(data, meta)
		return nil
	}
	for len(data) > 0 {
		i := uint64(lba / n.ZoneSize)
		n.mu.Lock()
		z, err := n.st.Zone(i)
		n.mu.Unlock()
		if err != nil {
			return err
		}
		here := min(layout.LBA(len(data)>>n.BlockBits), layout.LBA(i+1)*n.ZoneSize-lba)
		written := layout.LBA(0)
		if z.Written > lba {
			written = min(here, z.Written-lba)
		}
		if err := n.readZone(z, lba, written, data[:here<<n.BlockBits], part(meta, here, n.MS)); err != nil {
			return err
		}
		lba, data = lba+here, data[here<<n.BlockBits:]
		if meta != nil {
			meta = meta[int(here)*int(n.MS):]
		}
	}
	return nil
}

// part is the metadata of the first count blocks.
func part(meta []byte, count layout.LBA, ms uint16) []byte {
	if meta == nil {
		return nil
	}
	return meta[:int(count)*int(ms)]
}

// readZone reads blocks of one zone; the first `written` of them were written.
func (n *namespace) readZone(z layout.Zone, lba, written layout.LBA, data, meta []byte) error {
	if written > 0 {
		if err := n.load(lba, data[:written<<n.BlockBits], part(meta, written, n.MS)); err != nil {
			return err
		}
		if z.Attrs&layout.ZRWAV != 0 { // there can be gaps in a random write area
			n.markZeroes(data[:written<<n.BlockBits], part(meta, written, n.MS))
		}
	}
	clear(data[written<<n.BlockBits:])
	if meta != nil {
		rest := meta[int(written)*int(n.MS):]
		clear(rest)
		if n.pi.Enabled() {
			n.pi.MarkUnwritten(rest)
		}
	}
	return nil
}

// load reads from the store.
func (n *namespace) load(lba layout.LBA, data, meta []byte) error {
	if err := n.st.ReadData(data, lba); err != nil || len(meta) == 0 {
		return err
	}
	return n.st.ReadMeta(meta, lba)
}

// store writes to the store.
func (n *namespace) store(lba layout.LBA, data, meta []byte) error {
	if err := n.st.WriteData(data, lba); err != nil || len(meta) == 0 {
		return err
	}
	return n.st.WriteMeta(meta, lba)
}

// markZeroes gives blocks whose data and metadata are all zero, as deallocated ones are,
// the protection information of blocks that were not written.
func (n *namespace) markZeroes(data, meta []byte) {
	if len(meta) == 0 || !n.pi.Enabled() {
		return
	}
	for len(data) > 0 {
		block, m := data[:n.BlockSize()], meta[:n.MS]
		if zero(m) && zero(block) {
			n.pi.MarkUnwritten(m)
		}
		data, meta = data[len(block):], meta[len(m):]
	}
}

// zero reports whether b is all zeroes.
func zero(b []byte) bool {
	for len(b) >= 8 {
		if le.Uint64(b) != 0 {
			return false
		}
		b = b[8:]
	}
	for _, v := range b {
		if v != 0 {
			return false
		}
	}
	return true
}

// split takes the blocks in host, each with its metadata after it, apart.
func (n *namespace) split(host, data, meta []byte) {
	bs, ms := int(n.BlockSize()), int(n.MS)
	for len(host) > 0 {
		copy(data[:bs], host)
		copy(meta[:ms], host[bs:])
		host, data, meta = host[bs+ms:], data[bs:], meta[ms:]
	}
}

// join is the opposite of split.
func (n *namespace) join(host, data, meta []byte) {
	bs, ms := int(n.BlockSize()), int(n.MS)
	for len(host) > 0 {
		copy(host[:bs], data)
		copy(host[bs:bs+ms], meta)
		host, data, meta = host[bs+ms:], data[bs:], meta[ms:]
	}
}
