package drive

import (
	"sync/atomic"
	"time"
)

// statistics are what the SMART log shows, since the drive was made.
type statistics struct {
	start                  time.Time
	reads, writes          atomic.Uint64 // commands
	sectorsIn, sectorsOut  atomic.Uint64 // units of 512 bytes that hosts wrote, and read
	unsafe                 atomic.Uint64 // hosts that went without a shutdown
	mediaErrors, allErrors atomic.Uint64
}

// count counts a command that succeeded.
func (s *statistics) count(cmd *Command, nlb int64, n *namespace) {
	switch cmd.Opcode() {
	case opRead:
		s.reads.Add(1)
		s.sectorsOut.Add(uint64(nlb<<n.BlockBits) >> 9)
	case opCompare:
		s.reads.Add(1)
	case opWrite, opZoneAppend:
		s.writes.Add(1)
		s.sectorsIn.Add(uint64(nlb<<n.BlockBits) >> 9)
	case opCopy:
		s.writes.Add(1)
	}
}
