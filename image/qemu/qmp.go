package qemu

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"zimg/image/goroutine"
)

// QMP is a client of QEMU's machine protocol: one command at a time, events
// as they come. Its methods may be called from several goroutines.
type QMP struct {
	conn    net.Conn
	answers chan qmpMessage
	// Events delivers every event; it is closed when the connection ends.
	Events  chan Event
	Version Version
	timeout time.Duration
	mu      sync.Mutex
	last    uint64 // id of the last command
	running atomic.Bool
	resumes atomic.Uint64 // how often the guest was started
	closed  chan struct{}
	once    sync.Once
}

// Version is that of a QEMU.
type Version struct{ Major, Minor, Micro int }

func (v Version) String() string { return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Micro) }

// Before reports whether v is older than major.minor.
func (v Version) Before(major, minor int) bool {
	return v.Major < major || v.Major == major && v.Minor < minor
}

// Event is an asynchronous message of QEMU.
type Event struct {
	Name    string
	Data    json.RawMessage
	resumes uint64 // how often the guest had been started by then
}

// QMPError is the refusal of a command.
type QMPError struct {
	Command string
	Class   string `json:"class"`
	Desc    string `json:"desc"`
}

func (e *QMPError) Error() string { return fmt.Sprintf("QEMU refused %s: %s", e.Command, e.Desc) }

// ErrQEMUGone is wrapped by errors that come of QEMU having ended.
var ErrQEMUGone = errors.New("QEMU has exited")

// ErrTimeout is wrapped by the error of a QEMU that does not answer.
var ErrTimeout = errors.New("QEMU does not answer")

type qmpMessage struct {
	Greeting *struct {
		Version struct {
			QEMU Version
		}
	} `json:"QMP"`
	ID     uint64          `json:"id"`
	Return json.RawMessage `json:"return"`
	Error  *QMPError       `json:"error"`
	Event  string          `json:"event"`
	Data   json.RawMessage `json:"data"`
}

// NewQMP waits for the greeting of the QEMU at the other end of conn, as long as patience, and takes
// part in the protocol from then on. timeout is for every answer after that. A panic in what reads is passed to panicked, see goroutine.Recover.
func NewQMP(conn net.Conn, patience, timeout time.Duration, panicked func(v any)) (*QMP, error) {
	q := &QMP{conn: conn, answers: make(chan qmpMessage, 1), Events: make(chan Event), closed: make(chan struct{}), timeout: timeout}
	events := make(chan Event)
	goroutine.Go(panicked, func() { q.read(events) })
	goroutine.Go(panicked, func() { q.queueEvents(events) })
	m, err := q.answer("greeting", 0, patience)
	if err != nil {
		return nil, err
	}
	if m.Greeting == nil {
		return nil, errors.New("not a QMP greeting")
	}
	q.Version = m.Greeting.Version.QEMU
	if err := q.Do("qmp_capabilities", nil, nil); err != nil {
		return q, err
	}
	// There are no events from before.
	var status struct{ Running bool }
	err = q.Do("query-status", nil, &status)
	if status.Running {
		q.running.Store(true)
	}
	return q, err
}

// read takes messages apart until the connection ends.
func (q *QMP) read(events chan<- Event) {
	defer close(q.answers)
	defer close(events)
	d := json.NewDecoder(bufio.NewReader(q.conn))
	for {
		var m qmpMessage
		if err := d.Decode(&m); err != nil {
			return
		}
		if m.Event == "" {
			q.answers <- m
			continue
		}
		switch m.Event {
		case "RESUME":
			q.resumes.Add(1)
			q.running.Store(true)
		case "STOP":
			q.running.Store(false)
		}
		events <- Event{m.Event, m.Data, q.resumes.Load()}
	}
}

// queueEvents hands on events, as many as there are, until there are no more or nobody wants them: an answer
// must never wait for somebody who takes events.
func (q *QMP) queueEvents(in <-chan Event) {
	defer close(q.Events)
	var queue []Event
	for in != nil || len(queue) > 0 {
		var next chan<- Event
		var head Event
		if len(queue) > 0 {
			next, head = q.Events, queue[0]
		}
		select {
		case e, ok := <-in:
			if ok {
				queue = append(queue, e)
			} else {
				in = nil
			}
		case next <- head:
			queue = queue[1:]
		case <-q.closed:
			queue = nil
			if in != nil {
				for range in { // until the connection has ended
				}
				return
			}
		}
	}
}

// Running reports whether the guest's processors run, by the last event that said so.
func (q *QMP) Running() bool { return q.running.Load() }

// disturbed reports whether the guest has run, or runs, since resumes was the number of its starts. It asks QEMU, whose
// answer comes after every event until then: other sockets of QEMU's may be ahead of its events.
func (q *QMP) disturbed(resumes uint64) (bool, error) {
	if err := q.Do("query-status", nil, nil); err != nil {
		return false, err
	}
	return q.ranSince(resumes), nil
}

// ranSince is what disturbed reports, by the events that have arrived.
func (q *QMP) ranSince(resumes uint64) bool { return q.Running() || q.resumes.Load() != resumes }

// answer waits for the answer to command id.
func (q *QMP) answer(what string, id uint64, patience time.Duration) (qmpMessage, error) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case m, ok := <-q.answers:
			if !ok {
				return m, fmt.Errorf("%s: %w", what, ErrQEMUGone)
			}
			if m.ID == id {
				return m, nil
			} // else the late answer to a command that was given up
		case <-timer.C:
			return qmpMessage{}, fmt.Errorf("%s: %w within %v", what, ErrTimeout, patience)
		}
	}
}

// Do executes a command; result, if not nil, is filled with what it returns.
func (q *QMP) Do(command string, arguments, result any) error {
	return q.do(command, arguments, result, nil)
}

// do is Do with a file that QEMU gets a descriptor of, for add-fd.
func (q *QMP) do(command string, arguments, result any, file *os.File) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	b, err := q.request(command, arguments)
	if err != nil {
		return err
	}
	if err := q.send(b, file); err != nil {
		return fmt.Errorf("%s: %w: %w", command, ErrQEMUGone, err)
	}
	value, err := q.result(command, q.last)
	if err != nil || result == nil {
		return err
	}
	return json.Unmarshal(value, result)
}

// doEach executes a command once with each of arguments, all of them on their way before the first answer is read. QEMU
// executes them in order, also after one that it has refused. refused has an element for each, nil if it was executed.
func (q *QMP) doEach(command string, arguments []any) (refused []*QMPError, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	first := q.last + 1
	var all []byte
	for _, a := range arguments {
		b, err := q.request(command, a)
		if err != nil {
			return nil, err
		}
		all = append(all, b...)
	}
	if err := q.send(all, nil); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", command, ErrQEMUGone, err)
	}
	for id := first; id <= q.last; id++ {
		_, err := q.result(command, id)
		var e *QMPError
		if err != nil && !errors.As(err, &e) {
			return nil, err
		}
		refused = append(refused, e)
	}
	return refused, nil
}

// request is the line of the next command.
func (q *QMP) request(command string, arguments any) ([]byte, error) {
	q.last++
	request := map[string]any{"execute": command, "id": q.last}
	if arguments != nil {
		request["arguments"] = arguments
	}
	b, err := json.Marshal(request)
	return append(b, '\n'), err
}

// result waits for what command id returns.
func (q *QMP) result(command string, id uint64) (json.RawMessage, error) {
	m, err := q.answer(command, id, q.timeout)
	if err != nil {
		return nil, err
	}
	if m.Error != nil {
		m.Error.Command = command
		return nil, m.Error
	}
	return m.Return, nil
}

func (q *QMP) send(b []byte, file *os.File) error {
	if err := q.conn.SetWriteDeadline(time.Now().Add(q.timeout)); err != nil {
		return err
	}
	if file == nil {
		_, err := q.conn.Write(b)
		return err
	}
	unix, ok := q.conn.(*net.UnixConn)
	if !ok {
		return errors.New("cannot pass file descriptors over this connection")
	}
	_, _, err := unix.WriteMsgUnix(b, rights(file), nil)
	return err
}

// AddFile hands an open file to QEMU and returns the name by which QEMU opens it. The set has a number that QEMU
// chooses, so that it is not one of the caller's.
func (q *QMP) AddFile(file *os.File) (name string, err error) {
	var set struct {
		ID int `json:"fdset-id"`
	}
	if err := q.do("add-fd", nil, &set, file); err != nil {
		return "", err
	}
	return fmt.Sprintf("/dev/fdset/%d", set.ID), nil
}

// HMP executes a command of the human monitor and returns what it prints.
func (q *QMP) HMP(line string) (string, error) {
	var text string
	err := q.Do("human-monitor-command", map[string]any{"command-line": line}, &text)
	return text, err
}

// Close ends the connection.
func (q *QMP) Close() error {
	q.once.Do(func() { close(q.closed) })
	return q.conn.Close()
}
