package vfiouser

// configLen is the length of the configuration space: no PCI Express capability is needed.
const configLen = 256

// Places in the configuration space (PCI Local Bus 3.0, section 6.1), and in the MSI-X
// capability (section 6.8.2).
const (
	pciVendor     = 0x00
	pciDevice     = 0x02
	pciCommand    = 0x04
	pciStatus     = 0x06
	pciRevision   = 0x08
	pciClass      = 0x09
	pciCacheLine  = 0x0C
	pciBAR0       = 0x10
	pciSubVendor  = 0x2C
	pciSubDevice  = 0x2E
	pciCapability = 0x34
	pciIRQLine    = 0x3C
	msixCap       = 0x40
	msixControl   = msixCap + 2
	msixTable     = msixCap + 4
	msixPBA       = msixCap + 8
)

// nvmeDevice is the device number. QEMU's own (1B36h:0010h) makes Linux ignore the namespace's UUID.
const nvmeDevice = 0x0010

// configSpace is the configuration space. Only the message goroutine uses it. QEMU keeps BAR
// addresses and the MSI-X table itself.
type configSpace struct {
	b [configLen]byte
}

func newConfigSpace(vendor uint16, vectors int) configSpace {
	var c configSpace
	le.PutUint16(c.b[pciVendor:], vendor)
	le.PutUint16(c.b[pciDevice:], nvmeDevice)
	le.PutUint16(c.b[pciStatus:], 1<<4) // there is a capability list
	c.b[pciRevision] = 2
	copy(c.b[pciClass:], []byte{0x02, 0x08, 0x01}) // NVM Express, non-volatile memory, mass storage
	le.PutUint32(c.b[pciBAR0:], 4)                 // memory, 64 bits
	le.PutUint16(c.b[pciSubVendor:], vendor)
	le.PutUint16(c.b[pciSubDevice:], nvmeDevice)
	c.b[pciCapability] = msixCap
	c.b[msixCap] = 0x11
	le.PutUint16(c.b[msixControl:], uint16(vectors-1))
	le.PutUint32(c.b[msixTable:], barTable) // in BAR 0, as are the pending bits
	le.PutUint32(c.b[msixPBA:], barPBA)
	return c
}

// writable has the bits that a write changes: of the command register, the cache line size
// and latency timer, the interrupt line, and enable and mask of MSI-X.
func writable(off int) byte {
	switch off {
	case pciCommand, pciCacheLine, pciCacheLine + 1, pciIRQLine:
		return 0xFF
	case pciCommand + 1:
		return 0x07
	case msixControl + 1:
		return 0xC0
	}
	return 0
}

// reset is what a reset of the function changes.
func (c *configSpace) reset() {
	for i := range c.b {
		c.b[i] &^= writable(i)
	}
}

func (c *configSpace) read(b []byte, off uint64) bool {
	if off > configLen || uint64(len(b)) > configLen-off {
		return false
	}
	copy(b, c.b[off:])
	return true
}

func (c *configSpace) write(b []byte, off uint64) bool {
	if off > configLen || uint64(len(b)) > configLen-off {
		return false
	}
	for i, v := range b {
		at := int(off) + i
		mask := writable(at)
		c.b[at] = c.b[at]&^mask | v&mask
	}
	return true
}
