package layout_test

import (
	"bytes"
	"testing"

	"zimg/layout"
)

// What decodes encodes to the same bytes; nothing panics.

func FuzzHeader(f *testing.F) {
	f.Add(headerBytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, err := layout.PeekHeaderLen(b); err == nil && int(n) <= len(b) {
			b = b[:n]
			le.PutUint32(b[508:], 0)
			le.PutUint32(b[508:], crc(b))
		}
		if h, err := layout.DecodeHeader(b, 0); err == nil && !bytes.Equal(h.Encode(), b[:len(h.Encode())]) {
			t.Errorf("%x decodes to %+v, which encodes otherwise", b, h)
		}
	})
}

func FuzzLocator(f *testing.F) {
	f.Add(locatorBytes(), int64(locatorOff))
	f.Fuzz(func(t *testing.T, b []byte, base int64) {
		if len(b) >= 4096 {
			le.PutUint32(b[4092:], crc(b[:4092]))
		}
		if l, err := layout.DecodeLocator(b, layout.Bytes(base)); err == nil && !bytes.Equal(l.Encode(), b[:4096]) {
			t.Errorf("%x decodes to %+v, which encodes otherwise", b, l)
		}
	})
}

func FuzzEntry(f *testing.F) {
	zoned := layout.Namespace{ID: 1, CSI: layout.ZNS, BlockBits: 9, Blocks: 160, ZoneCount: 10, ZoneSize: 16, ZoneCap: 12, MAR: 3, MOR: 2, ZDES: 1}
	for _, e := range []layout.Entry{{Namespace: zoned}, {Namespace: layout.Namespace{ID: 2, BlockBits: 12, Blocks: 7}, Name: "data"}} {
		b := make([]byte, layout.NamespaceLen)
		e.Encode(b)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < layout.NamespaceLen {
			return
		}
		e, err := layout.DecodeEntry(b, 0)
		if err != nil {
			return
		}
		again := make([]byte, layout.NamespaceLen)
		if e.Encode(again); !bytes.Equal(again, b[:layout.NamespaceLen]) {
			t.Errorf("%x decodes to %+v, which encodes otherwise", b, e)
		}
		if _, err := layout.Place(layout.Sidecar, []*layout.Entry{e}); err != nil && e.DataFile == 0 && len(e.Name) <= layout.NameLen {
			t.Logf("not placed: %v", err)
		}
	})
}

func FuzzTable(f *testing.F) {
	e := &layout.Entry{Namespace: layout.Namespace{ID: 1, CSI: layout.ZNS, BlockBits: 9, Blocks: 160, ZoneCount: 10, ZoneSize: 16, ZoneCap: 12, MAR: 3, MOR: 2}}
	p, err := layout.Place(layout.Sidecar, []*layout.Entry{e})
	if err != nil {
		f.Fatal(err)
	}
	h := &layout.Header{Generation: 1, Counts: make([]layout.Counts, 1)}
	h.Counts[0][0] = 10
	p.Header(h)
	f.Add(h.Encode(), layout.EncodeTable(p.Entries))
	f.Fuzz(func(t *testing.T, head, table []byte) {
		if n, err := layout.PeekHeaderLen(head); err == nil && int(n) <= len(head) {
			head = head[:n]
			le.PutUint32(head[508:], 0)
			le.PutUint32(head[508:], crc(head))
		}
		h, err := layout.DecodeHeader(head, 0)
		if err != nil || int64(len(table)) < int64(layout.TableLen(len(h.Counts))) {
			return
		}
		if p, err := layout.DecodeTable(h, table, 0); err == nil && !bytes.Equal(layout.EncodeTable(p.Entries), table[:layout.TableLen(len(h.Counts))]) {
			t.Error("a table that encodes otherwise")
		}
	})
}

// Any descriptor and write pointer decodes, is judged, and is encoded as it was
// where nothing in it is reserved.
func FuzzZone(f *testing.F) {
	f.Add(make([]byte, layout.DescriptorSize), uint64(0))
	n := layout.Namespace{ID: 1, CSI: layout.ZNS, BlockBits: 9, Blocks: 8 * 128, ZoneCount: 8, ZoneSize: 128, ZoneCap: 96, MAR: 5, MOR: 3}
	f.Fuzz(func(t *testing.T, b []byte, written uint64) {
		d, err := layout.DecodeZoneDescriptor(b)
		if (err != nil) != (len(b) < layout.DescriptorSize) {
			t.Fatalf("%d bytes: %v", len(b), err)
		}
		if err != nil {
			return
		}
		b = b[:layout.DescriptorSize]
		z := layout.Zone{ZoneDescriptor: d, Written: layout.LBA(written)}
		for i := range n.ZoneCount {
			_ = layout.CheckZone(&n, i, z)
		}
		back := make([]byte, layout.DescriptorSize)
		z.Encode(back)
		if layout.DescriptorReserved(b) < 0 && !bytes.Equal(back, b) {
			t.Errorf("%x is encoded as %x", b, back)
		}
	})
}
