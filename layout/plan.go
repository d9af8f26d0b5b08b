package layout

import "fmt"

// DataAlign is the boundary on which the data of each namespace begins.
const DataAlign Bytes = 1 << 20

// Plan is where every region of an image is. It follows from the geometry
// and the layout alone, so that two images of one geometry are alike.
//
//	trailing   data file:  | ns 1 | ns 2 | ... | slot 0 | slot 1 | locator |
//	sidecar    data file:  | ns 1 | ns 2 | ... |            (or one file each)
//	           sidecar:    | slot 0 | slot 1 | locator |
//
//	slot       | header | checksum array | namespace table |
//	           | ns 1: descriptors | write pointers | extensions | ns 2: ...
type Plan struct {
	Kind    Kind
	Entries []*Entry
	// DataLen is the length of each data file's data area.
	DataLen []Bytes

	MetaOff       Bytes // slot 0, in the metadata file
	SlotLen       Bytes
	ChecksumOff   Bytes // in a slot
	ChecksumCount uint64
	TableOff      Bytes
}

// ChecksumArrayLen is the length on disk of a checksum array of n entries.
func ChecksumArrayLen(n uint64) Bytes { return RoundUp(Bytes(n)*4, BlockLen) }

// DataLength is how long data and per-block metadata of n are together: exactly what QEMU
// derives its number of blocks from, rounded up to the sectors it wants a node to be made of.
func (n *Namespace) DataLength() Bytes {
	return RoundUp(n.Size()+Bytes(n.Blocks)*Bytes(n.MS), 512)
}

// Place plans an image of the given namespaces, placing their data and
// tables. Namespaces are copied, in the order given; DataFile says which data file
// each is in.
func Place(kind Kind, namespaces []*Entry) (*Plan, error) {
	bad := func(format string, args ...any) (*Plan, error) {
		return nil, &GeometryError{Text: fmt.Sprintf(format, args...)}
	}
	if len(namespaces) == 0 || len(namespaces) > MaxNamespaces {
		return bad("%d namespaces: an image has 1 to %d", len(namespaces), MaxNamespaces)
	}
	p := &Plan{Kind: kind}
	var zones uint64
	seen := map[NSID]bool{}
	for _, n := range namespaces {
		if err := n.Validate(); err != nil {
			return nil, err
		}
		if seen[n.ID] {
			return bad("namespace %d is used twice", n.ID)
		}
		seen[n.ID] = true
		if zones += n.ZoneCount; zones > MaxZones {
			return bad("more than %d zones", uint64(MaxZones))
		}
		e := *n
		if kind == Trailing {
			e.Name = "" // the data file is the image, whatever it is called
		}
		if err := p.placeData(&e); err != nil {
			return nil, err
		}
		p.Entries = append(p.Entries, &e)
	}
	if files := len(p.DataLen); files != 1 && files != len(p.Entries) {
		return bad("%d namespaces in %d data files: namespaces must share one data file or each have their own", len(p.Entries), files)
	}
	if err := p.checkNames(); err != nil {
		return nil, err
	}
	p.placeTables()
	return p, nil
}

// placeData puts the data of e after what its file holds already.
func (p *Plan) placeData(e *Entry) error {
	f := int(e.DataFile)
	if f > len(p.DataLen) || f > 0 && p.Kind == Trailing || f > 0 && f != len(p.DataLen) {
		return &GeometryError{NSID: e.ID, Text: fmt.Sprintf("data file %d is out of order", f)}
	}
	if f == len(p.DataLen) {
		p.DataLen = append(p.DataLen, 0)
	}
	e.DataOff = RoundUp(p.DataLen[f], DataAlign)
	e.DataLen = e.DataLength()
	if e.DataLen <= 0 || e.DataOff+e.DataLen > 1<<61 {
		return &GeometryError{NSID: e.ID, Text: "the data area is larger than a file can be"}
	}
	p.DataLen[f] = e.DataOff + e.DataLen
	return nil
}

// placeTables lays out a slot: its length depends on the number of checksums,
// which depends on the tables after them.
func (p *Plan) placeTables() {
	var off Bytes // from the namespace table on
	table := func(n Bytes) Bytes {
		at := off
		off += RoundUp(n, BlockLen)
		return at
	}
	table(Bytes(len(p.Entries)) * NamespaceLen)
	for _, e := range p.Entries {
		e.Tables = Tables{}
		if !e.Zoned() {
			continue
		}
		e.Tables.Desc = table(Bytes(e.ZoneCount) * DescriptorSize)
		e.Tables.WP = table(Bytes(e.ZoneCount) * WPLen)
		if e.ZDES > 0 {
			e.Tables.Ext = table(Bytes(e.ZoneCount) * Bytes(e.ExtSize()))
		}
	}
	p.ChecksumOff = HeaderLen(len(p.Entries))
	p.ChecksumCount = uint64(off / BlockLen)
	p.TableOff = p.ChecksumOff + ChecksumArrayLen(p.ChecksumCount)
	p.SlotLen = p.TableOff + off
	for _, e := range p.Entries {
		if !e.Zoned() {
			continue
		}
		e.Tables.Desc += p.TableOff
		e.Tables.WP += p.TableOff
		if e.ZDES > 0 {
			e.Tables.Ext += p.TableOff
		}
	}
	if p.Kind == Trailing {
		p.MetaOff = RoundUp(p.DataLen[0], DataAlign)
	}
}

// MetaFileLen is the length of the file that holds the metadata area.
func (p *Plan) MetaFileLen() Bytes { return p.MetaOff + 2*p.SlotLen + LocatorLen }

// Locator is the locator of an image laid out as p.
func (p *Plan) Locator(uuid [16]byte) *Locator {
	return &Locator{Kind: p.Kind, UUID: uuid, MetaOff: p.MetaOff, SlotLen: p.SlotLen}
}

// Header fills those fields of a header that the plan decides.
func (p *Plan) Header(h *Header) {
	h.Kind = p.Kind
	h.MetaOff = p.MetaOff
	h.SlotLen = p.SlotLen
	h.ChecksumOff = p.ChecksumOff
	h.ChecksumCount = p.ChecksumCount
	h.TableOff = p.TableOff
	h.DataFiles = uint32(len(p.DataLen))
	h.DataLen = 0
	if len(p.DataLen) == 1 {
		h.DataLen = p.DataLen[0]
	}
}
