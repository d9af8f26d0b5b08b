package qemu

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// QMP is a client of QEMU's machine protocol: one command at a time, events
// as they come.
type QMP struct {
	conn    net.Conn
	answers chan qmpMessage
	// Events delivers every event; it is closed when the connection ends.
	Events  chan Event
	Version string // of QEMU, "7.2.22"
	timeout time.Duration
	mu      sync.Mutex
}

// Event is an asynchronous message of QEMU.
type Event struct {
	Name string
	Data json.RawMessage
}

// QMPError is the refusal of a command.
type QMPError struct {
	Command string
	Class   string `json:"class"`
	Desc    string `json:"desc"`
}

func (e *QMPError) Error() string { return fmt.Sprintf("QEMU refused %s: %s", e.Command, e.Desc) }

// ErrQEMUGone is wrapped by errors that come of QEMU having ended.
var ErrQEMUGone = errors.New("QEMU has ended")

// ErrTimeout is wrapped by the error of a QEMU that does not answer.
var ErrTimeout = errors.New("QEMU does not answer")

type qmpMessage struct {
	Greeting *struct {
		Version struct {
			QEMU struct{ Major, Minor, Micro int }
		}
	} `json:"QMP"`
	Return json.RawMessage `json:"return"`
	Error  *QMPError       `json:"error"`
	Event  string          `json:"event"`
	Data   json.RawMessage `json:"data"`
}

// NewQMP greets the QEMU at the other end of conn.
func NewQMP(conn net.Conn, timeout time.Duration) (*QMP, error) {
	q := &QMP{conn: conn, answers: make(chan qmpMessage, 1), Events: make(chan Event, 256), timeout: timeout}
	go q.read()
	m, err := q.answer("greeting")
	if err != nil {
		return nil, err
	}
	if m.Greeting == nil {
		return nil, errors.New("not a QMP greeting")
	}
	v := m.Greeting.Version.QEMU
	q.Version = fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Micro)
	return q, q.Do("qmp_capabilities", nil, nil)
}

// read takes messages apart until the connection ends.
func (q *QMP) read() {
	defer close(q.answers)
	defer close(q.Events)
	d := json.NewDecoder(bufio.NewReader(q.conn))
	for {
		var m qmpMessage
		if err := d.Decode(&m); err != nil {
			return
		}
		if m.Event != "" {
			q.Events <- Event{m.Event, m.Data}
			continue
		}
		q.answers <- m
	}
}

func (q *QMP) answer(what string) (qmpMessage, error) {
	timer := time.NewTimer(q.timeout)
	defer timer.Stop()
	select {
	case m, ok := <-q.answers:
		if !ok {
			return m, fmt.Errorf("%s: %w", what, ErrQEMUGone)
		}
		return m, nil
	case <-timer.C:
		return qmpMessage{}, fmt.Errorf("%s: %w within %v", what, ErrTimeout, q.timeout)
	}
}

// Do executes a command; result, if not nil, is filled with what it returns.
func (q *QMP) Do(command string, arguments, result any) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	request := map[string]any{"execute": command}
	if arguments != nil {
		request["arguments"] = arguments
	}
	b, err := json.Marshal(request)
	if err != nil {
		return err
	}
	if err := q.conn.SetWriteDeadline(time.Now().Add(q.timeout)); err != nil {
		return err
	}
	if _, err := q.conn.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("%s: %w: %w", command, ErrQEMUGone, err)
	}
	m, err := q.answer(command)
	if err != nil {
		return err
	}
	if m.Error != nil {
		m.Error.Command = command
		return m.Error
	}
	if result == nil {
		return nil
	}
	return json.Unmarshal(m.Return, result)
}

// Close ends the connection.
func (q *QMP) Close() error { return q.conn.Close() }
