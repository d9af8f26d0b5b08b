package layout

import (
	"bytes"
	"fmt"
	"reflect"
)

// DecodeChecksums reads the checksum array of a slot with header h from b,
// ChecksumArrayLen bytes, after checking them against the header.
func DecodeChecksums(h *Header, b []byte, base Bytes) ([]uint32, error) {
	want := ChecksumArrayLen(h.ChecksumCount)
	if h.ChecksumCount > maxChecksums || Bytes(len(b)) < want {
		return nil, shortInput("checksum array", base, len(b), want)
	}
	b = b[:want]
	if err := h.CheckArraySum(Checksum(b), base); err != nil {
		return nil, err
	}
	sums := make([]uint32, h.ChecksumCount)
	for i := range sums {
		sums[i] = le.Uint32(b[4*i:])
	}
	return sums, h.CheckArrayPadding(b, base+want)
}

// CheckArraySum compares sum, the CRC of the whole checksum array at base, with the header.
func (h *Header) CheckArraySum(sum uint32, base Bytes) error {
	if sum == h.ChecksumCRC {
		return nil
	}
	return &FieldError{
		Region: "checksum array", Off: base, Field: "CRC", Got: fmt.Sprintf("%#08x", sum), Want: fmt.Sprintf("%#08x", h.ChecksumCRC), Err: ErrDamaged,
	}
}

// CheckArrayPadding refuses bytes after the last checksum that are not zero. b
// is the end of the array, its last block at least, and end its file offset.
func (h *Header) CheckArrayPadding(b []byte, end Bytes) error {
	pad := int(ChecksumArrayLen(h.ChecksumCount) - Bytes(h.ChecksumCount)*4)
	if pad > len(b) {
		return shortInput("checksum array", end-Bytes(len(b)), len(b), Bytes(pad))
	}
	return reserved("checksum array", end-Bytes(len(b)), b, len(b)-pad, len(b))
}

// PeekChecksums reads the checksums in b, whole ones only.
func PeekChecksums(b []byte) []uint32 {
	sums := make([]uint32, len(b)/4)
	for i := range sums {
		sums[i] = le.Uint32(b[4*i:])
	}
	return sums
}

// EncodeChecksums returns sums as they stand on disk, zero padded to whole
// blocks.
func EncodeChecksums(sums []uint32) []byte {
	b := make([]byte, ChecksumArrayLen(uint64(len(sums))))
	for i, s := range sums {
		le.PutUint32(b[4*i:], s)
	}
	return b
}

// EncodeTable returns the namespace table of entries, padded to whole blocks.
func EncodeTable(entries []*Entry) []byte {
	b := make([]byte, TableLen(len(entries)))
	for i, e := range entries {
		e.Encode(b[i*NamespaceLen:])
	}
	return b
}

// TableLen is the length on disk of a namespace table of n entries.
func TableLen(n int) Bytes { return RoundUp(Bytes(n)*NamespaceLen, BlockLen) }

// DecodeTable reads the namespace table of a slot with header h from b, TableLen
// bytes at file offset base, and returns the plan that it, and only it, leads to: a table that
// places anything elsewhere is refused, so that no region can overlap another.
func DecodeTable(h *Header, b []byte, base Bytes) (*Plan, error) {
	n := len(h.Counts)
	if n == 0 || n > MaxNamespaces || Bytes(len(b)) < TableLen(n) {
		return nil, shortInput("namespace table", base, len(b), TableLen(n))
	}
	b = b[:TableLen(n)]
	entries := make([]*Entry, n)
	for i := range entries {
		e, err := DecodeEntry(b[i*NamespaceLen:], base+Bytes(i*NamespaceLen))
		if err != nil {
			return nil, err
		}
		entries[i] = e
	}
	if err := reserved("namespace table", base, b, n*NamespaceLen, len(b)); err != nil {
		return nil, err
	}
	p, err := Place(h.Kind, entries)
	if err != nil {
		return nil, &FieldError{Region: "namespace table", Off: base, Text: err.Error(), Err: ErrDamaged}
	}
	for i, e := range p.Entries {
		if reflect.DeepEqual(e, entries[i]) {
			continue
		}
		got := entries[i]
		var g, w any = got.DataOff, e.DataOff
		field := "data offset"
		switch {
		case got.Name != e.Name: // only the name in a trailing image is changed by Place
			field, g, w = "file name", fmt.Sprintf("%q", got.Name), "none"
		case got.DataLen != e.DataLen:
			field, g, w = "data length", got.DataLen, e.DataLen
		case got.Tables.Desc != e.Tables.Desc:
			field, g, w = "zone descriptor table offset", got.Tables.Desc, e.Tables.Desc
		case got.Tables.WP != e.Tables.WP:
			field, g, w = "write-pointer array offset", got.Tables.WP, e.Tables.WP
		case got.Tables.Ext != e.Tables.Ext:
			field, g, w = "extension area offset", got.Tables.Ext, e.Tables.Ext
		case got.DataFile != e.DataFile:
			field, g, w = "data file", got.DataFile, e.DataFile
		}
		return nil, &FieldError{Region: fmt.Sprintf("namespace %d entry", e.ID), Off: base + Bytes(i*NamespaceLen), Field: field, Got: g, Want: w, Err: ErrDamaged}
	}
	want := *h
	p.Header(&want)
	if !bytes.Equal(want.Encode(), h.Encode()) {
		return nil, &FieldError{
			Region: "slot header", Field: "placement", Got: h.placement(), Want: want.placement(), Err: ErrDamaged,
		}
	}
	for i, e := range p.Entries {
		got, ok := h.Counts[i].sum()
		switch {
		case !ok:
			return nil, &FieldError{Region: "slot header", Field: fmt.Sprintf("sum of the zone counts of namespace %d", e.ID), Got: "more than an image can have", Want: e.ZoneCount, Err: ErrDamaged}
		case got != e.ZoneCount:
			return nil, &FieldError{Region: "slot header", Field: fmt.Sprintf("sum of the zone counts of namespace %d", e.ID), Got: got, Want: e.ZoneCount, Err: ErrDamaged}
		}
	}
	return p, nil
}

// placement is for people: where h has the metadata area and how long everything is.
func (h *Header) placement() string {
	return fmt.Sprintf("metadata at byte %d, slot length %d, data length %d, %d data files", h.MetaOff, h.SlotLen, h.DataLen, h.DataFiles)
}
