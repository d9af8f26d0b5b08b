package control

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"zimg/image/drive"
	"zimg/layout"
)

// Fault is a fault that a drive is to have on purpose.
type Fault struct {
	NSID        layout.NSID
	LBA, Blocks layout.LBA // Blocks 0 stands for all that follow
	Ops         []string   // of FaultOps; none stands for read and write
	Status      string     // of Statuses, 0x and the 15 bits of a status field in hexadecimal, or "" for none
	Delay       time.Duration
	Count       int // how often; 0 stands for as long as the fault is there
}

// ListedFault is a fault that a drive has; Count is how often it is still to occur.
type ListedFault struct {
	ID int
	Fault
}

// faultOps are the kinds of commands by their names.
var faultOps = map[string]drive.FaultOps{"read": drive.FaultReads, "write": drive.FaultWrites, "zone": drive.FaultZones}

// FaultOps are the names of the kinds of commands that a fault can be for.
func FaultOps() []string { return slices.Sorted(maps.Keys(faultOps)) }

// statuses are those that have names here. Busy is without Do Not Retry, so that a host tries again.
var statuses = map[string]drive.Status{
	"unrecovered-read": drive.UnrecoveredRead | drive.DNR,
	"write-fault":      drive.WriteFault | drive.DNR,
	"internal-error":   drive.InternalError | drive.DNR,
	"guard-check":      drive.GuardCheckError | drive.DNR,
	"busy":             drive.NamespaceNotReady,
	"interrupted":      drive.CommandInterrupted,
}

// Statuses are the names of status codes.
func Statuses() []string { return slices.Sorted(maps.Keys(statuses)) }

// drive returns f as the drive has it.
func (f *Fault) drive() (d drive.Fault, err error) {
	d = drive.Fault{NSID: f.NSID, LBA: f.LBA, Blocks: f.Blocks, Delay: f.Delay, Count: f.Count}
	for _, op := range f.Ops {
		if faultOps[op] == 0 {
			return d, fmt.Errorf("invalid operation %q: must be one of %s", op, strings.Join(FaultOps(), ", "))
		}
		d.Ops |= faultOps[op]
	}
	if d.Ops == 0 {
		d.Ops = drive.FaultReads | drive.FaultWrites
	}
	if d.Status, err = parseStatus(f.Status); err != nil {
		return d, err
	}
	switch {
	case f.Delay < 0 || f.Delay > maxDelay:
		return d, fmt.Errorf("invalid delay %v: must be from 0 to %v", f.Delay, maxDelay)
	case f.Count < 0:
		return d, fmt.Errorf("invalid count %d: must be 1 or more, or 0 for no limit", f.Count)
	case d.Status == drive.Success && d.Delay == 0:
		return d, fmt.Errorf("a fault needs a status or a delay")
	}
	return d, nil
}

// maxDelay is longer than any host waits.
const maxDelay = time.Hour

func parseStatus(s string) (drive.Status, error) {
	if s == "" {
		return drive.Success, nil
	}
	if st, ok := statuses[s]; ok {
		return st, nil
	}
	n, err := strconv.ParseUint(s, 0, 15)
	if err != nil || !strings.HasPrefix(s, "0x") || n == 0 {
		return 0, fmt.Errorf("invalid status %q: must be one of %s, or a status field in hexadecimal from 0x1 to 0x7fff", s, strings.Join(Statuses(), ", "))
	}
	return drive.Status(n), nil
}

// listed is a fault of the drive as it is listed.
func listed(id int, d drive.Fault) ListedFault {
	f := ListedFault{ID: id, Fault: Fault{NSID: d.NSID, LBA: d.LBA, Blocks: d.Blocks, Delay: d.Delay, Count: d.Count}}
	for _, name := range FaultOps() {
		if d.Ops&faultOps[name] != 0 {
			f.Ops = append(f.Ops, name)
		}
	}
	if d.Status == drive.Success {
		return f
	}
	f.Status = fmt.Sprintf("%#x", uint16(d.Status))
	for name, st := range statuses {
		if st == d.Status {
			f.Status = name
		}
	}
	return f
}
