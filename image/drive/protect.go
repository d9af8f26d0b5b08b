package drive

import (
	"errors"

	"zimg/image/pi"
	"zimg/layout"
)

// prinfo is the PRINFO field of a command: what to check, and PRACT.
func prinfo(cmd *Command) pi.Check { return pi.Check(cmd.DW(12) >> rwPIShift & rwPIMask) }

// strips reports whether the controller inserts and strips the whole metadata of cmd.
func (n *namespace) strips(cmd *Command) bool {
	return n.pi.Enabled() && prinfo(cmd)&pi.Action != 0 && int(n.MS) == n.pi.Size()
}

// tags are those of cmd: dwords 14 and 15, and for 48-bit reference tags dword 3.
func (n *namespace) tags(cmd *Command) pi.Tags {
	t := pi.Tags{Ref: uint64(cmd.DW(14)), App: uint16(cmd.DW(15)), Mask: uint16(cmd.DW(15) >> 16)}
	if n.pi.Wide {
		t.Ref |= uint64(cmd.DW(3)&0xFFFF) << 32
	}
	return t
}

// checkProtection refuses protection fields that do not fit the namespace, and says
// what is to be checked with which tags.
func (n *namespace) checkProtection(cmd *Command) (pi.Check, pi.Tags, Status) {
	if !n.pi.Enabled() {
		return 0, pi.Tags{}, Success
	}
	check, tags := prinfo(cmd), n.tags(cmd)
	if !n.pi.ValidRef(check, cmd.SLBA(), tags.Ref) {
		return 0, tags, InvalidProtection.fatal()
	}
	return check, tags, Success
}

// verifyPI checks blocks; it is free where nothing is to be checked.
func (n *namespace) verifyPI(data, meta []byte, tags pi.Tags, check pi.Check) Status {
	if !n.pi.Enabled() || check&^pi.Action == 0 {
		return Success
	}
	return protectionStatus(n.pi.Verify(data, meta, tags, check))
}

func protectionStatus(err error) Status {
	if err == nil {
		return Success
	}
	var wrong *pi.Error
	if !errors.As(err, &wrong) {
		return InternalError.fatal()
	}
	switch wrong.Field { //nolint:exhaustive // Action is not a field
	case pi.CheckApp:
		return ApplicationTagError.fatal()
	case pi.CheckRef:
		return ReferenceTagError.fatal()
	}
	return GuardCheckError.fatal()
}

// appendProtection is the PIREMAP rule of Zone Append (ZNS 1.1, section 3.4.1): with
// type 1 reference tags must be remapped, with type 3 they cannot be.
func (n *namespace) appendProtection(cmd *Command) Status {
	remap := cmd.DW(12)&rwPIREMAP != 0
	if n.pi.Type == 1 && !remap || n.pi.Type == 3 && remap {
		return InvalidProtection.fatal()
	}
	return Success
}

// zeroProtection fills meta for blocks of zeroes from lba on that a host asked for.
func (n *namespace) zeroProtection(data, meta []byte, tags pi.Tags, first layout.LBA) error {
	clear(meta)
	if !n.pi.Enabled() {
		return nil
	}
	if n.pi.Type != 3 {
		tags.Ref += uint64(first)
	}
	return n.pi.Generate(data, meta, tags)
}
