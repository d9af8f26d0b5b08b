package crash

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"strconv"
	"strings"

	"zimg/image"
)

// QEMU's write log knows nothing of zones. A zone that is finished leaves nothing in it, and one
// that is reset leaves the zeroes that Write Zeroes would leave too. QEMU's trace has both, among
// the requests to the block layer, each of which is one entry of the log:
//
//	pci_nvme_io_cmd cid 589 nsid 0x1 sqid 1 opc 0x1 opname 'NVME_NVM_CMD_WRITE'
//	blk_co_pwritev blk 0x55e9c16205b0 bs 0x55e9c0a491e0 offset 4096 bytes 4096 flags 0x0
//	pci_nvme_finish_zone finish zone, slba=0, idx=0, all=0
//	pci_nvme_zns_zone_reset zslba 0x0
//	blk_co_pwritev blk 0x55e9c16205b0 bs 0x55e9c0a491e0 offset 0 bytes 1048576 flags 0x6
//	pci_nvme_flush_ns nsid 0x1
//
// The trace is in the order in which commands came, the log in that in which they were done. A
// finish is done when it comes. So it took effect before any entry of the log whose request
// comes later in the trace.

// TraceEvents are the events that QEMU is to trace for a recording, beyond those of a journal.
func TraceEvents() []string {
	return []string{"pci_nvme_io_cmd", "pci_nvme_zns_zone_reset", "pci_nvme_flush_ns", "blk_co_pwritev"}
}

// request is a write to the block layer: of namespace ns (an index), in its bytes.
type request struct {
	ns          int
	off, length int64
}

// traced is where in the trace a request is; next is the next of its kind, in the list.
type traced struct {
	request
	pos   int
	next  int32
	reset bool
}

// finished is a Finish command in the trace: of one zone, or of all that are active.
type finished struct {
	pos  int
	ns   int
	zone uint64
	all  bool
}

type trace struct {
	list     []traced
	first    map[request]int32 // that was not taken
	flushes  []int
	finishes []finished
}

// never is a position behind all of a trace.
const never = math.MaxInt

// readTrace reads QEMU's trace; nil if there is none. Lines that it does not understand it
// passes over: what they would have told is inferred from the data.
func readTrace(path string, ns []*image.Namespace) (*trace, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return parseTrace(file, ns)
}

// traceParser has what the lines before say about the next.
type traceParser struct {
	trace
	ns      map[uint64]int     // index by NSID
	device  map[string]int     // namespace by block device, as far as known
	current int                // namespace of the last command, -1 if none
	writes  bool               // the line before is a command that writes
	reset   bool               // the line before is a zone's reset
	zones   []*image.Namespace // to check zone numbers
}

func parseTrace(r io.Reader, ns []*image.Namespace) (*trace, error) {
	p := &traceParser{ns: map[uint64]int{}, device: map[string]int{}, current: -1, zones: ns}
	for i, n := range ns {
		p.ns[uint64(n.ID)] = i
	}
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), 1<<20)
	for pos := 0; lines.Scan(); pos++ {
		line := lines.Text()
		// QEMU may put a process number and a time before it.
		if i := strings.LastIndexByte(line[:max(0, strings.IndexByte(line, ' '))], ':'); i >= 0 {
			line = line[i+1:]
		}
		p.line(strings.Fields(line), pos)
	}
	if err := lines.Err(); err != nil && !errors.Is(err, bufio.ErrTooLong) {
		return nil, err
	}
	p.first = map[request]int32{}
	for i := len(p.list) - 1; i >= 0; i-- {
		q := &p.list[i]
		q.next = -1
		if next, ok := p.first[q.request]; ok {
			q.next = next
		}
		p.first[q.request] = int32(i)
	}
	return &p.trace, nil
}

func (p *traceParser) line(words []string, pos int) {
	if len(words) == 0 {
		return
	}
	wrote, reset := p.writes, p.reset
	p.writes, p.reset = false, false
	switch words[0] {
	case "pci_nvme_io_cmd":
		p.current = -1
		if i, ok := p.ns[number(words, "nsid")]; ok {
			p.current = i
		}
		switch number(words, "opc") {
		case 0x01, 0x08, 0x7d: // Write, Write Zeroes, Zone Append
			p.writes = true
		}
	case "pci_nvme_zns_zone_reset":
		p.reset = true
	case "pci_nvme_flush_ns":
		p.flushes = append(p.flushes, pos)
	case "pci_nvme_finish_zone":
		p.finish(words, pos)
	case "blk_co_pwritev":
		p.request(words, pos, wrote, reset)
	}
}

// finish: "pci_nvme_finish_zone finish zone, slba=0, idx=0, all=0".
func (p *traceParser) finish(words []string, pos int) {
	f := finished{pos: pos, ns: p.current}
	for _, w := range words {
		key, value, _ := strings.Cut(strings.TrimSuffix(w, ","), "=")
		n, err := strconv.ParseUint(value, 0, 64)
		switch {
		case err != nil:
		case key == "idx":
			f.zone = n
		case key == "all":
			f.all = n == 1
		}
	}
	if f.ns >= 0 && f.zone < p.zones[f.ns].ZoneCount {
		p.finishes = append(p.finishes, f)
	}
}

// request notes a write. Which namespace it is of the command before says, if it is the
// cause; the zones of a reset of all come one by one, with other commands in between.
func (p *traceParser) request(words []string, pos int, wrote, reset bool) {
	var device string
	for i, w := range words[:len(words)-1] {
		if w == "blk" {
			device = words[i+1]
		}
	}
	ns, ok := p.device[device]
	if !ok || wrote {
		ns = p.current
	}
	if ns < 0 {
		return
	}
	if wrote {
		p.device[device] = ns
	}
	q := request{ns, int64(number(words, "offset")), int64(number(words, "bytes"))}
	p.list = append(p.list, traced{request: q, pos: pos, reset: reset})
}

// number is the word after key, as a number.
func number(words []string, key string) uint64 {
	for i, w := range words[:len(words)-1] {
		if w == key {
			n, err := strconv.ParseUint(words[i+1], 0, 64)
			if err == nil {
				return n
			}
		}
	}
	return math.MaxUint64
}

// take finds the trace of a request that the log has, the next of its kind.
func (t *trace) take(q request) (traced, bool) {
	i, ok := t.first[q]
	if !ok || i < 0 {
		return traced{}, false
	}
	t.first[q] = t.list[i].next
	return t.list[i], true
}
