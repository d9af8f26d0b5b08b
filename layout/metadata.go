package layout

import (
	"fmt"
	"iter"
	"slices"
	"strings"
)

// NoLimit is the value of MAR and MOR that means that there is no limit.
const NoLimit uint32 = 0xFFFFFFFF

// CommandSet is an NVMe command set identifier (CSI).
type CommandSet uint8

// Command sets that a namespace of an image can have.
const (
	NVM CommandSet = 0 // plain, without zones
	ZNS CommandSet = 2 // zoned
)

func (c CommandSet) String() string {
	switch c {
	case NVM:
		return "nvm"
	case ZNS:
		return "zoned"
	}
	return "unknown"
}

// Namespace is the geometry of one namespace. Everything in it but the place
// of its data is fixed when the namespace is created.
type Namespace struct {
	ID  NSID
	CSI CommandSet

	BlockBits uint8  // log2 of the logical block size in bytes, 9 to 16
	MS        uint16 // metadata bytes per logical block, 0 for none
	ExtLBA    bool   // the host sees metadata as part of the block (QEMU's mset=1)
	PI        uint8  // end-to-end protection type, 0 to 3
	PIFirst   bool   // protection information in the first bytes of the metadata (QEMU's pil=1)
	PIFormat  uint8  // QEMU's pif: 0 = 16-bit guard, 2 = 64-bit guard

	Blocks LBA // size of the namespace; of a zoned one ZoneCount * ZoneSize

	// Zoned namespaces only.
	ZoneCount uint64
	ZoneSize  LBA
	ZoneCap   LBA    // capacity of a zone when it was created; a descriptor may say less
	MAR       uint32 // maximum active resources, 0's based, NoLimit for none
	MOR       uint32 // maximum open resources, 0's based, NoLimit for none
	ZDES      uint8  // size of a zone descriptor extension in 64-byte units, 0 for none
	CrossRead bool   // reads may cross zone boundaries (OZCS bit 0)
	ZRWAS     uint32 // size of a zone random write area in LBAs, 0 for none
	ZRWAFG    uint32 // its flush granularity in LBAs
	NumZRWA   uint32 // number of ZRWA resources

	EUI64 [8]byte
	NGUID [16]byte
	UUID  [16]byte

	// The place of the data: the file (an index into the image's data files),
	// the offset in it and the length of data and per-block metadata together.
	DataFile uint32
	DataOff  Bytes
	DataLen  Bytes
}

// Zoned reports whether n has zones.
func (n *Namespace) Zoned() bool { return n.CSI == ZNS }

// Distinguished is n with the identifiers of copy k of its image: a host refuses a namespace that has an identifier of
// another one. Each identifier that n has differs in its last byte; k = 0 changes none.
func (n *Namespace) Distinguished(k uint8) *Namespace {
	c := *n
	for _, id := range [][]byte{c.EUI64[:], c.NGUID[:], c.UUID[:]} {
		if slices.ContainsFunc(id, func(b byte) bool { return b != 0 }) {
			id[len(id)-1] += k
		}
	}
	return &c
}

// BlockSize is the logical block size in bytes.
func (n *Namespace) BlockSize() int64 { return 1 << n.BlockBits }

// ExtSize is the size in bytes of a zone descriptor extension, 0 for none.
func (n *Namespace) ExtSize() int { return int(n.ZDES) * 64 }

// ByteOff is the offset in bytes of block b from the namespace's start.
func (n *Namespace) ByteOff(b LBA) Bytes { return Bytes(b) << n.BlockBits }

// Size is the size in bytes of the namespace as the guest sees it, without
// per-block metadata.
func (n *Namespace) Size() Bytes { return n.ByteOff(n.Blocks) }

// MetadataOff is where, from DataOff, the per-block metadata begins (QEMU lays
// it out after the last block); it is MS bytes per block long.
func (n *Namespace) MetadataOff() Bytes { return n.ByteOff(n.Blocks) }

// MaxActive is the number of zones that may be active, 0 for no limit.
func (n *Namespace) MaxActive() uint64 { return limit(n.MAR) }

// CheckZoneNumber returns an error that wraps ErrRange if the namespace has no zone i.
func (n *Namespace) CheckZoneNumber(i uint64) error {
	if i < n.ZoneCount {
		return nil
	}
	if !n.Zoned() {
		return Errorf(ErrRange, "namespace %d has no zones", n.ID)
	}
	return Errorf(ErrRange, "namespace %d has zones 0 to %d; there is no zone %d", n.ID, n.ZoneCount-1, i)
}

// MaxOpen is the number of zones that may be open, 0 for no limit.
func (n *Namespace) MaxOpen() uint64 { return limit(n.MOR) }

// MaxZRWA is the number of zones that may have a random write area, 0 for no
// limit (or, with ZRWAS 0, for none at all). NUMZRWA 0 means as many as may be active,
// as in QEMU.
func (n *Namespace) MaxZRWA() uint64 {
	if n.NumZRWA > 0 {
		return uint64(n.NumZRWA)
	}
	return n.MaxActive()
}

func limit(zeroBased uint32) uint64 {
	if zeroBased == NoLimit {
		return 0
	}
	return uint64(zeroBased) + 1
}

// Limits are MOR and MAR of a namespace that may have so many zones open and
// active, 0 for any number. An open zone is active, so that no more can be open than
// active: a larger limit on open zones, or none, is brought down to that on active ones,
// as QEMU does.
func Limits(open, active uint32) (mor, mar uint32) {
	mor, mar = ZeroBased(open), ZeroBased(active)
	if mar != NoLimit && (mor == NoLimit || mor > mar) {
		mor = mar
	}
	return mor, mar
}

// ZeroBased turns a limit with 0 for none into MAR's and MOR's form.
func ZeroBased(limit uint32) uint32 { return limit - 1 }

// ListIDs lists the IDs of namespaces for an error: at most 16 of them.
func ListIDs(ids []NSID) string {
	const most = 16
	var text []string
	for _, id := range ids[:min(len(ids), most)] {
		text = append(text, fmt.Sprint(id))
	}
	if len(ids) > most {
		text = append(text, "...")
	}
	return strings.Join(text, ", ")
}

// Zones gives the zones of one namespace. A table of a million zones need not
// be in memory: implementations read as they go.
type Zones interface {
	// Zone returns zone i, from 0.
	Zone(i uint64) (Zone, error)
	// Extension returns the zone descriptor extension of zone i, ExtSize bytes,
	// to be read only; nil where the namespace has none.
	Extension(i uint64) ([]byte, error)
	// All yields count zones from first on, in order; it stops at the first error,
	// yielding it.
	All(first, count uint64) iter.Seq2[Zone, error]
}

// Metadata is what every format, ours or foreign, turns into: namespaces and
// their zones.
type Metadata struct {
	Label      string
	UUID       [16]byte
	Namespaces []*Namespace
	// Zones has for each namespace its zones; nil for a namespace without.
	Zones []Zones
}

// ZoneSlice is Zones held in memory, for formats that are small or must be
// read whole.
type ZoneSlice struct {
	Table []Zone
	Ext   map[uint64][]byte // extensions of the zones that have one
	Size  int               // bytes of an extension, 0 for none
}

// Zone returns zone i.
func (s *ZoneSlice) Zone(i uint64) (Zone, error) {
	if i >= uint64(len(s.Table)) {
		return Zone{}, &FieldError{Region: "zone table", Field: "zone number", Got: i, Want: len(s.Table) - 1, Err: ErrRange}
	}
	return s.Table[i], nil
}

// Extension returns the extension of zone i, all zero if it was never set.
func (s *ZoneSlice) Extension(i uint64) ([]byte, error) {
	if s.Size == 0 {
		return nil, nil
	}
	if e, ok := s.Ext[i]; ok {
		return e, nil
	}
	return make([]byte, s.Size), nil
}

// All yields count zones from first on.
func (s *ZoneSlice) All(first, count uint64) iter.Seq2[Zone, error] {
	return func(yield func(Zone, error) bool) {
		for i := first; i < first+count; i++ {
			z, err := s.Zone(i)
			if !yield(z, err) || err != nil {
				return
			}
		}
	}
}
