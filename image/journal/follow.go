package journal

import (
	"bytes"
	"errors"
	"io"
	"time"

	"zimg/image/disk"
)

// maxLine is the longest line of a trace that is taken whole, in bytes.
const maxLine = 64 << 10

// saveEvery is how much of a trace is folded between two times that the journals are written, in bytes.
const saveEvery = 16 << 20

// Follower follows a trace that QEMU is writing.
type Follower struct {
	Trace disk.File
	Fold  *Fold
	// Save writes down what is known; from mark on the trace is needed. An error leaves the trace as it is until the next time.
	Save func(mark int64) error
	// Keep leaves the whole trace where it is.
	Keep bool
	// Forward, if not nil, is called with every line, its end included, that Wants.
	Forward io.Writer
	Wants   func(event string) bool

	at, saved int64
	buf       []byte
}

// NewFollower follows trace from at on.
func NewFollower(trace disk.File, at int64, fold *Fold) *Follower {
	return &Follower{Trace: trace, Fold: fold, at: at, saved: at}
}

// pause is how long to wait for more of a trace: only its size on the disk depends on it.
const pause = 50 * time.Millisecond

// Run follows the trace until stop is closed, then to its end, and saves. QEMU must have ended, or no longer write, when
// stop is closed.
func (f *Follower) Run(stop <-chan struct{}) error {
	f.buf = make([]byte, 4*maxLine)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-stop:
			if err := f.read(); err != nil {
				return err
			}
			return f.Save(f.Fold.Mark(f.at))
		case <-timer.C:
		}
		if err := f.read(); err != nil {
			<-stop
			return err
		}
		timer.Reset(pause)
	}
}

// read takes the lines that are there.
func (f *Follower) read() error {
	for {
		n, err := f.Trace.ReadAt(f.buf, f.at)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		b := f.buf[:n]
		whole := bytes.LastIndexByte(b, '\n') + 1
		if whole == 0 {
			if n < len(f.buf) {
				if f.Fold.shared {
					f.save()
				}
				return nil
			}
			whole = n // a line without end
		}
		for b = b[:whole]; len(b) > 0; {
			line, rest, _ := bytes.Cut(b, []byte{'\n'})
			f.line(string(line))
			f.at += int64(len(b) - len(rest))
			b = rest
		}
		if f.at-f.saved >= saveEvery {
			f.save()
		}
	}
}

func (f *Follower) line(line string) {
	f.Fold.Line(line, f.at)
	if f.Forward == nil {
		return
	}
	if event, _ := EventName(line); f.Wants(event) {
		_, _ = io.WriteString(f.Forward, line+"\n")
	}
}

// save writes the journals and gives the space of what is not needed any more back.
func (f *Follower) save() {
	mark := f.Fold.Mark(f.at)
	f.saved, f.Fold.shared = f.at, false
	if f.Save(mark) != nil || f.Keep {
		return
	}
	const align = 4096
	_ = f.Trace.PunchHole(0, mark/align*align) // if it cannot, the trace is longer
}
