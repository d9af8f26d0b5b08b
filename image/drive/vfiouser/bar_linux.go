package vfiouser

// BAR 0: the registers, the doorbells, the MSI-X table (QEMU keeps it: we never see it) and
// the pending bits.
const (
	barDoorbells = 0x1000
	barTable     = 0x2000
	barPBA       = 0x3000
	barLen       = 0x4000
)

// Registers that belong to the transport (NVMe Base 2.0, section 3.1.3), and the two that
// begin and end an epoch.
const (
	regINTMS = 0x0C
	regINTMC = 0x10
	regCC    = 0x14
	regAQA   = 0x24
	regASQ   = 0x28
	regACQ   = 0x30
)

const ccEnable = 1

// barRead fills b with what is at off. Registers are read in dwords; what is not a register is zero.
func (s *session) barRead(b []byte, off uint64) {
	if off >= barDoorbells {
		return
	}
	for i := 0; i < len(b); {
		at := uint32(off) + uint32(i)
		var word [4]byte
		le.PutUint32(word[:], s.register(at&^3))
		i += copy(b[i:], word[at&3:])
	}
}

// register is the dword at off.
func (s *session) register(off uint32) uint32 {
	if v, ok := s.queues.register(off); ok {
		return v
	}
	v, st := s.c.ReadRegister(off, 4)
	if !st.OK() {
		return 0
	}
	return uint32(v)
}

// barWrite writes registers and rings doorbells, in pieces of four bytes; others are ignored.
func (s *session) barWrite(b []byte, off uint64) {
	if off%4 != 0 || len(b)%4 != 0 {
		return
	}
	for i := 0; i+4 <= len(b); i += 4 {
		at, v := uint32(off)+uint32(i), le.Uint32(b[i:])
		switch {
		case at >= barTable:
		case at >= barDoorbells:
			s.queues.doorbell(at-barDoorbells, v)
		case at == regCC:
			s.control(v)
		case at == regINTMS || at == regINTMC: // for interrupts by pin and MSI, which there are not
		default:
			s.queues.setRegister(at, v)
		}
	}
}

// control writes CC: a rising EN begins an epoch, a falling one ends it.
func (s *session) control(v uint32) {
	was, _ := s.c.ReadRegister(regCC, 4)
	if was&ccEnable != 0 && v&ccEnable == 0 {
		s.endEpoch()
	}
	if !s.c.WriteRegister(regCC, 4, uint64(v)).OK() {
		return
	}
	if was&ccEnable == 0 && v&ccEnable != 0 {
		s.beginEpoch(v)
	}
}

// disable is the reset of the function: as if EN fell.
func (s *session) disable() {
	s.endEpoch()
	s.c.WriteRegister(regCC, 4, 0)
	s.queues.clearRegisters()
}
