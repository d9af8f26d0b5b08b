// Package pi is the end-to-end protection information of NVMe: what each logical
// block has in its metadata so that damage to it, or a block in the wrong place, is
// noticed (NVM Command Set specification 1.0, section 5.2).
//
//	16-bit guard (PIF 0)                  64-bit guard (PIF 2)
//	 0       2       4              8      0               8      10             16
//	+-------+-------+--------------+      +---------------+------+---------------+
//	| guard | app   | reference    |      | guard         | app  | reference     |
//	+-------+-------+--------------+      +---------------+------+---------------+
//
// All are big-endian. The guard covers the block, and the metadata before the protection
// information where that is in the last bytes. What is in a data file is what a drive
// stores: blocks in one place, their metadata in another, whatever the host sees.
package pi

import (
	"encoding/binary"
	"fmt"

	"zimg/layout"
)

var (
	be = binary.BigEndian
	le = binary.LittleEndian
)

// Check says what is verified: the PRCHK field of a command. PRINFO is it and Action.
type Check uint8

// Bits of the PRINFO field of a read or write command.
const (
	CheckRef   Check = 1 << 0 // reference tag
	CheckApp   Check = 1 << 1 // application tag
	CheckGuard Check = 1 << 2
	Action     Check = 1 << 3 // PRACT: the controller inserts or strips it
)

// String is the name of the field that one bit of c checks.
func (c Check) String() string {
	switch c {
	case CheckRef:
		return "reference tag"
	case CheckApp:
		return "application tag"
	case CheckGuard:
		return "guard"
	case Action:
		return "action"
	}
	return fmt.Sprintf("PRINFO %#x", uint8(c))
}

// Format is where and how a namespace has protection information.
type Format struct {
	Type  uint8 // 1 to 3; 0 for none
	Wide  bool  // 64-bit guards
	Block int   // bytes of a block
	Meta  int   // bytes of metadata of a block
	Off   int   // of the protection information in the metadata
}

// Of is the format of namespace n.
func Of(n *layout.Namespace) Format {
	f := Format{Type: n.PI, Wide: n.PIFormat == 2, Block: int(n.BlockSize()), Meta: int(n.MS)}
	if n.PI != 0 && !n.PIFirst {
		f.Off = f.Meta - f.Size()
	}
	return f
}

// Enabled reports whether there is any.
func (f Format) Enabled() bool { return f.Type != 0 }

// Size is the length in bytes of the protection information of a block.
func (f Format) Size() int {
	if f.Wide {
		return 16
	}
	return 8
}

// RefMask has the bits of a reference tag.
func (f Format) RefMask() uint64 {
	if f.Wide {
		return 1<<48 - 1
	}
	return 1<<32 - 1
}

// Tags are what a command says of its blocks. Of types 1 and 2 Ref is that of the
// first block and counts up by one per block; of type 3 all blocks have the same.
type Tags struct {
	Ref  uint64
	App  uint16
	Mask uint16 // which bits of App are compared; 0 for none
}

// TagsAt are the tags that a host's driver gives blocks from lba on: the
// reference tag is the LBA (of type 3, which has none, zero).
func (f Format) TagsAt(lba layout.LBA) Tags {
	if f.Type == 3 {
		return Tags{}
	}
	return Tags{Ref: uint64(lba) & f.RefMask()}
}

// ValidRef reports whether a command at lba may ask for the check of reference
// tag ref: type 1 fixes it to the LBA, and type 3 allows no such check. Otherwise the
// command ends with Invalid Protection Information.
func (f Format) ValidRef(check Check, lba layout.LBA, ref uint64) bool {
	if check&CheckRef == 0 {
		return true
	}
	return f.Type == 2 || f.Type == 1 && ref&f.RefMask() == uint64(lba)&f.RefMask()
}

// tuple is the protection information of one block.
type tuple struct {
	guard uint64
	app   uint16
	ref   uint64
}

func (f Format) decode(b []byte) tuple {
	if f.Wide {
		return tuple{guard: be.Uint64(b), app: be.Uint16(b[8:]), ref: be.Uint64(b[8:]) & f.RefMask()}
	}
	return tuple{guard: uint64(be.Uint16(b)), app: be.Uint16(b[2:]), ref: uint64(be.Uint32(b[4:]))}
}

func (f Format) encode(b []byte, t tuple) {
	if f.Wide {
		be.PutUint64(b, t.guard)
		be.PutUint64(b[8:], uint64(t.app)<<48|t.ref&f.RefMask())
		return
	}
	be.PutUint16(b, uint16(t.guard))
	be.PutUint16(b[2:], t.app)
	be.PutUint32(b[4:], uint32(t.ref))
}

// guard is the checksum of one block and the metadata before its protection information.
func (f Format) guard(block, meta []byte) uint64 {
	if f.Wide {
		return crc64(crc64(0, block), meta[:f.Off])
	}
	return uint64(crc16(crc16(0, block), meta[:f.Off]))
}

// each calls fn for every block of data, which has Block bytes per block, with its
// metadata, Meta bytes in meta, and the tags that it should have.
func (f Format) each(data, meta []byte, tags Tags, fn func(i int, block, meta []byte, tags Tags) error) error {
	n := len(data) / f.Block
	if len(data)%f.Block != 0 || len(meta) != n*f.Meta {
		return fmt.Errorf("%d bytes of data and %d of metadata are not whole blocks of %d and %d bytes",
			len(data), len(meta), f.Block, f.Meta)
	}
	for i := range n {
		tags.Ref &= f.RefMask()
		if err := fn(i, data[i*f.Block:(i+1)*f.Block], meta[i*f.Meta:(i+1)*f.Meta], tags); err != nil {
			return err
		}
		if f.Type != 3 {
			tags.Ref++
		}
	}
	return nil
}

// Generate puts the protection information of the blocks in data into meta,
// where the other bytes stay. It fails if the two are not of the same number of blocks.
func (f Format) Generate(data, meta []byte, tags Tags) error {
	return f.each(data, meta, tags, func(_ int, block, meta []byte, tags Tags) error {
		f.encode(meta[f.Off:], tuple{f.guard(block, meta), tags.App, tags.Ref})
		return nil
	})
}

// Verify checks the blocks in data, whose metadata is meta, and returns an
// *Error about the first that is wrong. A block whose application tag is FFFFh (and,
// with type 3, whose reference tag is all ones) is not checked: so blocks are marked that
// were never written.
func (f Format) Verify(data, meta []byte, tags Tags, check Check) error {
	return f.each(data, meta, tags, func(i int, block, meta []byte, tags Tags) error {
		t := f.decode(meta[f.Off:])
		if t.app == 0xFFFF && (f.Type != 3 || t.ref == f.RefMask()) {
			return nil
		}
		if want := f.guard(block, meta); check&CheckGuard != 0 && t.guard != want {
			return &Error{Field: CheckGuard, Block: i, Got: t.guard, Want: want}
		}
		if check&CheckApp != 0 && (t.app^tags.App)&tags.Mask != 0 {
			return &Error{Field: CheckApp, Block: i, Got: uint64(t.app & tags.Mask), Want: uint64(tags.App & tags.Mask)}
		}
		if check&CheckRef != 0 && t.ref != tags.Ref {
			return &Error{Field: CheckRef, Block: i, Got: t.ref, Want: tags.Ref}
		}
		return nil
	})
}

// MarkUnwritten makes the protection information of every block in meta such that
// none is checked: what a drive returns for blocks that were never written.
func (f Format) MarkUnwritten(meta []byte) {
	for ; len(meta) >= f.Meta && f.Meta > 0; meta = meta[f.Meta:] {
		tuple := meta[f.Off : f.Off+f.Size()]
		for i := range tuple {
			tuple[i] = 0xFF
		}
	}
}

// Error says which block has wrong protection information. A command ends with
// End-to-end Guard, Application Tag or Reference Tag Check Error (282h, 283h, 284h).
type Error struct {
	Field     Check // CheckGuard, CheckApp or CheckRef
	Block     int   // counted from the first one that was verified
	Got, Want uint64
}

func (e *Error) Error() string {
	return fmt.Sprintf("%v of block %d is %#x, want %#x", e.Field, e.Block, e.Got, e.Want)
}
