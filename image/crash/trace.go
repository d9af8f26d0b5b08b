package crash

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"

	"zimg/image"
	"zimg/image/journal"
)

// QEMU's write log knows nothing of zones. A zone that is finished leaves nothing in it, and one
// that is reset leaves the zeroes that Write Zeroes would leave too. QEMU's trace, whose lines are journal.Events, has
// both, among the requests to the block layer, each of which is one entry of the log.
//
// The trace is in the order in which commands came, the log in that in which they were done. A
// finish is done when it comes. So it took effect before any entry of the log whose request
// comes later in the trace.

// TraceEvents are the events that QEMU is to trace for a recording, beyond those of a journal.
func TraceEvents() []string {
	return []string{string(journal.Command), string(journal.ResetOf), string(journal.FlushOf), string(journal.Request)}
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

// never is a position after the end of a trace.
const never = math.MaxInt

// readTrace reads QEMU's trace; nil if there is none. Lines of other events, or that are not understood, are passed over:
// what they would have said is inferred from the data.
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
		p.line(lines.Text(), pos)
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

func (p *traceParser) line(line string, pos int) {
	e, ok := journal.ParseEvent(line)
	wrote, reset := p.writes, p.reset
	p.writes, p.reset = false, false
	if !ok {
		return
	}
	switch e.Kind {
	case journal.Command:
		p.current = -1
		if i, ok := p.ns[e.NSID]; ok {
			p.current = i
		}
		p.writes = e.Writes()
	case journal.ResetOf:
		p.reset = true
	case journal.FlushOf:
		p.flushes = append(p.flushes, pos)
	case journal.Finish:
		if p.current >= 0 && e.Zone < p.zones[p.current].ZoneCount {
			p.finishes = append(p.finishes, finished{pos: pos, ns: p.current, zone: e.Zone, all: e.All})
		}
	case journal.Request:
		p.request(e, pos, wrote, reset)
	case journal.Completion, journal.SetExtension, journal.Started:
	}
}

// request notes a write. Which namespace it is of the command before says, if it is the
// cause; the zones of a reset of all come one by one, with other commands in between.
func (p *traceParser) request(e journal.Event, pos int, wrote, reset bool) {
	ns, ok := p.device[e.Backend]
	if !ok || wrote {
		ns = p.current
	}
	if ns < 0 {
		return
	}
	if wrote {
		p.device[e.Backend] = ns
	}
	q := request{ns, int64(e.Offset), int64(e.Bytes)}
	p.list = append(p.list, traced{request: q, pos: pos, reset: reset})
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
