package layout

import "fmt"

// LocatorLen is the length of a locator: the last block of the metadata file.
const LocatorLen = BlockLen

const (
	locatorMagic  = "\x89ZIML\r\n\x1a"
	locatorCRCOff = LocatorLen - 4
)

// Locator is the last block of the file that holds the metadata area, written
// when the image is made and never by a commit.
//
//	  0           8        12       16                32          40
//	+-----------+--------+--------+-----------------+-----------+-----------+
//	| magic     | version| layout | UUID            | metadata  | slot      |
//	|           |        |        |                 | offset    | length    |
//	+-----------+--------+--------+-----------------+-----------+-----------+
//	 48                                                          4092
//	+-----------------------------------------------------------+-----------+
//	| reserved                                                  | CRC       |
//	+-----------------------------------------------------------+-----------+
//
// Slot 0 is at the metadata offset, slot 1 one slot length after it, and the locator
// after slot 1.
type Locator struct {
	Kind    Kind
	UUID    [16]byte
	MetaOff Bytes
	SlotLen Bytes
}

// FileLen is the length of the file that l ends.
func (l *Locator) FileLen() Bytes { return l.MetaOff + 2*l.SlotLen + LocatorLen }

// IsLocator reports whether b begins with a locator's magic.
func IsLocator(b []byte) bool { return len(b) >= 8 && string(b[:8]) == locatorMagic }

// DecodeLocator reads the locator in b, LocatorLen bytes; base is its file
// offset, which must be where the locator says that the file ends.
func DecodeLocator(b []byte, base Bytes) (*Locator, error) {
	const region = "locator"
	fail := func(off int, field string, got, want any, err error) (*Locator, error) {
		return nil, &FieldError{Region: region, Off: base + Bytes(off), Field: field, Got: got, Want: want, Err: err}
	}
	if len(b) < LocatorLen || !IsLocator(b) {
		return fail(0, "magic", "missing", nil, ErrNotImage)
	}
	b = b[:LocatorLen]
	if got, want := Checksum(b[:locatorCRCOff]), le.Uint32(b[locatorCRCOff:]); got != want {
		return fail(locatorCRCOff, "CRC", fmt.Sprintf("%#08x", want), fmt.Sprintf("%#08x", got), ErrDamaged)
	}
	if v := le.Uint32(b[8:]); v > Version {
		return fail(8, "version", v, Version, ErrNewer)
	} else if v == 0 {
		return fail(8, "version", v, Version, ErrDamaged)
	}
	l := &Locator{
		Kind:    Kind(le.Uint32(b[12:])),
		UUID:    [16]byte(b[16:32]),
		MetaOff: Bytes(le.Uint64(b[32:])),
		SlotLen: Bytes(le.Uint64(b[40:])),
	}
	switch {
	case l.Kind != Trailing && l.Kind != Sidecar:
		return fail(12, "layout", uint32(l.Kind), nil, ErrDamaged)
	case l.MetaOff < 0 || l.MetaOff > 1<<61 || l.MetaOff%DataAlign != 0 || l.Kind == Sidecar && l.MetaOff != 0:
		return fail(32, "metadata offset", l.MetaOff, nil, ErrDamaged)
	case l.SlotLen <= 0 || l.SlotLen%BlockLen != 0 || l.SlotLen > 1<<60:
		return fail(40, "slot length", l.SlotLen, nil, ErrDamaged)
	case l.FileLen() != base+LocatorLen:
		return fail(32, "end of the file", base+LocatorLen, l.FileLen(), ErrDamaged)
	}
	if err := reserved(region, base, b, 48, locatorCRCOff); err != nil {
		return nil, err
	}
	return l, nil
}

// Encode returns l as it stands on disk.
func (l *Locator) Encode() []byte {
	b := make([]byte, LocatorLen)
	copy(b, locatorMagic)
	le.PutUint32(b[8:], Version)
	le.PutUint32(b[12:], uint32(l.Kind))
	copy(b[16:], l.UUID[:])
	le.PutUint64(b[32:], uint64(l.MetaOff))
	le.PutUint64(b[40:], uint64(l.SlotLen))
	le.PutUint32(b[locatorCRCOff:], Checksum(b[:locatorCRCOff]))
	return b
}
