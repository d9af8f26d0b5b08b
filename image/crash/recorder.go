package crash

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"zimg/image"
	"zimg/image/writelog"
	"zimg/layout"
)

// A Recorder writes the log of a recording of zimg's own drive, in the folder that Prepare has made. One goroutine at a
// time may use it.
type Recorder struct {
	file *os.File
	w    *writelog.Writer
	ns   []*image.Namespace
	last [1 << 13]logged // the last entries, for Persist and Undo
	next int             // number of the next entry
}

// logged is where an entry is.
type logged struct {
	entry int
	pos   int64
	flags writelog.Flags
}

// Recordable refuses namespaces that cannot be recorded: the log has no place for metadata.
func Recordable(ns []*image.Namespace) error {
	for _, n := range ns {
		if n.MS > 0 {
			return fmt.Errorf("namespace %d has metadata in each block, which recordings do not support", n.ID)
		}
	}
	return nil
}

// NewRecorder begins the log in dir of what happens to the namespaces of an image. The caller closes it.
func NewRecorder(dir string, ns []*image.Namespace) (*Recorder, error) {
	if err := Recordable(ns); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(dir, LogName), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	r := &Recorder{file: file, ns: ns}
	if r.w, err = writelog.NewWriter(file); err == nil {
		_, err = r.w.Mark([]byte(markDrive))
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	r.next = 1
	return r, nil
}

// Close brings the log to its end.
func (r *Recorder) Close() error { return errors.Join(r.w.Sync(), r.file.Close()) }

// Add adds a step with the data of a write.
func (r *Recorder) Add(s Step, data []byte) error {
	var id layout.NSID
	var off int64
	if s.Op != Flush {
		n := r.ns[s.NS]
		id, off = n.ID, int64(n.DataOff)+s.Off
	}
	switch s.Op {
	case Write:
		pos, err := r.w.Write(off, data)
		return r.added(pos, 0, err)
	case Discard, Zeroes:
		pos, err := r.w.Discard(off, s.Length)
		return r.added(pos, writelog.Discard, err)
	case Flush:
		pos, err := r.w.Flush()
		if err == nil {
			err = r.w.Sync()
		}
		return r.added(pos, writelog.Flush, err)
	case ZoneReset:
		if err := r.mark(fmt.Sprintf(markReset, id, s.Zone)); err != nil {
			return err
		}
		n := r.ns[s.NS]
		pos, err := r.w.Discard(int64(n.DataOff+n.ByteOff(layout.LBA(s.Zone)*n.ZoneSize)), zoneLen(n))
		return r.added(pos, writelog.Discard, err)
	case ZoneFinish:
		return r.mark(fmt.Sprintf(markFinish, id, s.Zone))
	case ZoneSet:
		z := s.Set.Zone
		text := fmt.Sprintf(markZone, id, s.Zone, uint8(z.State), uint8(z.Type), uint8(z.Attrs), z.AttrsInfo, z.WP, z.Written)
		if len(s.Set.Ext) > 0 {
			text += " " + hex.EncodeToString(s.Set.Ext)
		}
		return r.mark(text)
	case ZonesFinish:
	}
	return fmt.Errorf("step %v cannot be recorded", s.Op)
}

func (r *Recorder) mark(text string) error {
	pos, err := r.w.Mark([]byte(text))
	return r.added(pos, writelog.Mark, err)
}

func (r *Recorder) added(pos int64, flags writelog.Flags, err error) error {
	if err != nil {
		return fmt.Errorf("recording to %s: %w", r.file.Name(), err)
	}
	r.last[r.next%len(r.last)] = logged{r.next, pos, flags}
	r.next++
	return nil
}

// Persist notes that the write of an entry was durable when it was done (Force Unit Access). One that is long ago is
// left as it is.
func (r *Recorder) Persist(entry int) error {
	l := &r.last[entry%len(r.last)]
	if l.entry != entry {
		return nil
	}
	l.flags |= writelog.FUA
	return r.w.SetFlags(l.pos, l.flags)
}

// Undo takes a flush back that has failed: nothing became durable by it.
func (r *Recorder) Undo(entry int) error {
	l := &r.last[entry%len(r.last)]
	if l.entry != entry {
		return nil
	}
	return r.w.SetFlags(l.pos, writelog.Mark)
}

// Entries is how many entries of the log the step s takes. The first entry of a log says what it is.
func (s Step) Entries() int {
	if s.Op == ZoneReset {
		return 2 // what it is, and the discard
	}
	return 1
}
