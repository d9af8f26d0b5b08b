package tcp

import (
	"fmt"

	"zimg/layout"
)

// PDU types (TCP Transport 1.0, section 3.6.2).
const (
	typeICReq       = 0x00
	typeICResp      = 0x01
	typeH2CTerm     = 0x02
	typeC2HTerm     = 0x03
	typeCapsuleCmd  = 0x04
	typeCapsuleResp = 0x05
	typeH2CData     = 0x06
	typeC2HData     = 0x07
	typeR2T         = 0x09
)

// Flags of the common header.
const (
	flagHDGST   = 1 << 0
	flagDDGST   = 1 << 1
	flagLast    = 1 << 2
	flagSuccess = 1 << 3
)

// Lengths of headers, in bytes, without digests.
const (
	commonLen  = 8
	icLen      = 128
	cmdLen     = 72
	headerLen  = 24 // of all other PDUs
	digestLen  = 4
	maxTermPDU = 128 + headerLen
)

// Fatal error status of a TermReq PDU.
const (
	fesHeader      = 1 // invalid PDU header field
	fesSequence    = 2 // PDU sequence error
	fesDigest      = 3 // header digest error
	fesRange       = 4 // data transfer out of range
	fesLimit       = 5 // data transfer limit exceeded
	fesUnsupported = 6 // unsupported parameter
)

// header is the common header of a PDU.
//
//	 0      1       2      3     4              8
//	+------+-------+------+-----+--------------+
//	| type | flags | HLEN | PDO | PLEN         |
//	+------+-------+------+-----+--------------+
type header struct {
	kind, flags, hlen, pdo uint8
	plen                   uint32
}

func decodeHeader(b []byte) header {
	return header{b[0], b[1], b[2], b[3], le.Uint32(b[4:])}
}

func (h header) encode(b []byte) {
	b[0], b[1], b[2], b[3] = h.kind, h.flags, h.hlen, h.pdo
	le.PutUint32(b[4:], h.plen)
}

// protocolError is a PDU after which the stream means nothing any more: the connection
// ends with a C2HTermReq PDU.
type protocolError struct {
	fes    uint16
	info   uint32 // of fesHeader and fesUnsupported the offset of the field, of fesDigest the digest
	header []byte // of the PDU
	why    string
}

func (e *protocolError) Error() string { return fmt.Sprintf("%s (FES %d)", e.why, e.fes) }

func badField(offset uint32, format string, args ...any) *protocolError {
	return &protocolError{fes: fesHeader, info: offset, why: fmt.Sprintf(format, args...)}
}

// encodeTerm is the C2HTermReq PDU for e.
func encodeTerm(e *protocolError) []byte {
	data := e.header[:min(len(e.header), maxTermPDU-headerLen)]
	b := make([]byte, headerLen, headerLen+len(data))
	header{kind: typeC2HTerm, hlen: headerLen, plen: uint32(headerLen + len(data))}.encode(b)
	le.PutUint16(b[8:], e.fes)
	le.PutUint32(b[10:], e.info)
	return append(b, data...)
}

// digests says which digests the two sides have agreed on.
type digests struct{ header, data bool }

func (d digests) headerLen() int {
	if d.header {
		return digestLen
	}
	return 0
}

func (d digests) dataLen(n int) int {
	if d.data && n > 0 {
		return digestLen
	}
	return 0
}

// flags are the digest flags of a PDU with n bytes of data.
func (d digests) flags(n int) uint8 {
	f := uint8(0)
	if d.header {
		f |= flagHDGST
	}
	if d.data && n > 0 {
		f |= flagDDGST
	}
	return f
}

// sum appends the CRC-32C of p to b.
func sum(b, p []byte) []byte { return le.AppendUint32(b, layout.Checksum(p)) }

// icReq is what a host asks for when it connects.
type icReq struct {
	digests digests
	align   int // of data in PDUs to the host, in bytes
}

// decodeICReq checks the 128 bytes of b.
func decodeICReq(b []byte) (icReq, *protocolError) {
	h := decodeHeader(b)
	switch {
	case h.hlen != icLen:
		return icReq{}, badField(2, "ICReq with HLEN %d", h.hlen)
	case h.plen != icLen:
		return icReq{}, badField(4, "ICReq with PLEN %d", h.plen)
	}
	if v := le.Uint16(b[8:]); v != 0 {
		return icReq{}, &protocolError{fes: fesUnsupported, info: 8, why: fmt.Sprintf("PDU format version %d", v)}
	}
	if b[10] > 31 {
		return icReq{}, badField(10, "HPDA %d", b[10])
	}
	if b[11]&^3 != 0 {
		return icReq{}, badField(11, "digests %#x", b[11])
	}
	return icReq{digests{b[11]&1 != 0, b[11]&2 != 0}, (int(b[10]) + 1) * 4}, nil
}

func encodeICResp(d digests) []byte {
	b := make([]byte, icLen)
	header{kind: typeICResp, hlen: icLen, plen: icLen}.encode(b)
	if d.header {
		b[11] |= 1
	}
	if d.data {
		b[11] |= 2
	}
	le.PutUint32(b[12:], maxH2CData)
	return b
}
