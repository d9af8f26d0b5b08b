package qemu

import (
	"encoding/json"
	"fmt"
	"path"
	"strconv"
	"strings"
)

// Registers of configuration space (PCI Local Bus 3.0, chapter 6; PCI-to-PCI Bridge 1.2, chapter 3).
const (
	pciVendor  = 0x00
	pciCommand = 0x04 // bit 1 memory space, bit 2 bus master
	pciBAR0    = 0x10
	pciBuses   = 0x18 // of a bridge: primary, secondary, subordinate bus
	pciWindow  = 0x20 // of a bridge: base and limit of the memory that it passes on, in MiB

	pciMemMaster  = 0x6
	pciBAR64Flags = 0x4
	nvmeIdentity  = 0x00101b36 // QEMU's controller; the property use-intel-id gives it Intel's
	nvmeIntel     = 0x58458086
)

// pciAddress is a place on a bus.
type pciAddress struct{ bus, slot, function int }

// configSpace is a way to reach configuration space.
type configSpace interface {
	read(t *QTest, at pciAddress, reg int) (uint32, error)
	write(t *QTest, at pciAddress, reg int, v uint32) error
}

// ports are configuration mechanism 1 (PCI Local Bus 3.0, section 3.2.2.3.2).
type ports struct{}

const (
	pciAddressPort = 0xcf8
	pciDataPort    = 0xcfc
)

func (ports) address(at pciAddress, reg int) uint32 {
	return 1<<31 | uint32(at.bus)<<16 | uint32(at.slot)<<11 | uint32(at.function)<<8 | uint32(reg)
}

func (p ports) read(t *QTest, at pciAddress, reg int) (uint32, error) {
	if err := t.OutL(pciAddressPort, p.address(at, reg)); err != nil {
		return 0, err
	}
	return t.InL(pciDataPort)
}

func (p ports) write(t *QTest, at pciAddress, reg int, v uint32) error {
	return t.post(fmt.Sprintf("outl %#x %#x", pciAddressPort, p.address(at, reg)), fmt.Sprintf("outl %#x %#x", pciDataPort, v))
}

// ecam is the address of an Enhanced Configuration Access Mechanism (PCI Express 4.0, section 7.2.2).
type ecam uint64

func (e ecam) address(at pciAddress, reg int) uint64 {
	return uint64(e) + uint64(at.bus)<<20 + uint64(at.slot)<<15 + uint64(at.function)<<12 + uint64(reg)
}

func (e ecam) read(t *QTest, at pciAddress, reg int) (uint32, error) {
	return t.ReadL(e.address(at, reg))
}

func (e ecam) write(t *QTest, at pciAddress, reg int, v uint32) error {
	return t.WriteL(e.address(at, reg), v)
}

// pciDevice is a device and the bridges that lead to it, the first of which is on a root bus.
type pciDevice struct {
	bridges []pciAddress
	at      pciAddress
}

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
				return pciDevice{at: pciAddress{d.Bus, d.Slot, d.Function}}, nil
			}
		}
	}
	return climb(q, "/machine/peripheral/"+id)
}

// climb finds a device behind bridges: those that no firmware has set up have no bus numbers, and query-pci does
// not look past them. The buses get the numbers 1, 2, ... here.
func climb(q *QMP, object string) (pciDevice, error) {
	var chain []pciAddress
	for {
		slot, err := devfn(q, object)
		if err != nil {
			break // not a PCI device: the host bridge
		}
		chain = append([]pciAddress{slot}, chain...)
		var bus string
		if err := q.Do("qom-get", map[string]any{"path": object, "property": "parent_bus"}, &bus); err != nil {
			return pciDevice{}, err
		}
		object = path.Dir(bus)
	}
	if len(chain) == 0 {
		return pciDevice{}, fmt.Errorf("QEMU has no PCI device %s", path.Base(object))
	}
	for i := range chain {
		chain[i].bus = i
	}
	last := len(chain) - 1
	return pciDevice{bridges: chain[:last], at: chain[last]}, nil
}

// devfn is the address of a device on its bus.
func devfn(q *QMP, object string) (pciAddress, error) {
	var value json.RawMessage
	if err := q.Do("qom-get", map[string]any{"path": object, "property": "addr"}, &value); err != nil {
		return pciAddress{}, err
	}
	text := strings.Trim(string(value), `"`)
	if slot, function, ok := strings.Cut(text, "."); ok {
		s, err1 := strconv.ParseUint(slot, 16, 8)
		f, err2 := strconv.ParseUint(function, 16, 8)
		if err1 == nil && err2 == nil {
			return pciAddress{0, int(s), int(f)}, nil
		}
	}
	n, err := strconv.ParseUint(text, 10, 8)
	if err != nil {
		return pciAddress{}, fmt.Errorf("the address of %s is %s", object, text)
	}
	return pciAddress{0, int(n >> 3), int(n & 7)}, nil
}

// enable maps the registers of d at the machine's window and lets it do DMA.
func (d pciDevice) enable(t *QTest, m *machine) error {
	window := uint32(m.window>>16) & 0xfff0
	for _, b := range d.bridges {
		for _, w := range []struct {
			reg int
			v   uint32
		}{
			{pciBuses, uint32(b.bus) | uint32(b.bus+1)<<8 | 0xff<<16},
			{pciWindow, window | window<<16},
			{pciCommand, pciMemMaster},
		} {
			if err := m.config.write(t, b, w.reg, w.v); err != nil {
				return err
			}
		}
	}
	id, err := m.config.read(t, d.at, pciVendor)
	if err != nil {
		return err
	}
	if id != nvmeIdentity && id != nvmeIntel {
		return fmt.Errorf("no NVMe controller at %02x:%02x.%d of machine %s: found %#08x", d.at.bus, d.at.slot, d.at.function, m.name, id)
	}
	if err := m.config.write(t, d.at, pciBAR0, uint32(m.window)|pciBAR64Flags); err != nil {
		return err
	}
	if err := m.config.write(t, d.at, pciBAR0+4, uint32(m.window>>32)); err != nil {
		return err
	}
	return m.config.write(t, d.at, pciCommand, pciMemMaster)
}

// disable takes the registers of d out of the address space.
func (d pciDevice) disable(t *QTest, m *machine) error {
	return m.config.write(t, d.at, pciCommand, 0)
}
