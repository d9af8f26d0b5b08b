package qemu

import (
	"bufio"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// QTest is a client of QEMU's qtest protocol (docs/devel/qtest.rst): port I/O and
// guest memory, from outside, also while the machine is paused and under any accelerator.
//
// Writes are collected and go out before the next read, or with Flush: waiting for an answer takes longer than what is
// waited for. QEMU executes all in order. The error of a write is returned by the call that sends it.
type QTest struct {
	conn    net.Conn
	r       *bufio.Reader
	timeout time.Duration
	posted  []string     // lines that were not sent yet
	resumed func() bool  // whether the guest has run since the work began, so that the work is void; nil for never
	halt    func() error // stops the guest if it runs
}

// interrupted reports whether the guest was started while its devices were being driven.
func (t *QTest) interrupted() bool { return t.resumed != nil && t.resumed() }

// NewQTest speaks qtest over conn.
func NewQTest(conn net.Conn, timeout time.Duration) *QTest {
	return &QTest{conn: conn, r: bufio.NewReaderSize(conn, 1<<16), timeout: timeout}
}

// Close ends the connection.
func (t *QTest) Close() error { return t.conn.Close() }

// maxPosted bounds how many lines are collected.
const maxPosted = 64

// post collects lines that return no value.
func (t *QTest) post(lines ...string) error {
	t.posted = append(t.posted, lines...)
	if len(t.posted) < maxPosted {
		return nil
	}
	return t.Flush()
}

// Flush sends what was collected. It is to be called before QEMU is asked for something in another way.
func (t *QTest) Flush() error {
	if len(t.posted) == 0 {
		return nil
	}
	_, err := t.send()
	return err
}

// drop forgets what was collected.
func (t *QTest) drop() { t.posted = nil }

// send executes the lines that were collected and then lines, all of them on their way before the first answer is
// read, and returns the value of the last.
func (t *QTest) send(lines ...string) (string, error) {
	lines = append(t.posted, lines...)
	t.drop()
	if err := t.conn.SetDeadline(time.Now().Add(t.timeout)); err != nil {
		return "", err
	}
	if _, err := t.conn.Write([]byte(strings.Join(lines, "\n") + "\n")); err != nil {
		return "", qtestError(err)
	}
	var value string
	for range lines {
		line, err := t.line()
		if err != nil {
			return "", err
		}
		if !strings.HasPrefix(line, "OK") {
			return "", fmt.Errorf("qtest: %s", line)
		}
		value = strings.TrimSpace(strings.TrimPrefix(line, "OK"))
	}
	return value, nil
}

// line reads one answer; notices of interrupts are passed over.
func (t *QTest) line() (string, error) {
	for {
		line, err := t.r.ReadString('\n')
		if err != nil {
			return "", qtestError(err)
		}
		if !strings.HasPrefix(line, "IRQ") {
			return strings.TrimSpace(line), nil
		}
	}
}

func qtestError(err error) error {
	if e, ok := err.(net.Error); ok && e.Timeout() { //nolint:errorlint // net documents the type itself
		return fmt.Errorf("qtest: %w", ErrTimeout)
	}
	return fmt.Errorf("qtest: %w: %w", ErrQEMUGone, err)
}

func (t *QTest) number(line string) (uint64, error) {
	s, err := t.send(line)
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(s, 0, 64)
}

// OutL and InL are 32-bit port I/O.
func (t *QTest) OutL(port uint16, v uint32) error {
	return t.post(fmt.Sprintf("outl %#x %#x", port, v))
}

// InL reads a 32-bit port.
func (t *QTest) InL(port uint16) (uint32, error) {
	v, err := t.number(fmt.Sprintf("inl %#x", port))
	return uint32(v), err
}

// WriteL writes a 32-bit register.
func (t *QTest) WriteL(addr uint64, v uint32) error {
	return t.post(writeL(addr, v))
}

func writeL(addr uint64, v uint32) string { return fmt.Sprintf("writel %#x %#x", addr, v) }

// WriteQ writes a 64-bit register.
func (t *QTest) WriteQ(addr, v uint64) error {
	return t.post(fmt.Sprintf("writeq %#x %#x", addr, v))
}

// ReadL reads a 32-bit register.
func (t *QTest) ReadL(addr uint64) (uint32, error) {
	v, err := t.number(fmt.Sprintf("readl %#x", addr))
	return uint32(v), err
}

// ReadQ reads a 64-bit register.
func (t *QTest) ReadQ(addr uint64) (uint64, error) { return t.number(fmt.Sprintf("readq %#x", addr)) }

// writeMem is the line that writes b to guest memory.
func writeMem(addr uint64, b []byte) string {
	return fmt.Sprintf("b64write %#x %#x %s", addr, len(b), base64.StdEncoding.EncodeToString(b))
}

// Write writes guest memory.
func (t *QTest) Write(addr uint64, b []byte) error {
	return t.post(writeMem(addr, b))
}

// Clear zeroes guest memory.
func (t *QTest) Clear(addr uint64, n int) error {
	return t.post(fmt.Sprintf("memset %#x %#x 0x0", addr, n))
}

// Read reads guest memory.
func (t *QTest) Read(addr uint64, b []byte) error {
	s, err := t.send(fmt.Sprintf("b64read %#x %#x", addr, len(b)))
	if err != nil {
		return err
	}
	n, err := base64.StdEncoding.Decode(b, []byte(s))
	if err == nil && n != len(b) {
		err = fmt.Errorf("qtest: %d bytes of memory, want %d", n, len(b))
	}
	return err
}

var le = binary.LittleEndian
