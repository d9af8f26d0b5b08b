package live

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"sync/atomic"
	"unsafe"

	"zimg/layout"
)

// A record is 24 words of 8 bytes, little-endian:
//
//	word  0        1      2     3         4 to 7    8      9          10    11     12 to 23
//	     +--------+------+-----+---------+---------+------+----------+-----+------+------------------------+
//	     | CRC,   | state| WP  | Written | as 0    | reach| committed| cap | notes| 4 notes of 3 words:    |
//	     | number |      |     |         | to 3    |      |          |     |      | SLBA, host, peer+blocks|
//	     +--------+------+-----+---------+---------+------+----------+-----+------+------------------------+
//	      half 0                          half 1
//
// Word 0: the CRC in the lower half, the sequence number in the upper. State: bits 0 to 7 the state, 8 to 15 the
// attributes, 16 to 23 the attributes' information, 24 to 31 which copy of the extension counts (1 or 2, 0 none), 32
// to 39 the type. A half counts if its CRC is right; of two that count, the one with the next number. A record of
// zeroes is a zone that is Empty. Written may be less than reach: what is between them is not part of the zone.
const (
	recordLen     = 192
	recordWords   = recordLen / 8
	halfWords     = 4
	wordReach     = 8
	wordCommitted = 9
	wordCap       = 10
	wordNotes     = 11
	wordNote      = 12
	noteWords     = 3
	noteCount     = 4
)

var bigEndian = binary.NativeEndian.Uint16([]byte{0, 1}) == 1

func native(v uint64) uint64 {
	if bigEndian {
		return bits.ReverseBytes64(v)
	}
	return v
}

// record is a record in the mapping.
type record [recordWords]uint64

func recordAt(b []byte, zone uint64) *record {
	off := recordsOff + zone*recordLen
	// Aligned to 8: so are mappings, and both numbers are multiples of it.
	return (*record)(unsafe.Pointer(unsafe.SliceData(b[off : off+recordLen])))
}

func (r *record) load(word int) uint64 { return native(atomic.LoadUint64(&r[word])) }

func (r *record) store(word int, v uint64) { atomic.StoreUint64(&r[word], native(v)) }

// half is the half that counts (0 or 1) and its number; number 0: the record was never set.
func (r *record) half() (h int, number uint32) {
	a, b := uint32(r.load(0)>>32), uint32(r.load(halfWords)>>32)
	switch {
	case b != 0 && (a == 0 || int32(b-a) > 0):
		return 1, b
	default:
		return 0, a
	}
}

func (r *record) set() bool { _, n := r.half(); return n != 0 }

// start prepares a record that was never set for a zone that is committed up to Written.
func (r *record) start(z layout.Zone) {
	r.store(wordCap, uint64(z.Cap))
	r.store(wordReach, uint64(z.Written))
	r.store(wordCommitted, uint64(z.Written))
}

// put makes z the zone of the record. zone is its number in the file.
func (r *record) put(b *scratch, zone uint64, z layout.Zone, ext uint8) {
	h, number := r.half()
	if number == 0 {
		h = 1
	}
	if number++; number == 0 {
		number = 1
	}
	h = (1 - h) * halfWords
	state := uint64(z.State) | uint64(z.Attrs)<<8 | uint64(z.AttrsInfo)<<16 | uint64(ext)<<24 | uint64(z.Type)<<32
	r.store(h+1, state)
	r.store(h+2, uint64(z.WP))
	r.store(h+3, uint64(z.Written))
	r.store(h, uint64(number)<<32|uint64(sum(b, zone, number, state, uint64(z.WP), uint64(z.Written))))
}

// scratch is what a CRC is made of; one that is kept saves an allocation.
type scratch [36]byte

// sum is the CRC of a half.
func sum(b *scratch, zone uint64, number uint32, state, wp, written uint64) uint32 {
	le := binary.LittleEndian
	le.PutUint64(b[0:], zone)
	le.PutUint32(b[8:], number)
	le.PutUint64(b[12:], state)
	le.PutUint64(b[20:], wp)
	le.PutUint64(b[28:], written)
	return layout.Checksum(b[:])
}

// get fills what the record knows into z, which has the zone's start.
func (r *record) get(z *layout.Zone) (ext uint8) {
	h, _ := r.half()
	return r.getHalf(h, z)
}

func (r *record) getHalf(h int, z *layout.Zone) (ext uint8) {
	h *= halfWords
	state := r.load(h + 1)
	z.State, z.Attrs, z.AttrsInfo = layout.ZoneState(state), layout.ZoneAttrs(state>>8), uint8(state>>16)
	z.Type = layout.ZoneType(state >> 32)
	z.WP, z.Written = layout.LBA(r.load(h+2)), layout.LBA(r.load(h+3))
	z.Cap = layout.LBA(r.load(wordCap))
	return uint8(state >> 24)
}

// settle finds the half that counts by the checksums, as after a death, and makes the other one the older. It
// reports whether there is such a half.
func (r *record) settle(b *scratch, zone uint64) bool {
	h, number := r.half()
	if number == 0 {
		return r.blank()
	}
	if r.sound(b, zone, h) {
		return true
	}
	if !r.sound(b, zone, 1-h) {
		return false
	}
	r.store(h*halfWords, 0)
	return true
}

func (r *record) sound(b *scratch, zone uint64, h int) bool {
	h *= halfWords
	w := r.load(h)
	return w>>32 != 0 && uint32(w) == sum(b, zone, uint32(w>>32), r.load(h+1), r.load(h+2), r.load(h+3))
}

// blank reports whether nothing counts in the record: halves whose checksum was never stored may hold anything.
func (r *record) blank() bool { return r.load(0) == 0 && r.load(halfWords) == 0 }

// decode reads the record of zone i of n that another process left; number is the zone's in the file. It trusts
// nothing: its error wraps layout.ErrDamaged.
func decode(r *record, b *scratch, number uint64, n *layout.Namespace, i uint64) (z layout.Zone, ext uint8, err error) {
	z = n.EmptyZone(i)
	fail := func(field string, got any) (layout.Zone, uint8, error) {
		return z, 0, &layout.FieldError{
			Region: fmt.Sprintf("live record of namespace %d zone %d", n.ID, i),
			Off:    layout.Bytes(recordsOff + number*recordLen), Field: field, Got: got, Err: layout.ErrDamaged,
		}
	}
	reach := r.load(wordReach)
	if reach > uint64(z.Start+n.ZoneSize) {
		return fail("reach", reach)
	}
	if !r.settle(b, number) {
		return fail("checksum", fmt.Sprintf("%#x", r.load(0)))
	}
	if !r.set() {
		return z, 0, nil
	}
	ext = r.get(&z)
	if ext > 2 || ext > 0 && n.ZDES == 0 {
		return fail("extension", ext)
	}
	if err := layout.CheckZone(n, i, z); err != nil {
		return z, 0, fmt.Errorf("live record of namespace %d %w", n.ID, err)
	}
	return z, ext, nil
}
