package pi

// Remap adds by to the reference tag of every block in meta, Meta bytes per block. The
// guard does not cover it. A Zone Append with PIREMAP needs that: its host did not know
// where the blocks would be (ZNS 1.1, section 3.4.1).
func (f Format) Remap(meta []byte, by uint64) {
	for ; len(meta) >= f.Meta && f.Meta > 0; meta = meta[f.Meta:] {
		t := f.decode(meta[f.Off:])
		t.ref += by
		f.encode(meta[f.Off:], t)
	}
}
