package drive

import "zimg/layout"

// Controller or Namespace Structures: what an Identify asks for (NVMe Base 2.0, figure 274).
const (
	cnsNamespace        = 0x00
	cnsController       = 0x01
	cnsActive           = 0x02
	cnsDescriptors      = 0x03
	cnsSetNamespace     = 0x05
	cnsSetController    = 0x06
	cnsSetActive        = 0x07
	cnsIndependent      = 0x08
	cnsAllocated        = 0x10
	cnsAllocatedNS      = 0x11
	cnsAttached         = 0x12
	cnsControllers      = 0x13
	cnsSetAllocated     = 0x1A
	cnsSetAllocatedNS   = 0x1B
	cnsCommandSets      = 0x1C
	identifyLen         = 4096
	identifyListEntries = identifyLen / 4
)

// Bits of Identify Controller.
const (
	oaesNamespace    = 1 << 8  // Namespace Attribute Notices
	oaesZone         = 1 << 27 // Zone Descriptor Changed Notices
	ctrattHostID     = 1 << 0  // 128-bit host identifiers
	ctrattELBAS      = 1 << 15 // extended LBA formats: 64-bit guards
	cmicMany         = 1 << 1  // the subsystem may have several controllers
	lpaEffects       = 1 << 1
	lpaExtended      = 1 << 2 // log page offsets
	frmwOneReadOnly  = 1<<1 | 1<<0
	oncsCompare      = 1 << 0
	oncsDSM          = 1 << 2
	oncsWriteZeroes  = 1 << 3
	oncsSelect       = 1 << 4 // the select field of Get Features
	oncsTimestamp    = 1 << 6
	oncsVerify       = 1 << 7
	oncsCopy         = 1 << 8
	vwcBroadcast     = 3 << 1 // Flush with NSID FFFFFFFFh
	vwcPresent       = 1 << 0
	sglsSupported    = 1 << 0
	sglsOffset       = 1 << 20
	abortLimit       = 3 // 0's based
	asyncLimit       = 3 // 0's based
	errorLogEntries  = 64
	keepAliveUnit    = 10  // of 100 ms
	warningKelvin    = 343 // composite temperature thresholds, as QEMU has them
	criticalKelvin   = 373
	temperatureNow   = 313
	capsuleEntry     = 64 // bytes of a queue entry in a capsule
	capsuleUnit      = 16
	maxDescriptors   = 1 // SGL data block descriptors in a capsule
	controllerTypeIO = 1
)

// identify answers Identify into b, identifyLen bytes, which is all zero.
func (c *Controller) identify(cmd *Command, b []byte) Status {
	cns, csi := cmd.DW(10)&0xFF, layout.CommandSet(cmd.DW(11)>>24)
	id := cmd.NSID()
	switch cns {
	case cnsController:
		c.identifyController(b)
		return Success
	case cnsSetController:
		return c.identifySetController(csi, b)
	case cnsActive, cnsAllocated:
		return c.identifyList(id, nil, b)
	case cnsSetActive, cnsSetAllocated:
		return c.identifyList(id, &csi, b)
	case cnsControllers, cnsAttached:
		return c.identifyControllers(cns, id, uint16(cmd.DW(10)>>16), b)
	case cnsCommandSets:
		le.PutUint64(b, 1<<layout.NVM|1<<layout.ZNS)
		return Success
	case cnsNamespace, cnsAllocatedNS, cnsDescriptors, cnsSetNamespace, cnsSetAllocatedNS, cnsIndependent:
	default:
		return InvalidField.fatal()
	}
	if id == 0 || id > c.d.maxNSID() {
		return InvalidNamespace.fatal()
	}
	n := c.d.namespace(id)
	switch {
	case cns == cnsDescriptors && n == nil:
		return InvalidNamespace.fatal()
	case n == nil: // a valid identifier of no namespace: all zero
		return Success
	case cns == cnsDescriptors:
		n.identifyDescriptors(b)
	case cns == cnsIndependent:
		n.identifyIndependent(b)
	case cns == cnsSetNamespace || cns == cnsSetAllocatedNS:
		return n.identifySet(csi, b)
	default:
		c.identifyNamespace(n, b)
	}
	return Success
}

// maxNSID is the largest namespace identifier that is in use: NN.
func (d *Drive) maxNSID() layout.NSID { return d.ns[len(d.ns)-1].ID }

// padded copies s to b and fills the rest with spaces.
func padded(b []byte, s string) {
	for i := copy(b, s); i < len(b); i++ {
		b[i] = ' '
	}
}

// identifyController is CNS 01h (NVMe Base 2.0, figure 276).
func (c *Controller) identifyController(b []byte) {
	o := &c.d.o
	if !c.o.Fabrics {
		le.PutUint16(b[0:], o.VendorID)
		le.PutUint16(b[2:], o.VendorID)
	}
	padded(b[4:24], o.Serial)
	padded(b[24:64], o.Model)
	padded(b[64:72], o.Firmware)
	if c.o.Fabrics || o.Shared {
		b[76] = cmicMany
	}
	b[77] = o.MDTS
	le.PutUint16(b[78:], c.o.CNTLID)
	le.PutUint32(b[80:], c.version())
	le.PutUint32(b[92:], oaesNamespace|oaesZone)
	attributes := uint32(ctrattHostID)
	for _, n := range c.d.ns {
		if n.PIFormat != 0 {
			attributes |= ctrattELBAS
		}
	}
	le.PutUint32(b[96:], attributes)
	b[111] = controllerTypeIO
	le.PutUint16(b[256:], c.optionalAdmin())
	b[258], b[259], b[260] = abortLimit, asyncLimit, frmwOneReadOnly
	b[261] = lpaEffects | lpaExtended
	b[262] = errorLogEntries - 1
	le.PutUint16(b[266:], warningKelvin)
	le.PutUint16(b[268:], criticalKelvin)
	le.PutUint16(b[320:], keepAliveUnit)
	b[512], b[513] = 0x66, 0x44 // queue entries of 64 and 16 bytes
	if c.o.Fabrics {
		le.PutUint16(b[514:], c.o.QueueEntries)
	}
	le.PutUint32(b[516:], uint32(c.d.maxNSID()))
	le.PutUint16(b[520:], oncsCompare|oncsDSM|oncsWriteZeroes|oncsSelect|oncsTimestamp|oncsVerify|oncsCopy)
	b[525] = vwcBroadcast
	if !o.NoWriteCache {
		b[525] |= vwcPresent
	}
	le.PutUint16(b[534:], copyFormats)
	le.PutUint32(b[540:], uint32(len(c.d.ns)))
	copy(b[768:1024], o.NQN)
	if c.o.Fabrics {
		le.PutUint32(b[536:], sglsSupported|sglsOffset)
		le.PutUint32(b[1792:], uint32(capsuleEntry+c.o.IOCapsule)/capsuleUnit)
		le.PutUint32(b[1796:], 1)
		b[1803] = maxDescriptors
	}
}

// optionalAdmin is OACS: of the optional admin commands there is one at most, that of the
// transport for shadow doorbells.
func (c *Controller) optionalAdmin() uint16 {
	if c.o.DoorbellBuffer {
		return 1 << 8
	}
	return 0
}

// identifySetController is CNS 06h: limits that belong to a command set (NVM Command Set
// 1.0, figure 101; ZNS 1.1, figure 49).
func (c *Controller) identifySetController(csi layout.CommandSet, b []byte) Status {
	switch csi {
	case layout.NVM:
		b[0] = c.d.o.MDTS            // VSL: Verify reads what it checks
		b[3] = 0xFF                  // DMRL: ranges of a Dataset Management, as many as there can be
		le.PutUint32(b[4:], 1<<32-1) // DMRSL: blocks of one range
	case layout.ZNS:
		b[0] = c.d.o.ZASL
	default:
		return InvalidField.fatal()
	}
	return Success
}

// identifyList is the list of namespaces whose identifiers are greater than after: of all,
// or of one command set.
func (c *Controller) identifyList(after layout.NSID, csi *layout.CommandSet, b []byte) Status {
	if after >= allNamespaces-1 {
		return InvalidNamespace.fatal()
	}
	if csi != nil && *csi != layout.NVM && *csi != layout.ZNS {
		return InvalidField.fatal()
	}
	i := 0
	for _, n := range c.d.ns {
		if n.ID > after && (csi == nil || n.CSI == *csi) && i < identifyListEntries {
			le.PutUint32(b[4*i:], uint32(n.ID))
			i++
		}
	}
	return Success
}

// identifyControllers is the list of controllers with identifiers of at least first: of
// the subsystem, or of those attached to a namespace, which all are.
func (c *Controller) identifyControllers(cns uint32, id layout.NSID, first uint16, b []byte) Status {
	if cns == cnsAttached {
		if id == 0 || id > c.d.maxNSID() {
			return InvalidNamespace.fatal()
		}
		if c.d.namespace(id) == nil {
			return Success
		}
	}
	ids := c.d.controllerIDs(first)
	ids = ids[:min(len(ids), identifyLen/2-1)]
	le.PutUint16(b, uint16(len(ids)))
	for i, v := range ids {
		le.PutUint16(b[2+2*i:], v)
	}
	return Success
}
