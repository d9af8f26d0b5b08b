// Package control is how other processes of the same user reach a drive while its image is being served: a socket
// beside the image, over which they change zones, have faults on purpose, and take snapshots.
//
//	control.go  messages          path.go    where the socket is
//	server.go   the drive's side  client.go  the other side
//	do.go       what is done
//
// # Protocol
//
// A message is its length in bytes, 4 bytes little-endian and at most MaxMessage, and that much JSON. The server
// begins with a Hello, the client sends one Request, the server answers with one Reply and closes the connection.
//
//	server                          client
//	  Hello   ------------------------>       (refuses a session that is not the image's)
//	          <------------------------  Request
//	  Reply   ------------------------>
//
// A message with fields that the other side does not know is refused: both are the same program, and half of a request
// is worse than none.
//
// # Who may
//
// The socket has mode 0600, and the server asks the kernel who has connected: the user that it runs as, or root. The
// client asks in the same way who answers.
package control

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"zimg/image"
	"zimg/layout"
)

// Version is that of the protocol.
const Version = 1

// MaxMessage limits a message, in bytes.
const MaxMessage = 1 << 20

// Hello is what a server says first.
type Hello struct {
	Version int
	Session string // identifier of the session of the image, in hexadecimal
	PID     int
}

// Request asks for one thing.
type Request struct {
	Zones    *Zones    `json:",omitempty"`
	Fault    *Fault    `json:",omitempty"` // to be added
	Faults   bool      `json:",omitempty"` // the list of faults
	Clear    *Clear    `json:",omitempty"`
	Snapshot *Snapshot `json:",omitempty"`
	PowerCut *PowerCut `json:",omitempty"`
}

// Zones asks for a change of zones.
type Zones struct {
	NSID    layout.NSID
	Zones   []image.ZoneRange
	Action  string        // one of Actions
	All     bool          // pass over zones to which the action does not apply, as Select All does
	Pointer image.Pointer // of set-wp
}

// Clear asks for faults to be removed.
type Clear struct{ ID int } // 0 stands for all

// Snapshot asks for a snapshot of the image as it is now, in its usual place.
type Snapshot struct {
	Name string
	UUID [16]byte // of the snapshot; zero for that of the image
}

// PowerCut asks for a power cut: at a point that is counted from now on, or at once.
type PowerCut struct {
	Kind string // "write" or "flush"; "" stands for at once
	N    int    // number of the point, from 1
	Fate string // of writes that were not flushed: "keep", "drop" or "torn"
	Seed uint64 // of "torn"
}

// Reply is the answer to a Request.
type Reply struct {
	Error   string        `json:",omitempty"`
	Hint    string        `json:",omitempty"`
	Kind    string        `json:",omitempty"` // of the error: see kindOf
	Changed uint64        `json:",omitempty"` // zones
	ID      int           `json:",omitempty"` // of the fault that was added
	Faults  []ListedFault `json:",omitempty"`
}

// ErrMessage is wrapped by the error of a message that breaks the protocol.
var ErrMessage = errors.New("not a message of this protocol")

// send writes a message.
func send(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(b) > MaxMessage {
		return fmt.Errorf("%d bytes, at most %d are possible: %w", len(b), MaxMessage, ErrMessage)
	}
	_, err = w.Write(append(binary.LittleEndian.AppendUint32(nil, uint32(len(b))), b...))
	return err
}

// receive reads a message into v.
func receive(r io.Reader, v any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n > MaxMessage {
		return fmt.Errorf("%d bytes, at most %d are possible: %w", n, MaxMessage, ErrMessage)
	}
	var b bytes.Buffer // grows with what comes, not with what is announced
	if m, err := io.CopyN(&b, r, int64(n)); err != nil {
		return fmt.Errorf("%d bytes of %d: %w", m, n, io.ErrUnexpectedEOF)
	}
	d := json.NewDecoder(&b)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%w: %w", ErrMessage, err)
	}
	return nil
}
