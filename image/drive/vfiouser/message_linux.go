package vfiouser

import (
	"bytes"

	"golang.org/x/sys/unix"
)

// Regions and interrupts, numbered as in VFIO: BARs 0 to 5, the ROM, the configuration
// space, VGA; INTx, MSI, MSI-X, error, request.
const (
	regionBAR0   = 0
	regionROM    = 6
	regionConfig = 7
	regionCount  = 9
	irqMSIX      = 2
	irqCount     = 5
)

// Flags of the answers.
const (
	deviceReset     = 1 << 0
	devicePCI       = 1 << 1
	regionReadWrite = 3
	irqEventFD      = 1 << 0
)

// Flags of SET_IRQS.
const (
	irqDataNone    = 1 << 0
	irqDataEventFD = 1 << 2
	irqTrigger     = 1 << 5
)

// capabilities are ours, in the answer to VERSION.
const capabilities = `{"capabilities":{"max_msg_fds":16,"max_data_xfer_size":1048576,"pgsizes":4096}}` + "\x00"

// handle answers one request. Only a broken connection is an error.
func (s *session) handle(m *message) error {
	p := m.payload
	short := func(n int) bool { return len(p) < n }
	switch m.command {
	case cmdVersion:
		return s.version(m)
	case cmdDMAMap:
		if short(32) {
			break
		}
		return s.dmaMap(m)
	case cmdDMAUnmap:
		if short(24) {
			break
		}
		addr, size := le.Uint64(p[8:]), le.Uint64(p[16:])
		if !s.mem.remove(addr, size) {
			return s.conn.refuse(m, unix.ENOENT)
		}
		return s.conn.answer(m, p[:24])
	case cmdGetInfo:
		if short(4) {
			break
		}
		return s.conn.answer(m, u32s(16, deviceReset|devicePCI, regionCount, irqCount))
	case cmdRegionInfo:
		if short(12) {
			break
		}
		return s.regionInfo(m)
	case cmdIRQInfo:
		if short(12) || le.Uint32(p[8:]) != irqMSIX {
			break // an error for the others: a count of 0 makes QEMU complain
		}
		return s.conn.answer(m, u32s(16, irqEventFD, irqMSIX, uint32(s.vectors())))
	case cmdSetIRQs:
		if short(20) {
			break
		}
		return s.setIRQs(m)
	case cmdRegionRead:
		if short(16) {
			break
		}
		return s.regionRead(m)
	case cmdRegionWrite:
		if short(16) {
			break
		}
		return s.regionWrite(m)
	case cmdReset:
		s.config.reset()
		s.disable()
		return s.conn.answer(m)
	default:
		return s.conn.refuse(m, unix.ENOTSUP)
	}
	return s.conn.refuse(m, unix.EINVAL)
}

func u32s(values ...uint32) []byte {
	var b []byte
	for _, v := range values {
		b = le.AppendUint32(b, v)
	}
	return b
}

// version answers the first message. Major 0 is the only one; the answer's minor is not
// above the client's.
func (s *session) version(m *message) error {
	if len(m.payload) < 4 || le.Uint16(m.payload) != 0 {
		return s.conn.refuse(m, unix.EINVAL)
	}
	if !bytes.Contains(m.payload[4:], []byte("{")) && len(m.payload) > 5 {
		return s.conn.refuse(m, unix.EINVAL)
	}
	return s.conn.answer(m, []byte{0, 0, 0, 0}, []byte(capabilities))
}

// dmaMap adds a range of guest memory.
func (s *session) dmaMap(m *message) error {
	p := m.payload
	flags, off, addr, size := le.Uint32(p[4:]), le.Uint64(p[8:]), le.Uint64(p[16:]), le.Uint64(p[24:])
	if err := s.mem.add(m.takeFD(), off, addr, size, flags&1 != 0, flags&2 != 0); err != nil {
		return s.conn.refuse(m, unix.EINVAL)
	}
	return s.conn.answer(m)
}

func (s *session) regionInfo(m *message) error {
	index := le.Uint32(m.payload[8:])
	size, flags := uint64(0), uint32(0)
	switch {
	case index >= regionCount:
		return s.conn.refuse(m, unix.EINVAL)
	case index == regionBAR0:
		size, flags = barLen, regionReadWrite
	case index == regionConfig:
		size, flags = configLen, regionReadWrite
	}
	b := u32s(32, flags, index, 0)
	b = le.AppendUint64(b, size)
	return s.conn.answer(m, le.AppendUint64(b, 0))
}

// setIRQs assigns or removes the eventfds of vectors.
func (s *session) setIRQs(m *message) error {
	p := m.payload
	flags, index, start, count := le.Uint32(p[4:]), le.Uint32(p[8:]), le.Uint32(p[12:]), le.Uint32(p[16:])
	if index != irqMSIX || flags&irqTrigger == 0 {
		return s.conn.refuse(m, unix.EINVAL)
	}
	vectors := uint32(s.vectors())
	if start > vectors || count > vectors-start {
		return s.conn.refuse(m, unix.EINVAL)
	}
	switch {
	case flags&irqDataNone != 0 && count == 0:
		s.irq.closeAll()
	case flags&irqDataEventFD != 0:
		for i := start; i < start+count; i++ {
			s.irq.set(int(i), m.takeFD())
		}
	default:
		return s.conn.refuse(m, unix.EINVAL)
	}
	return s.conn.answer(m)
}

// region splits the payload of a region access: the first 16 bytes are repeated in the answer.
//
//	 0              8         12        16
//	+--------------+---------+---------+------
//	| offset       | region  | count   | data
//	+--------------+---------+---------+------
func region(p []byte) (off uint64, index, count uint32) {
	return le.Uint64(p), le.Uint32(p[8:]), le.Uint32(p[12:])
}

func (s *session) regionRead(m *message) error {
	off, index, count := region(m.payload)
	if count > configLen || off > barLen {
		return s.conn.refuse(m, unix.EINVAL)
	}
	b := make([]byte, count)
	switch index {
	case regionConfig:
		if !s.config.read(b, off) {
			return s.conn.refuse(m, unix.EINVAL)
		}
	case regionBAR0:
		s.barRead(b, off)
	case regionROM: // there is none: zeroes
	default:
		return s.conn.refuse(m, unix.EINVAL)
	}
	return s.conn.answer(m, m.payload[:16], b)
}

func (s *session) regionWrite(m *message) error {
	off, index, count := region(m.payload)
	b := m.payload[16:]
	if uint32(len(b)) < count || count > configLen || off > barLen {
		return s.conn.refuse(m, unix.EINVAL)
	}
	b = b[:count]
	switch index {
	case regionConfig:
		if !s.config.write(b, off) {
			return s.conn.refuse(m, unix.EINVAL)
		}
	case regionBAR0:
		s.barWrite(b, off)
	case regionROM:
	default:
		return s.conn.refuse(m, unix.EINVAL)
	}
	return s.conn.answer(m, m.payload[:16])
}
