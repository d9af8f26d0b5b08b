package layout

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// BlockLen is the unit of the metadata area: everything in it begins on a
// multiple, and every block but a header's has a checksum of its own.
const BlockLen = 4096

// Version of the format that this package writes, and the newest it reads.
const Version = 1

// Limits of the format.
const (
	MaxNamespaces = 256
	MaxZones      = 1 << 32 // of all namespaces together
	LabelLen      = 128     // bytes
	MaxGeneration = 1 << 63 // of a slot
	ToolLen       = 32
)

const (
	headerMagic  = "\x89ZIMG\r\n\x1a"
	headerFixed  = 512
	headerCRCOff = 508
	countsLen    = 8 * len(ZoneStates)
	// MaxHeaderLen is the length of the header of an image with MaxNamespaces.
	MaxHeaderLen = (headerFixed + MaxNamespaces*countsLen + BlockLen - 1) / BlockLen * BlockLen
)

// maxChecksums is more than a slot of the greatest length has: arithmetic on a
// number of checksums up to it cannot overflow.
const maxChecksums = 1 << 48

// Kind says where the metadata area lives.
type Kind uint32

// The two layouts.
const (
	Trailing Kind = 1 // in the data file, after the data area
	Sidecar  Kind = 2 // in a file of its own
)

func (k Kind) String() string {
	switch k {
	case Trailing:
		return "trailing"
	case Sidecar:
		return "sidecar"
	}
	return fmt.Sprintf("layout %d", uint32(k))
}

// CheckLabel refuses a label that a header cannot hold.
func CheckLabel(label string) error {
	switch {
	case len(label) > LabelLen:
		return Errorf(ErrGeometry, "label of %d bytes is too long: at most %d", len(label), LabelLen)
	case !utf8.ValidString(label) || strings.ContainsRune(label, 0):
		return Errorf(ErrGeometry, "label %q must be UTF-8 without NUL bytes", label)
	}
	return nil
}

// StateFlags say how the last user left the image.
type StateFlags uint32

// State flags. Neither set: a zimg command that changes data was interrupted.
const (
	Clean StateFlags = 1 << 0 // the data area and the zones agree
	InUse StateFlags = 1 << 1 // a run holds the image, or died holding it
)

// Counts are numbers of zones by state, in the order of ZoneStates.
type Counts [len(ZoneStates)]uint64

// Active is the number of zones that hold an active resource.
func (c Counts) Active() uint64 { return c.Open() + c[Closed.Index()] }

// Open is the number of zones that hold an open resource.
func (c Counts) Open() uint64 {
	return c[ImplicitlyOpened.Index()] + c[ExplicitlyOpened.Index()]
}

// Total is the number of zones.
func (c Counts) Total() uint64 {
	n, _ := c.sum()
	return n
}

// sum is the number of zones; ok is false if it is more than any image has.
func (c Counts) sum() (n uint64, ok bool) {
	for _, v := range c {
		if v > MaxZones {
			return 0, false
		}
		n += v
	}
	return n, n <= MaxZones
}

// SessionKind says what has an image in use, and with it where the truth about the zones is when that has died.
type SessionKind uint32

// The kinds of session.
const (
	// Run is a run with QEMU's drive: the zones were in QEMU's memory, and the data says how far they were written.
	Run SessionKind = 0
	// Served is a drive of zimg's own: the zones are in the live file, or, after a power failure, as last committed.
	Served SessionKind = 1
)

// Session identifies the run that has, or had, the image in use.
type Session struct {
	ID     [16]byte
	BootID [16]byte  // of the host's kernel, to know whether PID can still mean anything
	PID    uint32    // of zimg
	Start  time.Time // zero if there is no session
	Kind   SessionKind
}

// Header is the first part of a slot: the identity of the image, where
// everything else is, and the counts, so that info never reads a table.
//
//	  0           8        12       16       20       24                40
//	+-----------+--------+--------+--------+--------+-----------------+-----------+
//	| magic     | version| compat | ro     | incomp | UUID            | generation|
//	+-----------+--------+--------+--------+--------+-----------------+-----------+
//	 48       52       56       60       64          72          80       84
//	+--------+--------+--------+--------+-----------+-----------+--------+--------+
//	| layout | flags  | slot   | ns     | metadata  | slot      | header | data   |
//	|        |        | number | count  | offset    | length    | length | files  |
//	+--------+--------+--------+--------+-----------+-----------+--------+--------+
//	 88          96          104      108      112         120         128
//	+-----------+-----------+--------+--------+-----------+-----------+-----------+
//	| checksum  | checksum  | array's| resvd  | namespace | data      | created   |
//	| array off | count     | CRC    |        | table off | length    |           |
//	+-----------+-----------+--------+--------+-----------+-----------+-----------+
//	 136         144               160         168             184      188
//	+-----------+-----------------+-----------+---------------+--------+--------+
//	| committed | session id      | started   | boot id       | pid    | kind   |
//	+-----------+-----------------+-----------+---------------+--------+--------+
//	 192          224              352                    508    512
//	+------------+----------------+----------------------+------+------------------+
//	| tool       | label          | reserved             | CRC  | counts, 64 a ns  |
//	+------------+----------------+----------------------+------+------------------+
type Header struct {
	Compat, ROCompat, Incompat uint32

	UUID       [16]byte
	Generation uint64
	Kind       Kind
	Flags      StateFlags
	Slot       uint32
	MetaOff    Bytes // of slot 0 in the metadata file
	SlotLen    Bytes
	DataFiles  uint32
	DataLen    Bytes // of the only data file's data area; 0 with several files

	ChecksumOff   Bytes // in the slot
	ChecksumCount uint64
	ChecksumCRC   uint32
	TableOff      Bytes // of the namespace table in the slot

	Created, Committed time.Time
	Session            Session
	Tool               string
	Label              string
	Counts             []Counts // one per namespace, in the order of the namespace table
}

// Moving is a compatible feature: the metadata is where it is only because a command was interrupted that would have
// moved it to the other layout in the end. A reader need not know that; the next writer moves it.
const Moving uint32 = 1

// Features that this package knows.
const (
	knownROCompat uint32 = 0
	knownIncompat uint32 = 0
)

// ReadOnlyFeatures are features of h that forbid this package to write.
func (h *Header) ReadOnlyFeatures() uint32 { return h.ROCompat &^ knownROCompat }

// HeaderLen is the length of a header of an image with n namespaces.
func HeaderLen(n int) Bytes {
	return RoundUp(Bytes(headerFixed+n*countsLen), BlockLen)
}

// IsHeader reports whether b begins with the magic of a slot header.
func IsHeader(b []byte) bool { return len(b) >= 8 && string(b[:8]) == headerMagic }

// PeekHeaderLen is the length of the header that begins with block b, so that
// the rest can be read. It is bounded, and means nothing before DecodeHeader has
// checked the CRC.
func PeekHeaderLen(b []byte) (Bytes, error) {
	if len(b) < headerFixed {
		return 0, &FieldError{Region: "slot header", Field: "length", Got: len(b), Want: headerFixed, Err: ErrNotImage}
	}
	if !IsHeader(b) {
		return 0, &FieldError{Region: "slot header", Field: "magic", Got: "missing", Err: ErrNotImage}
	}
	n := Bytes(le.Uint32(b[80:]))
	if n < BlockLen || n > Bytes(MaxHeaderLen) || n%BlockLen != 0 {
		return 0, &FieldError{Region: "slot header", Field: "header length", Got: n, Err: ErrDamaged}
	}
	return n, nil
}

// DecodeHeader reads the header in b, which must have PeekHeaderLen bytes; base
// is its file offset, for errors. The CRC is checked before anything is believed,
// so that a later version is not taken for damage.
//
//nolint:gocyclo // a table of fields
func DecodeHeader(b []byte, base Bytes) (*Header, error) {
	const region = "slot header"
	fail := func(off int, field string, got, want any, err error) (*Header, error) {
		return nil, &FieldError{Region: region, Off: base + Bytes(off), Field: field, Got: got, Want: want, Err: err}
	}
	n, err := PeekHeaderLen(b)
	if err != nil {
		return nil, err
	}
	if Bytes(len(b)) < n {
		return fail(80, "header length", n, len(b), ErrDamaged)
	}
	b = b[:n]
	if got, want := checksumZeroed(b, headerCRCOff), le.Uint32(b[headerCRCOff:]); got != want {
		return fail(headerCRCOff, "CRC", fmt.Sprintf("%#08x", want), fmt.Sprintf("%#08x", got), ErrDamaged)
	}
	if v := le.Uint32(b[8:]); v != Version {
		if v > Version {
			return fail(8, "version", v, Version, ErrNewer)
		}
		return fail(8, "version", v, Version, ErrDamaged)
	}
	h := &Header{
		Compat:        le.Uint32(b[12:]),
		ROCompat:      le.Uint32(b[16:]),
		Incompat:      le.Uint32(b[20:]),
		UUID:          [16]byte(b[24:40]),
		Generation:    le.Uint64(b[40:]),
		Kind:          Kind(le.Uint32(b[48:])),
		Flags:         StateFlags(le.Uint32(b[52:])),
		Slot:          le.Uint32(b[56:]),
		MetaOff:       Bytes(le.Uint64(b[64:])),
		SlotLen:       Bytes(le.Uint64(b[72:])),
		DataFiles:     le.Uint32(b[84:]),
		ChecksumOff:   Bytes(le.Uint64(b[88:])),
		ChecksumCount: le.Uint64(b[96:]),
		ChecksumCRC:   le.Uint32(b[104:]),
		TableOff:      Bytes(le.Uint64(b[112:])),
		DataLen:       Bytes(le.Uint64(b[120:])),
		Created:       getTime(b[128:]),
		Committed:     getTime(b[136:]),
		Session: Session{
			ID:     [16]byte(b[144:160]),
			Start:  getTime(b[160:]),
			BootID: [16]byte(b[168:184]),
			PID:    le.Uint32(b[184:]),
			Kind:   SessionKind(le.Uint32(b[188:])),
		},
	}
	if x := h.Incompat &^ knownIncompat; x != 0 {
		return fail(20, "incompatible features", fmt.Sprintf("%#x", h.Incompat), nil, ErrNewer)
	}
	count := le.Uint32(b[60:])
	var ok bool
	switch {
	case h.Generation == 0 || h.Generation > MaxGeneration:
		return fail(40, "generation", h.Generation, fmt.Sprintf("1 to %d", uint64(MaxGeneration)), ErrDamaged)
	case h.Kind != Trailing && h.Kind != Sidecar:
		return fail(48, "layout", uint32(h.Kind), nil, ErrDamaged)
	case h.Flags&^(Clean|InUse) != 0 || h.Flags == Clean|InUse:
		return fail(52, "state flags", fmt.Sprintf("%#x", uint32(h.Flags)), nil, ErrDamaged)
	case h.Slot > 1:
		return fail(56, "slot number", h.Slot, nil, ErrDamaged)
	case count == 0 || count > MaxNamespaces || HeaderLen(int(count)) != n:
		return fail(60, "namespace count", count, nil, ErrDamaged)
	case h.MetaOff < 0 || h.MetaOff > 1<<61 || h.MetaOff%DataAlign != 0:
		return fail(64, "metadata offset", h.MetaOff, nil, ErrDamaged)
	case h.SlotLen <= 0 || h.SlotLen > 1<<60 || h.SlotLen%BlockLen != 0:
		return fail(72, "slot length", h.SlotLen, nil, ErrDamaged)
	case h.DataFiles != 1 && (h.DataFiles != count || h.Kind != Sidecar):
		return fail(84, "data files", h.DataFiles, nil, ErrDamaged)
	case h.ChecksumOff != n:
		return fail(88, "checksum array offset", h.ChecksumOff, n, ErrDamaged)
	case h.ChecksumCount > uint64(h.SlotLen/BlockLen):
		return fail(96, "checksum count", h.ChecksumCount, nil, ErrDamaged)
	case h.TableOff != h.ChecksumOff+ChecksumArrayLen(h.ChecksumCount):
		return fail(112, "namespace table offset", h.TableOff, h.ChecksumOff+ChecksumArrayLen(h.ChecksumCount), ErrDamaged)
	case h.TableOff+Bytes(h.ChecksumCount)*BlockLen != h.SlotLen:
		return fail(96, "checksum count", h.ChecksumCount, (h.SlotLen-h.TableOff)/BlockLen, ErrDamaged)
	case h.Session.Kind > Served:
		return fail(188, "session kind", uint32(h.Session.Kind), nil, ErrDamaged)
	case h.DataLen < 0 || h.Kind == Trailing && h.DataLen > h.MetaOff:
		return fail(120, "data length", h.DataLen, nil, ErrDamaged)
	}
	if h.Tool, ok = getString(b[192 : 192+ToolLen]); !ok {
		return fail(192, "tool", nil, nil, ErrDamaged)
	}
	if h.Label, ok = getString(b[224 : 224+LabelLen]); !ok {
		return fail(224, "label", nil, nil, ErrDamaged)
	}
	for _, r := range [][2]int{{108, 112}, {352, headerCRCOff}, {headerFixed + int(count)*countsLen, int(n)}} {
		if err := reserved(region, base, b, r[0], r[1]); err != nil {
			return nil, err
		}
	}
	h.Counts = make([]Counts, count)
	for i := range h.Counts {
		for j := range h.Counts[i] {
			h.Counts[i][j] = le.Uint64(b[headerFixed+i*countsLen+8*j:])
		}
	}
	return h, nil
}

// Encode returns h as it stands on disk, HeaderLen(len(h.Counts)) bytes.
func (h *Header) Encode() []byte {
	n := HeaderLen(len(h.Counts))
	b := make([]byte, n)
	copy(b, headerMagic)
	le.PutUint32(b[8:], Version)
	le.PutUint32(b[12:], h.Compat)
	le.PutUint32(b[16:], h.ROCompat)
	le.PutUint32(b[20:], h.Incompat)
	copy(b[24:], h.UUID[:])
	le.PutUint64(b[40:], h.Generation)
	le.PutUint32(b[48:], uint32(h.Kind))
	le.PutUint32(b[52:], uint32(h.Flags))
	le.PutUint32(b[56:], h.Slot)
	le.PutUint32(b[60:], uint32(len(h.Counts)))
	le.PutUint64(b[64:], uint64(h.MetaOff))
	le.PutUint64(b[72:], uint64(h.SlotLen))
	le.PutUint32(b[80:], uint32(n))
	le.PutUint32(b[84:], h.DataFiles)
	le.PutUint64(b[88:], uint64(h.ChecksumOff))
	le.PutUint64(b[96:], h.ChecksumCount)
	le.PutUint32(b[104:], h.ChecksumCRC)
	le.PutUint64(b[112:], uint64(h.TableOff))
	le.PutUint64(b[120:], uint64(h.DataLen))
	putTime(b[128:], h.Created)
	putTime(b[136:], h.Committed)
	copy(b[144:], h.Session.ID[:])
	putTime(b[160:], h.Session.Start)
	copy(b[168:], h.Session.BootID[:])
	le.PutUint32(b[184:], h.Session.PID)
	le.PutUint32(b[188:], uint32(h.Session.Kind))
	putString(b[192:192+ToolLen], h.Tool)
	putString(b[224:224+LabelLen], h.Label)
	for i := range h.Counts {
		for j, v := range h.Counts[i] {
			le.PutUint64(b[headerFixed+i*countsLen+8*j:], v)
		}
	}
	le.PutUint32(b[headerCRCOff:], checksumZeroed(b, headerCRCOff))
	return b
}

// Times are nanoseconds since 1970 (UTC); 0 means none.
func getTime(b []byte) time.Time {
	ns := int64(le.Uint64(b))
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}

func putTime(b []byte, t time.Time) {
	var ns int64
	if !t.IsZero() {
		ns = t.UnixNano()
	}
	le.PutUint64(b, uint64(ns))
}
