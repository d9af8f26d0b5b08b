package control

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"

	"zimg/image/zns"
	"zimg/layout"
)

// ErrNobody is wrapped by the error of Do when no process answers at the socket: there is none, or its owner has died.
var ErrNobody = errors.New("nobody answers at the control socket")

// RefusedError is the refusal of a request by the process that serves the image.
type RefusedError struct {
	Text, Hint string
	Changed    uint64 // zones that were changed before
	err        error  // what is wrapped
}

func (e *RefusedError) Error() string { return e.Text }

func (e *RefusedError) Unwrap() error { return e.err }

// kinds are the errors that keep their meaning on the way through a Reply.
var kinds = map[string]error{"range": layout.ErrRange, "exists": fs.ErrExist, "permission": fs.ErrPermission}

// kindOf is the kind of an error in a Reply, "" for all others.
func kindOf(err error) string {
	if errors.As(err, new(*zns.StatusError)) {
		return "zone"
	}
	for k, e := range kinds {
		if errors.Is(err, e) {
			return k
		}
	}
	return ""
}

// Do sends q to the process that serves the image of the given session at the socket path, and waits for the answer: as
// long as the process lives, since a snapshot takes its time.
func Do(path string, session [16]byte, q *Request) (*Reply, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", path, ErrNobody)
	}
	if err != nil {
		return nil, err
	}
	if info.Mode().Type() != os.ModeSocket {
		return nil, fmt.Errorf("%s is not a socket: %w", path, ErrNobody)
	}
	folder, address, err := within(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = folder.Close() }()
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: address, Net: "unix"})
	switch {
	case errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: %w", path, ErrNobody)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	defer func() { _ = conn.Close() }()
	p, err := peerOf(conn)
	if err != nil {
		return nil, err
	}
	if p.uid != 0 && p.uid != os.Geteuid() && os.Geteuid() != 0 {
		return nil, layout.Errorf(fs.ErrPermission, "%s belongs to user %d", path, p.uid)
	}
	return exchange(conn, session, q)
}

func exchange(conn net.Conn, session [16]byte, q *Request) (*Reply, error) {
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	var h Hello
	if err := receive(conn, &h); err != nil {
		return nil, fmt.Errorf("the process that serves the image: %w", err)
	}
	if h.Version != Version {
		return nil, fmt.Errorf("pid %d, which serves the image, is another version of zimg: its control protocol is %d, not %d", h.PID, h.Version, Version)
	}
	if h.Session != fmt.Sprintf("%x", session) {
		return nil, fmt.Errorf("pid %d serves another image: %w", h.PID, ErrNobody)
	}
	if err := send(conn, q); err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return nil, err
	}
	var r Reply
	if err := receive(conn, &r); err != nil {
		return nil, fmt.Errorf("pid %d ended without an answer: %w", h.PID, err)
	}
	if r.Error != "" {
		return nil, &RefusedError{Text: r.Error, Hint: r.Hint, Changed: r.Changed, err: kinds[r.Kind]}
	}
	return &r, nil
}
