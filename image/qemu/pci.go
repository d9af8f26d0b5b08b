package qemu

import "fmt"

// PCI configuration mechanism 1 (PCI Local Bus 3.0, section 3.2.2.3.2), which the
// machines pc and q35 have before any firmware has run.
const (
	pciAddressPort = 0xcf8
	pciDataPort    = 0xcfc

	pciCommand    = 0x04 // bit 1 memory space, bit 2 bus master
	pciBAR0       = 0x10
	pciMemMaster  = 0x6
	pciHole       = 0xfe000000 // free in the 32-bit hole of both machines
	pciBAR64Flags = 0x4
)

// pciDevice is a place on a bus.
type pciDevice struct{ bus, slot, function int }

// findPCI asks QEMU where the device called id is.
func findPCI(q *QMP, id string) (pciDevice, error) {
	type device struct {
		ID       string `json:"qdev_id"`
		Bus      int    `json:"bus"`
		Slot     int    `json:"slot"`
		Function int    `json:"function"`
	}
	var buses []struct{ Devices []device }
	if err := q.Do("query-pci", nil, &buses); err != nil {
		return pciDevice{}, err
	}
	for _, b := range buses {
		for _, d := range b.Devices {
			if d.ID == id {
				return pciDevice{d.Bus, d.Slot, d.Function}, nil
			}
		}
	}
	return pciDevice{}, fmt.Errorf("QEMU has no PCI device %s on a root bus", id)
}

func (d pciDevice) address(reg int) uint32 {
	return 1<<31 | uint32(d.bus)<<16 | uint32(d.slot)<<11 | uint32(d.function)<<8 | uint32(reg)
}

func (d pciDevice) write(t *QTest, reg int, v uint32) error {
	_, err := t.send(fmt.Sprintf("outl %#x %#x", pciAddressPort, d.address(reg)), fmt.Sprintf("outl %#x %#x", pciDataPort, v))
	return err
}

// enable maps the registers of d at addr and lets it do DMA.
func (d pciDevice) enable(t *QTest, addr uint64) error {
	if err := d.write(t, pciBAR0, uint32(addr)|pciBAR64Flags); err != nil {
		return err
	}
	if err := d.write(t, pciBAR0+4, uint32(addr>>32)); err != nil {
		return err
	}
	return d.write(t, pciCommand, pciMemMaster)
}

// disable takes the registers of d out of the address space.
func (d pciDevice) disable(t *QTest) error { return d.write(t, pciCommand, 0) }
