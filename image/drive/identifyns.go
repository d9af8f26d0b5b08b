package drive

import "zimg/layout"

// Bits and values of the structures that describe a namespace.
const (
	flbasExtended   = 1 << 4
	mcExtended      = 1 << 0
	mcSeparate      = 1 << 1
	dlfeatZeroes    = 1 << 0 // deallocated blocks read as zeroes
	dlfeatWZ        = 1 << 3 // Write Zeroes can deallocate
	dpsFirst        = 1 << 3
	nmicShared      = 1 << 0
	readyNamespace  = 1 << 0
	ozcsReadAcross  = 1 << 0
	ozcsZRWA        = 1 << 1
	zrwaExplicit    = 1 << 0 // ZRWACAP: explicit flushes
	maxCopyLength   = 128    // MSSRL and MCL, blocks: those of QEMU's drive
	maxCopyRanges   = 127    // MSRC, 0's based
	copyFormats     = 1<<0 | 1<<1
	formatExtension = 2816 // of the LBA format extensions in the ZNS structure
)

// Types of namespace identification descriptors.
const (
	nidEUI64 = 1
	nidNGUID = 2
	nidUUID  = 3
	nidCSI   = 4
)

// extended reports whether the host of c sees the metadata of n as a part of each block.
// Fabrics have no other way.
func (c *Controller) extended(n *namespace) bool { return n.MS > 0 && (n.ExtLBA || c.o.Fabrics) }

// identifyNamespace is CNS 00h (NVM Command Set 1.0, figure 97). There is one LBA format.
func (c *Controller) identifyNamespace(n *namespace, b []byte) {
	for off := 0; off < 24; off += 8 { // NSZE, NCAP, NUSE
		le.PutUint64(b[off:], uint64(n.Blocks))
	}
	if n.MS > 0 {
		b[27] = mcExtended | mcSeparate
		if c.o.Fabrics {
			b[27] = mcExtended
		}
	}
	if c.extended(n) {
		b[26] = flbasExtended
	}
	if n.PI > 0 {
		b[28] = 1<<(n.PI-1) | 1<<4 // DPC: this type, at the end of the metadata
		b[29] = n.PI
		if n.PIFirst {
			b[28] = 1<<(n.PI-1) | 1<<3
			b[29] |= dpsFirst
		}
	}
	if c.d.o.Shared {
		b[30] = nmicShared
	}
	b[33] = dlfeatZeroes | dlfeatWZ
	le.PutUint64(b[48:], uint64(n.Size()))
	le.PutUint16(b[74:], uint16(n.copyLimit()))
	le.PutUint32(b[76:], uint32(n.copyLimit()))
	b[80] = maxCopyRanges
	copy(b[104:], n.NGUID[:])
	copy(b[120:], n.EUI64[:])
	le.PutUint16(b[128:], n.MS)
	b[130] = n.BlockBits
}

// identifyDescriptors is CNS 03h: the namespace's names and its command set.
func (n *namespace) identifyDescriptors(b []byte) {
	add := func(kind uint8, id []byte) {
		b[0], b[1] = kind, uint8(len(id))
		copy(b[4:], id)
		b = b[4+len(id):]
	}
	if n.EUI64 != [8]byte{} {
		add(nidEUI64, n.EUI64[:])
	}
	if n.NGUID != [16]byte{} {
		add(nidNGUID, n.NGUID[:])
	}
	add(nidUUID, n.UUID[:])
	add(nidCSI, []byte{uint8(n.CSI)})
}

// identifyIndependent is CNS 08h: what is the same for all command sets.
func (n *namespace) identifyIndependent(b []byte) {
	if n.d.o.Shared {
		b[1] = nmicShared
	}
	b[14] = readyNamespace
}

// identifySet is CNS 05h: what belongs to a command set. Zoned namespaces have the
// structure of the NVM command set as well.
func (n *namespace) identifySet(csi layout.CommandSet, b []byte) Status {
	switch {
	case csi == layout.NVM: // the extended LBA format: NVM Command Set 1.0, figure 100
		le.PutUint32(b[12:], uint32(n.PIFormat)<<7)
	case csi == layout.ZNS && n.Zoned():
		n.identifyZoned(b)
	default:
		return InvalidField.fatal()
	}
	return Success
}

// identifyZoned is the structure of the Zoned Namespace Command Set (ZNS 1.1, figure 47).
func (n *namespace) identifyZoned(b []byte) {
	if n.CrossRead {
		b[2] = ozcsReadAcross
	}
	le.PutUint32(b[4:], n.MAR)
	le.PutUint32(b[8:], n.MOR)
	if n.ZRWAS > 0 {
		b[2] |= ozcsZRWA
		le.PutUint32(b[44:], n.NumZRWA)
		le.PutUint16(b[48:], uint16(n.ZRWAFG))
		le.PutUint16(b[50:], uint16(n.ZRWAS))
		b[52] = zrwaExplicit
	}
	le.PutUint64(b[formatExtension:], uint64(n.ZoneSize))
	b[formatExtension+8] = n.ZDES
}
