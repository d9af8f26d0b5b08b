package drive

import (
	"encoding/binary"

	"zimg/layout"
)

var le = binary.LittleEndian

// Command is a submission queue entry, 64 bytes, little-endian (NVMe Base 2.0, section
// 3.3.3.1). A transport copies it out of shared memory once.
//
//	 0        1        2        4                 8
//	+--------+--------+--------+-----------------+-----------------+
//	| opcode | flags  | CID    | NSID            | CDW2 and CDW3   |
//	+--------+--------+--------+-----------------+-----------------+
//	 16                        24                40                64
//	+--------------------------+-----------------+-----------------+
//	| metadata pointer         | data pointer    | CDW10 to CDW15  |
//	+--------------------------+-----------------+-----------------+
type Command [64]byte

// Opcode is the opcode; its meaning depends on the queue.
func (c *Command) Opcode() uint8 { return c[0] }

// Flags has FUSE in bits 1:0 and PSDT in bits 7:6.
func (c *Command) Flags() uint8 { return c[1] }

// CID is the command identifier.
func (c *Command) CID() uint16 { return le.Uint16(c[2:]) }

// NSID is the namespace identifier.
func (c *Command) NSID() layout.NSID { return layout.NSID(le.Uint32(c[4:])) }

// DW is command dword n, from 0 to 15.
func (c *Command) DW(n int) uint32 { return le.Uint32(c[4*n:]) }

// SLBA is the first block of an I/O command: dwords 10 and 11.
func (c *Command) SLBA() layout.LBA { return layout.LBA(le.Uint64(c[40:])) }

// NLB is the number of blocks of an I/O command, from 1: bits 15:0 of dword 12, which count from 0.
func (c *Command) NLB() layout.LBA { return layout.LBA(le.Uint16(c[48:])) + 1 }

// Completion is what ends a command; the transport adds queue and command identifiers.
type Completion struct {
	Result uint64 // dwords 0 and 1
	Status Status
}

// Direction says which way the data of a command goes.
type Direction uint8

// Directions.
const (
	None           Direction = iota
	ToController             // host to controller: the buffers hold the host's bytes
	FromController           // controller to host: Execute fills the buffers
)

// Opcodes of admin commands that the controller executes.
const (
	opGetLog      = 0x02
	opIdentify    = 0x06
	opAbort       = 0x08
	opSetFeatures = 0x09
	opGetFeatures = 0x0A
	opAsyncEvent  = 0x0C
	opKeepAlive   = 0x18
)

// Opcodes of I/O commands.
const (
	opFlush       = 0x00
	opWrite       = 0x01
	opRead        = 0x02
	opCompare     = 0x05
	opWriteZeroes = 0x08
	opDSM         = 0x09
	opVerify      = 0x0C
	opCopy        = 0x19
	opZoneSend    = 0x79
	opZoneReceive = 0x7A
	opZoneAppend  = 0x7D
)

// allNamespaces is the NSID that stands for every namespace.
const allNamespaces layout.NSID = 0xFFFFFFFF
