package layout

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// LBA is a logical block address or a number of logical blocks within one
// namespace; its size in bytes is the namespace's block size.
type LBA uint64

// NSID is a namespace identifier, from 1.
type NSID uint32

// Bytes is a file offset or a length in bytes.
type Bytes int64

// NoWP is the write pointer of a zone that has none: Full, Read Only,
// Offline and conventional zones. QEMU reports the same value.
const NoWP LBA = math.MaxUint64

// ZoneType is the ZT field of a zone descriptor.
type ZoneType uint8

// Zone types. ZNS 1.1 knows only SeqWriteRequired; Conventional is carried for
// formats of the ZBC family, and Linux refuses it on NVMe.
const (
	Conventional     ZoneType = 0x1
	SeqWriteRequired ZoneType = 0x2
)

func (t ZoneType) String() string {
	switch t {
	case Conventional:
		return "CONVENTIONAL"
	case SeqWriteRequired:
		return "SEQ_WRITE_REQUIRED"
	}
	return fmt.Sprintf("RESERVED(%#x)", uint8(t))
}

// Key is the name of t in JSON.
func (t ZoneType) Key() string {
	switch t {
	case Conventional:
		return "conventional"
	case SeqWriteRequired:
		return "seq-write-required"
	}
	return fmt.Sprintf("reserved-%#x", uint8(t))
}

// ZoneState is the ZS field of a zone descriptor (ZNS 1.1, figure 37), without
// the shift by four.
type ZoneState uint8

// Zone states. NotWP is the ZBC condition of a conventional zone.
const (
	NotWP            ZoneState = 0x0
	Empty            ZoneState = 0x1
	ImplicitlyOpened ZoneState = 0x2
	ExplicitlyOpened ZoneState = 0x3
	Closed           ZoneState = 0x4
	ReadOnly         ZoneState = 0xD
	Full             ZoneState = 0xE
	Offline          ZoneState = 0xF
)

// ZoneStates lists every state, in the order in which counts of zones by state
// are stored and shown.
var ZoneStates = [...]ZoneState{Empty, ImplicitlyOpened, ExplicitlyOpened, Closed, Full, ReadOnly, Offline, NotWP}

func (s ZoneState) String() string {
	switch s {
	case NotWP:
		return "Not Write Pointer"
	case Empty:
		return "Empty"
	case ImplicitlyOpened:
		return "Implicitly Opened"
	case ExplicitlyOpened:
		return "Explicitly Opened"
	case Closed:
		return "Closed"
	case ReadOnly:
		return "Read Only"
	case Full:
		return "Full"
	case Offline:
		return "Offline"
	}
	return fmt.Sprintf("Reserved(%#x)", uint8(s))
}

// zoneStateKeys are the states' names in JSON and on the command line, in the order of ZoneStates.
var zoneStateKeys = [...]string{
	"empty", "implicitly-opened", "explicitly-opened", "closed", "full", "read-only", "offline", "not-wp",
}

// Key is the name of s in JSON and on the command line, such as implicitly-opened.
func (s ZoneState) Key() string {
	if i := s.Index(); i >= 0 {
		return zoneStateKeys[i]
	}
	return fmt.Sprintf("reserved-%#x", uint8(s))
}

// ParseZoneState is the state with this key; ok is false if there is none.
func ParseZoneState(key string) (s ZoneState, ok bool) {
	i := slices.Index(zoneStateKeys[:], key)
	if i < 0 {
		return 0, false
	}
	return ZoneStates[i], true
}

// ZoneStateKeys lists the keys of all states, in the order of ZoneStates.
func ZoneStateKeys() []string { return slices.Clone(zoneStateKeys[:]) }

// Index is the position of s in ZoneStates, or -1 for a reserved value.
func (s ZoneState) Index() int {
	for i, t := range ZoneStates {
		if s == t {
			return i
		}
	}
	return -1
}

// Valid reports whether s is a state of the specification (or NotWP).
func (s ZoneState) Valid() bool { return s.Index() >= 0 }

// Open reports whether a zone in state s holds an open resource.
func (s ZoneState) Open() bool { return s == ImplicitlyOpened || s == ExplicitlyOpened }

// Active reports whether a zone in state s holds an active resource.
func (s ZoneState) Active() bool { return s.Open() || s == Closed }

// HasWP reports whether the descriptor's write pointer is valid in state s.
func (s ZoneState) HasWP() bool { return s == Empty || s.Active() }

// ZoneAttrs is the ZA field of a zone descriptor.
type ZoneAttrs uint8

// Zone attributes (ZNS 1.1, figure 37; ZRWAV from 1.1a).
const (
	ZFC   ZoneAttrs = 1 << 0 // Zone Finished by Controller
	FZR   ZoneAttrs = 1 << 1 // Finish Zone Recommended
	RZR   ZoneAttrs = 1 << 2 // Reset Zone Recommended
	ZRWAV ZoneAttrs = 1 << 3 // Zone Random Write Area valid
	ZDEV  ZoneAttrs = 1 << 7 // Zone Descriptor Extension Valid

	zoneAttrsKnown = ZFC | FZR | RZR | ZRWAV | ZDEV
)

// zoneAttrNames are the attributes with the names that the specification gives them.
var zoneAttrNames = []struct {
	attr ZoneAttrs
	name string
}{{ZFC, "ZFC"}, {FZR, "FZR"}, {RZR, "RZR"}, {ZRWAV, "ZRWAV"}, {ZDEV, "ZDEV"}}

// Names lists the attributes in a by name; reserved bits are one number, such as 0x10.
func (a ZoneAttrs) Names() []string {
	names := []string{}
	for _, n := range zoneAttrNames {
		if a&n.attr != 0 {
			names = append(names, n.name)
		}
	}
	if r := a.Reserved(); r != 0 {
		names = append(names, fmt.Sprintf("%#x", uint8(r)))
	}
	return names
}

// ParseZoneAttr is the attribute with this name; ok is false if there is none.
func ParseZoneAttr(name string) (a ZoneAttrs, ok bool) {
	for _, n := range zoneAttrNames {
		if n.name == name {
			return n.attr, true
		}
	}
	return 0, false
}

// Reserved is the part of a that the specification reserves.
func (a ZoneAttrs) Reserved() ZoneAttrs { return a &^ zoneAttrsKnown }

// DescriptorSize is the size in bytes of a zone descriptor, on disk as in the
// Report Zones data structure.
const DescriptorSize = 64

// ZoneDescriptor is one zone as in Report Zones.
//
//	 0        1        2        3        4                 8
//	+--------+--------+--------+--------+-----------------+-----------------+
//	| ZT     | ZS << 4| ZA     | ZAI    | reserved        | ZCAP            |
//	+--------+--------+--------+--------+-----------------+-----------------+
//	 16                        24                         32            64
//	+--------------------------+--------------------------+----------------+
//	| ZSLBA                    | WP                       | reserved       |
//	+--------------------------+--------------------------+----------------+
type ZoneDescriptor struct {
	Type      ZoneType
	State     ZoneState
	Attrs     ZoneAttrs
	AttrsInfo uint8
	Cap       LBA // capacity, in LBAs
	Start     LBA // ZSLBA
	WP        LBA // NoWP where the state has none
}

// Zone is one zone of a namespace: its descriptor, and how far it has been
// written, which the descriptor does not show for a Full, Read Only or Offline
// zone.
type Zone struct {
	ZoneDescriptor
	// Written is the LBA after the last one written: equal to WP where the state has
	// a write pointer, Start + Cap for a conventional zone. In a zone with a random
	// write area (ZRWAV) it may be past WP; no zone at rest has one.
	Written LBA
}

// End is the LBA after the last one that can be written.
func (z ZoneDescriptor) End() LBA { return z.Start + z.Cap }

// DecodeZoneDescriptor reads the descriptor in the first DescriptorSize bytes of b. The only error is that b is
// shorter, which wraps ErrDamaged: reserved values decode, and DescriptorReserved finds them.
func DecodeZoneDescriptor(b []byte) (ZoneDescriptor, error) {
	if len(b) < DescriptorSize {
		return ZoneDescriptor{}, shortInput("zone descriptor", 0, len(b), DescriptorSize)
	}
	return ZoneDescriptor{
		Type:      ZoneType(b[0]),
		State:     ZoneState(b[1] >> 4),
		Attrs:     ZoneAttrs(b[2]),
		AttrsInfo: b[3],
		Cap:       LBA(binary.LittleEndian.Uint64(b[8:])),
		Start:     LBA(binary.LittleEndian.Uint64(b[16:])),
		WP:        LBA(binary.LittleEndian.Uint64(b[24:])),
	}, nil
}

// Encode writes z to the first DescriptorSize bytes of b, reserved bytes as zero. It panics if b is shorter.
func (z ZoneDescriptor) Encode(b []byte) {
	b = b[:DescriptorSize]
	clear(b)
	b[0] = uint8(z.Type)
	b[1] = uint8(z.State) << 4
	b[2] = uint8(z.Attrs)
	b[3] = z.AttrsInfo
	binary.LittleEndian.PutUint64(b[8:], uint64(z.Cap))
	binary.LittleEndian.PutUint64(b[16:], uint64(z.Start))
	binary.LittleEndian.PutUint64(b[24:], uint64(z.WP))
}

// DescriptorReserved returns the offset within descriptor b of the first byte with a reserved bit that is not zero,
// or -1. Of a descriptor that is too short it returns the length.
func DescriptorReserved(b []byte) int {
	if len(b) < DescriptorSize {
		return len(b)
	}
	switch {
	case b[0]&0xF0 != 0:
		return 0
	case b[1]&0x0F != 0:
		return 1
	case b[3]&0xF0 != 0:
		return 3
	}
	for i := 4; i < 8; i++ {
		if b[i] != 0 {
			return i
		}
	}
	for i := 32; i < DescriptorSize; i++ {
		if b[i] != 0 {
			return i
		}
	}
	return -1
}

// EmptyZone is zone i of namespace n as it leaves the factory.
func (n *Namespace) EmptyZone(i uint64) Zone {
	start := LBA(i) * n.ZoneSize
	return Zone{
		ZoneDescriptor: ZoneDescriptor{Type: SeqWriteRequired, State: Empty, Cap: n.ZoneCap, Start: start, WP: start},
		Written:        start,
	}
}
