package journal

import (
	"strconv"
	"strings"
)

// QEMU's trace has, among others, these lines (hw/nvme/trace-events, block/trace-events):
//
//	pci_nvme_io_cmd cid 589 nsid 0x1 sqid 1 opc 0x1 opname 'NVME_NVM_CMD_WRITE'
//	blk_co_pwritev blk 0x55e9c16205b0 bs 0x55e9c0a491e0 offset 4096 bytes 4096 flags 0x0
//	pci_nvme_enqueue_req_completion cid 589 cqid 1 dw0 0x0 dw1 0x0 status 0x0
//	pci_nvme_finish_zone finish zone, slba=0, idx=0, all=0
//	pci_nvme_zns_zone_reset zslba 0x0
//	blk_co_pwritev blk 0x55e9c16205b0 bs 0x55e9c0a491e0 offset 0 bytes 1048576 flags 0x6
//	pci_nvme_flush_ns nsid 0x1
//
// A request to the block layer follows the command that causes it, and names a block backend: one namespace of one drive.
// Commands that move no data name a namespace id only.

// Kind is the name of an event, as "-trace" takes it.
type Kind string

// The events that ParseEvent understands.
const (
	Command      Kind = "pci_nvme_io_cmd"                   // CID, NSID, Queue, Opcode
	Completion   Kind = "pci_nvme_enqueue_req_completion"   // CID, Queue, Status
	Request      Kind = "blk_co_pwritev"                    // Backend, Offset, Bytes, Flags
	ResetOf      Kind = "pci_nvme_zns_zone_reset"           // SLBA; the request that zeroes the zone follows
	Finish       Kind = "pci_nvme_finish_zone"              // Zone, All
	SetExtension Kind = "pci_nvme_set_descriptor_extension" // Zone
	FlushOf      Kind = "pci_nvme_flush_ns"                 // NSID
	Started      Kind = "pci_nvme_mmio_start_success"       // nothing: a controller was enabled
)

// Event is one line of QEMU's trace. Kind says which of the other fields it has.
type Event struct {
	Kind    Kind
	CID     uint64
	NSID    uint64
	Queue   uint64 // number of the submission queue, or of the completion queue
	Opcode  uint64
	Status  uint64
	Backend string // of QEMU's block layer: "0x55e9c16205b0"
	Offset  uint64 // bytes from the start of the backend
	Bytes   uint64
	Flags   uint64 // BDRV_REQ_*
	SLBA    uint64
	Zone    uint64 // number of the zone
	All     bool   // all zones that are active, whatever Zone is
}

// Writes reports whether a command writes blocks: Write, Write Zeroes or Zone Append.
func (e Event) Writes() bool { return e.Opcode == 0x01 || e.Opcode == 0x08 || e.Opcode == 0x7d }

// EventName is the name of the event of a line, without what QEMU may put before it (a process number and a time).
func EventName(line string) (name, rest string) {
	name, rest, _ = strings.Cut(line, " ")
	return name[strings.LastIndexByte(name, ':')+1:], rest
}

// ParseEvent parses a line of QEMU's trace, without its end. It returns false for lines of other events, and for those that
// lack a field.
func ParseEvent(line string) (Event, bool) {
	name, rest := EventName(line)
	p := fields{rest: rest}
	e := Event{Kind: Kind(name)}
	switch e.Kind {
	case Command:
		e.CID, e.NSID, e.Queue, e.Opcode = p.number("cid "), p.number("nsid "), p.number("sqid "), p.number("opc ")
	case Completion:
		e.CID, e.Queue, e.Status = p.number("cid "), p.number("cqid "), p.number("status ")
	case Request:
		e.Backend = p.word("blk ")
		e.Offset, e.Bytes, e.Flags = p.number("offset "), p.number("bytes "), p.number("flags ")
	case ResetOf:
		e.SLBA = p.number("zslba ")
	case Finish:
		e.Zone, e.All = p.number("idx="), p.number("all=") == 1
	case SetExtension:
		e.Zone = p.number("idx=")
	case FlushOf:
		e.NSID = p.number("nsid ")
	case Started:
	default:
		return Event{}, false
	}
	return e, !p.missing
}

// fields are the words of a line after its name.
type fields struct {
	rest    string
	missing bool // a field was not there, or not a number
}

// word is what follows key, up to a space or comma.
func (p *fields) word(key string) string {
	_, rest, ok := strings.Cut(p.rest, key)
	if !ok {
		p.missing = true
	}
	if end := strings.IndexAny(rest, " ,\n"); end >= 0 {
		rest = rest[:end]
	}
	return rest
}

func (p *fields) number(key string) uint64 {
	n, err := strconv.ParseUint(p.word(key), 0, 64)
	if err != nil {
		p.missing = true
	}
	return n
}
