package zns

import (
	"fmt"

	"zimg/layout"
)

// Status is an NVMe status code: the command specific ones of ZNS 1.1 (figure
// 25; B6h and B7h from 1.1a), and the generic ones that zone commands end with.
type Status uint16

// Status codes.
const (
	InvalidField       Status = 0x02
	LBAOutOfRange      Status = 0x80
	InvalidZoneOp      Status = 0xB6
	ZRWAUnavailable    Status = 0xB7
	ZoneBoundaryError  Status = 0xB8
	ZoneIsFull         Status = 0xB9
	ZoneIsReadOnly     Status = 0xBA
	ZoneIsOffline      Status = 0xBB
	ZoneInvalidWrite   Status = 0xBC
	TooManyActiveZones Status = 0xBD
	TooManyOpenZones   Status = 0xBE
	InvalidTransition  Status = 0xBF
)

// Error is the name that the specification gives the status.
func (s Status) Error() string {
	switch s {
	case InvalidField:
		return "Invalid Field in Command"
	case LBAOutOfRange:
		return "LBA Out of Range"
	case InvalidZoneOp:
		return "Invalid Zone Operation Request"
	case ZRWAUnavailable:
		return "ZRWA Resources Unavailable"
	case ZoneBoundaryError:
		return "Zone Boundary Error"
	case ZoneIsFull:
		return "Zone Is Full"
	case ZoneIsReadOnly:
		return "Zone Is Read Only"
	case ZoneIsOffline:
		return "Zone Is Offline"
	case ZoneInvalidWrite:
		return "Zone Invalid Write"
	case TooManyActiveZones:
		return "Too Many Active Zones"
	case TooManyOpenZones:
		return "Too Many Open Zones"
	case InvalidTransition:
		return "Invalid Zone State Transition"
	}
	return fmt.Sprintf("status %#x", uint16(s))
}

// StatusError says which zone refused what, and why. It wraps its Status.
type StatusError struct {
	Status Status
	NSID   layout.NSID
	Zone   uint64
	State  layout.ZoneState
	Detail string // "a write at LBA 7, its write pointer is at 5"
}

func (e *StatusError) Error() string {
	s := fmt.Sprintf("namespace %d zone %d (%v): %v", e.NSID, e.Zone, e.State, e.Status)
	if e.Status == LBAOutOfRange { // of no zone
		s = fmt.Sprintf("namespace %d: %v", e.NSID, e.Status)
	}
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	return s
}

func (e *StatusError) Unwrap() error { return e.Status }
