package drive

import (
	"errors"
	"fmt"
	"syscall"

	"zimg/image/zns"
)

// Status is the status field of a completion without its phase bit: the status code in
// bits 7:0, the status code type in bits 10:8, the retry delay in bits 12:11, More in
// bit 13 and Do Not Retry in bit 14 (NVMe Base 2.0, section 3.3.3.2). Zero is success.
type Status uint16

// DNR is Do Not Retry: the same command would fail again. Hosts repeat a command that
// fails without it.
const DNR Status = 1 << 14

const codeMask Status = 0x7FF // status code and type

// Status codes: generic ones, then command specific (type 1), then media errors (type 2).
const (
	Success              Status = 0x000
	InvalidOpcode        Status = 0x001
	InvalidField         Status = 0x002
	DataTransferError    Status = 0x004
	InternalError        Status = 0x006
	AbortRequested       Status = 0x007
	AbortedSQDeletion    Status = 0x008
	InvalidNamespace     Status = 0x00B
	SequenceError        Status = 0x00C
	InvalidSGLLength     Status = 0x00F
	CommandInterrupted   Status = 0x021
	LBAOutOfRange        Status = 0x080
	CapacityExceeded     Status = 0x081
	NamespaceNotReady    Status = 0x082
	AsyncLimitExceeded   Status = 0x105
	InvalidLogPage       Status = 0x109
	NotSaveable          Status = 0x10D
	NotChangeable        Status = 0x10E
	NotNamespaceSpecific Status = 0x10F
	CommandSetRejected   Status = 0x12B
	InvalidProtection    Status = 0x181
	CommandSizeLimit     Status = 0x183
	InvalidZoneOp        Status = 0x1B6
	ZRWAUnavailable      Status = 0x1B7
	ZoneBoundaryError    Status = 0x1B8
	ZoneIsFull           Status = 0x1B9
	ZoneIsReadOnly       Status = 0x1BA
	ZoneIsOffline        Status = 0x1BB
	ZoneInvalidWrite     Status = 0x1BC
	TooManyActiveZones   Status = 0x1BD
	TooManyOpenZones     Status = 0x1BE
	InvalidTransition    Status = 0x1BF
	WriteFault           Status = 0x280
	UnrecoveredRead      Status = 0x281
	GuardCheckError      Status = 0x282
	ApplicationTagError  Status = 0x283
	ReferenceTagError    Status = 0x284
	CompareFailure       Status = 0x285
)

// Code is the status code and its type, without the flags: what is to be compared with
// the constants of this package.
func (s Status) Code() Status { return s & codeMask }

// OK reports whether s is success.
func (s Status) OK() bool { return s&codeMask == 0 }

func (s Status) String() string {
	text := fmt.Sprintf("status %03Xh", uint16(s.Code()))
	if s&DNR != 0 {
		text += " (do not retry)"
	}
	return text
}

// fatal is s with Do Not Retry.
func (s Status) fatal() Status { return s | DNR }

// commandSpecific is the status code type of the zone statuses of package zns.
const commandSpecific Status = 1 << 8

// statusOf is the status that err ends a command with. An error that is not of the zone
// state machine is one of the storage below, and other is its status.
func statusOf(err error, other Status) Status {
	if err == nil {
		return Success
	}
	var refused *zns.StatusError
	if errors.As(err, &refused) {
		s := Status(refused.Status)
		if s >= Status(zns.InvalidZoneOp) && s <= Status(zns.InvalidTransition) {
			s |= commandSpecific
		}
		return s.fatal()
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return CapacityExceeded.fatal()
	}
	return other.fatal()
}
