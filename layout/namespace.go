package layout

import "fmt"

// NamespaceLen is the length of an entry of the namespace table.
const NamespaceLen = 512

// Bits of the flags byte of a namespace entry.
const (
	nsExtLBA    = 1 << 0
	nsPIFirst   = 1 << 1
	nsCrossRead = 1 << 2
	nsFlags     = nsExtLBA | nsPIFirst | nsCrossRead
)

// Tables are the places of a namespace's tables in a slot; zero for a
// namespace without zones, and Ext for one without extensions.
type Tables struct {
	Desc Bytes // zone descriptor table, DescriptorSize a zone
	WP   Bytes // write-pointer array, WPLen a zone
	Ext  Bytes // zone descriptor extensions, ExtSize a zone
}

// Entry is one entry of the namespace table.
//
//	 0        4     5     6        8     9     10    11    12       16
//	+--------+-----+-----+--------+-----+-----+-----+-----+--------+-----------+
//	| NSID   | CSI | bits| MS     | PI  | PIF | flag| ZDES| file   | data off  |
//	+--------+-----+-----+--------+-----+-----+-----+-----+--------+-----------+
//	 24          32          40          48          56          64       68
//	+-----------+-----------+-----------+-----------+-----------+--------+--------+
//	| data len  | blocks    | zones     | zone size | zone cap  | MAR    | MOR    |
//	+-----------+-----------+-----------+-----------+-----------+--------+--------+
//	 72       76       80       84       88          96          104         112
//	+--------+--------+--------+--------+-----------+-----------+-----------+
//	| ZRWAS  | ZRWAFG | NUMZRWA| resvd  | desc off  | WP off    | ext off   |
//	+--------+--------+--------+--------+-----------+-----------+-----------+
//	 112             128         136             152         256          512
//	+---------------+-----------+---------------+-----------+-----------+
//	| NGUID         | EUI64     | UUID          | reserved  | file name |
//	+---------------+-----------+---------------+-----------+-----------+
type Entry struct {
	Namespace
	Tables Tables
	// Name is that of the data file, see CheckFileName. It is empty in a trailing image, and a hint
	// (perhaps empty) where there is one data file.
	Name string
}

// DecodeEntry reads the namespace table entry in the first NamespaceLen bytes of
// b; base is its file offset, for errors.
func DecodeEntry(b []byte, base Bytes) (*Entry, error) {
	if len(b) < NamespaceLen {
		return nil, shortInput("namespace entry", base, len(b), NamespaceLen)
	}
	b = b[:NamespaceLen]
	e := &Entry{
		Namespace: Namespace{
			ID:        NSID(le.Uint32(b)),
			CSI:       CommandSet(b[4]),
			BlockBits: b[5],
			MS:        le.Uint16(b[6:]),
			PI:        b[8],
			PIFormat:  b[9],
			ExtLBA:    b[10]&nsExtLBA != 0,
			PIFirst:   b[10]&nsPIFirst != 0,
			CrossRead: b[10]&nsCrossRead != 0,
			ZDES:      b[11],
			DataFile:  le.Uint32(b[12:]),
			DataOff:   Bytes(le.Uint64(b[16:])),
			DataLen:   Bytes(le.Uint64(b[24:])),
			Blocks:    LBA(le.Uint64(b[32:])),
			ZoneCount: le.Uint64(b[40:]),
			ZoneSize:  LBA(le.Uint64(b[48:])),
			ZoneCap:   LBA(le.Uint64(b[56:])),
			MAR:       le.Uint32(b[64:]),
			MOR:       le.Uint32(b[68:]),
			ZRWAS:     le.Uint32(b[72:]),
			ZRWAFG:    le.Uint32(b[76:]),
			NumZRWA:   le.Uint32(b[80:]),
			NGUID:     [16]byte(b[112:128]),
			EUI64:     [8]byte(b[128:136]),
			UUID:      [16]byte(b[136:152]),
		},
		Tables: Tables{
			Desc: Bytes(le.Uint64(b[88:])),
			WP:   Bytes(le.Uint64(b[96:])),
			Ext:  Bytes(le.Uint64(b[104:])),
		},
	}
	region := fmt.Sprintf("namespace %d entry", e.ID)
	var ok bool
	if e.Name, ok = getString(b[256:512]); !ok {
		return nil, &FieldError{Region: region, Off: base + 256, Field: "file name", Err: ErrDamaged}
	}
	if e.Name != "" {
		if err := CheckFileName(e.Name); err != nil {
			return nil, &FieldError{Region: region, Off: base + 256, Text: err.Error(), Err: ErrDamaged}
		}
	}
	if b[10]&^nsFlags != 0 {
		return nil, &FieldError{Region: region, Off: base + 10, Field: "flags", Got: fmt.Sprintf("%#x", b[10]), Err: ErrDamaged}
	}
	if err := reserved(region, base, b, 84, 88); err != nil {
		return nil, err
	}
	if err := reserved(region, base, b, 152, 256); err != nil {
		return nil, err
	}
	if err := e.Validate(); err != nil {
		return nil, &FieldError{Region: region, Off: base, Text: err.Error(), Err: ErrDamaged}
	}
	return e, nil
}

// Encode writes e to the first NamespaceLen bytes of b.
func (e *Entry) Encode(b []byte) {
	b = b[:NamespaceLen]
	clear(b)
	le.PutUint32(b, uint32(e.ID))
	b[4] = uint8(e.CSI)
	b[5] = e.BlockBits
	le.PutUint16(b[6:], e.MS)
	b[8] = e.PI
	b[9] = e.PIFormat
	for _, f := range []struct {
		set bool
		bit byte
	}{{e.ExtLBA, nsExtLBA}, {e.PIFirst, nsPIFirst}, {e.CrossRead, nsCrossRead}} {
		if f.set {
			b[10] |= f.bit
		}
	}
	b[11] = e.ZDES
	le.PutUint32(b[12:], e.DataFile)
	le.PutUint64(b[16:], uint64(e.DataOff))
	le.PutUint64(b[24:], uint64(e.DataLen))
	le.PutUint64(b[32:], uint64(e.Blocks))
	le.PutUint64(b[40:], e.ZoneCount)
	le.PutUint64(b[48:], uint64(e.ZoneSize))
	le.PutUint64(b[56:], uint64(e.ZoneCap))
	le.PutUint32(b[64:], e.MAR)
	le.PutUint32(b[68:], e.MOR)
	le.PutUint32(b[72:], e.ZRWAS)
	le.PutUint32(b[76:], e.ZRWAFG)
	le.PutUint32(b[80:], e.NumZRWA)
	le.PutUint64(b[88:], uint64(e.Tables.Desc))
	le.PutUint64(b[96:], uint64(e.Tables.WP))
	le.PutUint64(b[104:], uint64(e.Tables.Ext))
	copy(b[112:], e.NGUID[:])
	copy(b[128:], e.EUI64[:])
	copy(b[136:], e.UUID[:])
	putString(b[256:512], e.Name)
}

// Validate says what no namespace can have, as a *GeometryError. It judges the
// geometry alone, not where things are, and is the only place that does.
//
//nolint:gocyclo // a table of rules
func (n *Namespace) Validate() error {
	bad := func(format string, args ...any) error {
		return &GeometryError{NSID: n.ID, Text: fmt.Sprintf(format, args...)}
	}
	switch {
	case n.ID == 0 || n.ID > 0xFFFFFFFE:
		return bad("namespace id %d", n.ID)
	case n.CSI != NVM && n.CSI != ZNS:
		return bad("command set %d is neither 0 (nvm) nor 2 (zoned)", n.CSI)
	case n.BlockBits < 9 || n.BlockBits > 16:
		return bad("block size 2^%d is not 512 to 65536", n.BlockBits)
	case n.PI > 3:
		return bad("protection type %d is not 0 to 3", n.PI)
	case n.PIFormat != 0 && n.PIFormat != 2:
		return bad("protection format %d is neither 0 (16-bit guard) nor 2 (64-bit guard)", n.PIFormat)
	case n.PI > 0 && n.PIFormat == 0 && n.MS < 8:
		return bad("protection information needs 8 bytes of metadata per block, not %d", n.MS)
	case n.PI > 0 && n.PIFormat == 2 && n.MS < 16:
		return bad("protection information with 64-bit guards needs 16 bytes of metadata per block, not %d", n.MS)
	case n.Blocks == 0:
		return bad("no blocks")
	case n.Blocks > 1<<61>>n.BlockBits:
		return bad("%d blocks of %d bytes are too large for a file", n.Blocks, n.BlockSize())
	}
	if !n.Zoned() {
		if n.ZoneCount != 0 || n.ZoneSize != 0 || n.ZoneCap != 0 || n.ZDES != 0 || n.MAR != 0 || n.MOR != 0 ||
			n.ZRWAS != 0 || n.ZRWAFG != 0 || n.NumZRWA != 0 || n.CrossRead {
			return bad("zone geometry on a namespace without zones")
		}
		return nil
	}
	switch {
	case n.ZoneSize == 0 || n.ZoneCount == 0:
		return bad("no zones")
	case n.ZoneCount > MaxZones:
		return bad("%d zones are too many: at most %d", n.ZoneCount, uint64(MaxZones))
	case n.Blocks/n.ZoneSize != LBA(n.ZoneCount) || n.Blocks%n.ZoneSize != 0:
		return bad("%d blocks are not %d zones of %d", n.Blocks, n.ZoneCount, n.ZoneSize)
	case n.ZoneCap == 0 || n.ZoneCap > n.ZoneSize:
		return bad("zone capacity of %d blocks is not 1 to the zone size of %d blocks", n.ZoneCap, n.ZoneSize)
	case n.MOR != NoLimit && n.MAR != NoLimit && n.MOR > n.MAR || n.MOR == NoLimit && n.MAR != NoLimit:
		return bad("the limit of %s open zones is larger than the limit of %s active zones", limitText(n.MOR), limitText(n.MAR))
	case n.ZRWAS == 0 && (n.ZRWAFG != 0 || n.NumZRWA != 0):
		return bad("zone random write areas have size 0")
	case n.ZRWAS != 0 && (n.ZRWAFG == 0 || n.ZRWAS%n.ZRWAFG != 0):
		return bad("zone random write area of %d blocks is not a multiple of its flush granularity of %d blocks", n.ZRWAS, n.ZRWAFG)
	case n.ZRWAS != 0 && LBA(n.ZRWAS) > n.ZoneCap:
		return bad("zone random write area of %d blocks is larger than the zone capacity of %d blocks", n.ZRWAS, n.ZoneCap)
	case n.MAR != NoLimit && uint64(n.NumZRWA) > n.MaxActive():
		return bad("%d zone random write areas are more than %d active zones", n.NumZRWA, n.MaxActive())
	}
	return nil
}

// limitText is MOR or MAR for people.
func limitText(zeroBased uint32) string {
	if zeroBased == NoLimit {
		return "any number of"
	}
	return fmt.Sprint(limit(zeroBased))
}
