package drive

import (
	"time"

	"zimg/layout"
)

// Log pages and the fields of Get Log Page (NVMe Base 2.0, figure 202).
const (
	logSupported    = 0x00
	logErrors       = 0x01
	logHealth       = 0x02
	logFirmware     = 0x03
	logEffects      = 0x05
	logRetain       = 1 << 15 // dword 10: retain the event
	logIndexOffset  = 1 << 23 // dword 14: the offset is an index
	logPageLen      = 4096
	logHealthLen    = 512
	logSupportedLen = 1024
	effectsIO       = 1024 // offset of the I/O commands in the effects log
	effectSupported = 1 << 0
	effectContent   = 1 << 1 // changes the content of blocks
)

// logLen is the length of a log page, 0 for one that there is not.
func logLen(lid uint8) int {
	switch lid {
	case logSupported:
		return logSupportedLen
	case logErrors:
		return errorLogEntries * errorEntryLen
	case logHealth, logFirmware:
		return logHealthLen
	case logChangedNS, logEffects, logChangedZones:
		return logPageLen
	}
	return 0
}

// logTransfer is Transfer for Get Log Page: what the host asks for, which may be more than
// the page has.
func (c *Controller) logTransfer(cmd *Command) (int, Status) {
	length := (int64(cmd.DW(10)>>16) | int64(cmd.DW(11)&0xFFFF)<<16) + 1
	length *= 4
	if length > int64(c.d.MaxTransfer()) {
		return 0, InvalidField.fatal()
	}
	return int(length), Success
}

// getLog is Get Log Page. Everything after the end of the page is zero.
func (c *Controller) getLog(cmd *Command, data []byte) Status {
	clear(data)
	lid := uint8(cmd.DW(10))
	size := logLen(lid)
	if size == 0 {
		return InvalidLogPage.fatal()
	}
	off := uint64(cmd.DW(12)) | uint64(cmd.DW(13))<<32
	if off%4 != 0 || off > uint64(size) || cmd.DW(14)&logIndexOffset != 0 {
		return InvalidField.fatal()
	}
	page := make([]byte, size)
	if st := c.logPage(cmd, lid, page); !st.OK() {
		return st
	}
	copy(data, page[off:])
	return Success
}

// logPage fills a page, which is all zero.
func (c *Controller) logPage(cmd *Command, lid uint8, page []byte) Status {
	id, retain := cmd.NSID(), cmd.DW(10)&logRetain != 0
	switch lid {
	case logSupported:
		for i := range logSupportedLen / 4 {
			if logLen(uint8(i)) > 0 {
				le.PutUint32(page[4*i:], 1)
			}
		}
	case logErrors:
		c.errors.page(page)
	case logHealth:
		if id != 0 && id != allNamespaces {
			return InvalidField.fatal()
		}
		c.d.stats.health(page)
	case logFirmware:
		page[0] = 1 // slot 1 is active
		padded(page[8:16], c.d.o.Firmware)
	case logChangedNS:
		c.events.changedNamespaces(page, retain)
	case logEffects:
		return effects(layout.CommandSet(cmd.DW(14)>>24), page)
	case logChangedZones:
		n := c.d.namespace(id)
		if n == nil {
			return InvalidNamespace.fatal()
		}
		if !n.Zoned() {
			return InvalidField.fatal()
		}
		c.events.changedZoneList(id, page, retain)
	}
	return Success
}

// effects is the Commands Supported and Effects log of a command set.
func effects(csi layout.CommandSet, b []byte) Status {
	if csi != layout.NVM && csi != layout.ZNS {
		return InvalidField.fatal()
	}
	for _, op := range []int{opGetLog, opIdentify, opAbort, opSetFeatures, opGetFeatures, opAsyncEvent, opKeepAlive} {
		le.PutUint32(b[4*op:], effectSupported)
	}
	for op, v := range map[int]uint32{
		opFlush: 0, opRead: 0, opCompare: 0, opVerify: 0,
		opWrite: effectContent, opWriteZeroes: effectContent, opDSM: effectContent, opCopy: effectContent,
	} {
		le.PutUint32(b[effectsIO+4*op:], v|effectSupported)
	}
	if csi == layout.ZNS {
		le.PutUint32(b[effectsIO+4*opZoneSend:], effectSupported|effectContent)
		le.PutUint32(b[effectsIO+4*opZoneReceive:], effectSupported)
		le.PutUint32(b[effectsIO+4*opZoneAppend:], effectSupported|effectContent)
	}
	return Success
}

// health is the SMART / Health Information log. Its counters begin when the drive does.
func (s *statistics) health(b []byte) {
	const thousand = 1000 // sectors of a data unit, rounded up
	le.PutUint16(b[1:], temperatureNow)
	b[3], b[4] = 100, 10 // spare, and its threshold, in percent
	le.PutUint64(b[32:], (s.sectorsOut.Load()+thousand-1)/thousand)
	le.PutUint64(b[48:], (s.sectorsIn.Load()+thousand-1)/thousand)
	le.PutUint64(b[64:], s.reads.Load())
	le.PutUint64(b[80:], s.writes.Load())
	le.PutUint64(b[112:], 1) // power cycles
	le.PutUint64(b[128:], uint64(time.Since(s.start)/time.Hour))
	le.PutUint64(b[144:], s.unsafe.Load())
	le.PutUint64(b[160:], s.mediaErrors.Load())
	le.PutUint64(b[176:], s.allErrors.Load())
}
