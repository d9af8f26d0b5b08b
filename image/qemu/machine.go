package qemu

import (
	"fmt"
	"strings"
)

// A machine is how a controller of QEMU's is reached from outside while no firmware has run: where PCI configuration
// space is, where there is room for the controller's registers, and where memory is. Memory is zimg's as long as no guest
// runs: what QEMU loads into it, it loads again at each reset.
type machine struct {
	name   string
	config configSpace
	window uint64 // below 4 GiB, free for the registers of devices: 1 MiB
	ram    uint64 // the beginning of memory, every machine has 16 MiB of it
}

// machines are those that are known, by the type of QEMU's target and the beginning of the machine's type: pc-i440fx-7.2,
// virt-9.0. The addresses are those of hw/i386/pc.c, hw/i386/microvm.c, hw/arm/virt.c and hw/riscv/virt.c.
var machines = []struct {
	arch, name string
	config     []configSpace // to be tried in turn
	window     uint64
	ram        uint64
}{
	{"x86_64 i386", "pc-", []configSpace{ports{}}, 0xfe000000, 0},
	{"x86_64 i386", "microvm", []configSpace{ecam(0xe0000000)}, 0xc0000000, 0},
	// Below 4 GiB if the machine has no high memory.
	{"aarch64 arm", "virt", []configSpace{ecam(0x4010000000), ecam(0x3f000000)}, 0x10000000, 0x40000000},
	{"riscv64 riscv32", "virt", []configSpace{ecam(0x30000000)}, 0x40000000, 0x80000000},
}

// shadows are the first and the last register of host bridges, by their identity, that map RAM over the firmware's ROM
// (PAM0 to PAM6: 82441FX, section 3.2.18; Q35, section 5.1.16).
var shadows = map[uint32][2]int{0x12378086: {0x59, 0x5f}, 0x29c08086: {0x90, 0x96}}

// unshadow maps the firmware's ROM again, as at power-on. QEMU's reset does not do that, and a firmware that was stopped
// while it made its copy in RAM would be started from half a copy.
func (m *machine) unshadow(t *QTest) error {
	id, err := m.config.read(t, pciAddress{}, pciVendor)
	if err != nil {
		return err
	}
	pam, ok := shadows[id]
	if !ok {
		return nil
	}
	for reg := pam[0] &^ 3; reg <= pam[1]; reg += 4 {
		v, err := m.config.read(t, pciAddress{}, reg)
		if err != nil {
			return err
		}
		for i := range 4 {
			if at := reg + i; at >= pam[0] && at <= pam[1] {
				v &^= 0xff << (8 * i)
			}
		}
		if err := m.config.write(t, pciAddress{}, reg, v); err != nil {
			return err
		}
	}
	return t.Flush()
}

// machine is the one that QEMU emulates, which is looked up once: a QEMU never changes its type.
func (s *session) machine() (*machine, error) {
	if s.found == nil {
		m, err := findMachine(s.qmp, s.qtest)
		if err != nil {
			return nil, err
		}
		s.found = m
	}
	return s.found, nil
}

// findMachine finds out which machine QEMU emulates.
func findMachine(q *QMP, t *QTest) (*machine, error) {
	var target struct{ Arch string }
	if err := q.Do("query-target", nil, &target); err != nil {
		return nil, err
	}
	var name string
	if err := q.Do("qom-get", map[string]any{"path": "/machine", "property": "type"}, &name); err != nil {
		return nil, err
	}
	name = strings.TrimSuffix(name, "-machine")
	for _, m := range machines {
		if !strings.Contains(" "+m.arch+" ", " "+target.Arch+" ") || !strings.HasPrefix(name, m.name) {
			continue
		}
		for _, config := range m.config {
			// The host bridge, or whatever is first on the bus, has an identity.
			id, err := config.read(t, pciAddress{}, pciVendor)
			if err != nil {
				return nil, err
			}
			if id != 0 && id != 0xffffffff {
				return &machine{name: name, config: config, window: m.window, ram: m.ram}, nil
			}
		}
		return nil, fmt.Errorf("machine %s of %s has no PCI bus", name, target.Arch)
	}
	return nil, fmt.Errorf("machine %s of %s is not supported; use pc, q35 or microvm (x86), or virt (aarch64, arm, riscv64)", name, target.Arch)
}
