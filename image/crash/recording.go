// Package crash makes images as they would be had the power failed at some
// point of a recorded run: `zimg run --record DIR` keeps a copy of the image as it was
// before the run, and for each namespace a log of every write, discard and flush (package
// writelog).
//
//	recording.go  what is in the folder    replay.go  from a point to zones and data
package crash

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"zimg/image/writelog"
	"zimg/layout"
)

// BaseName and LogName are the names in a recording's folder.
const BaseName = "base.zimg"

// LogName is the name of the write log of namespace id.
func LogName(id layout.NSID) string { return fmt.Sprintf("ns%d.log", id) }

// Recording is one recorded run of one image.
type Recording struct {
	Dir  string
	NS   layout.NSID
	Log  []writelog.Entry
	file *os.File
}

// Open reads the log of namespace id in dir.
func Open(dir string, id layout.NSID) (*Recording, error) {
	file, err := os.Open(filepath.Join(dir, LogName(id)))
	if err != nil {
		return nil, err
	}
	r := &Recording{Dir: dir, NS: id, file: file}
	info, err := file.Stat()
	if err == nil {
		r.Log, err = writelog.Read(file, info.Size())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", file.Name(), err), file.Close())
	}
	return r, nil
}

// Base is the path of the image as it was before the run.
func (r *Recording) Base() string { return filepath.Join(r.Dir, BaseName) }

// Close closes the log.
func (r *Recording) Close() error { return r.file.Close() }

// Writes is the number of writes and discards, Flushes that of flushes: the points that
// --at names are counted from 1.
func (r *Recording) Writes() int { return r.count(false) }

// Flushes is the number of flushes in the log.
func (r *Recording) Flushes() int { return r.count(true) }

func (r *Recording) count(flush bool) int {
	n := 0
	for _, e := range r.Log {
		if isPoint(e, flush) {
			n++
		}
	}
	return n
}

// isPoint reports whether e is a flush, or what is not one: a write or discard.
func isPoint(e writelog.Entry, flush bool) bool {
	if flush {
		return e.Flags&writelog.Flush != 0
	}
	return e.Length > 0 && e.Flags&writelog.Mark == 0
}

// After is how many entries of the log precede the moment after the n-th flush
// (or write): n from 0, the moment before anything happened.
func (r *Recording) After(flush bool, n int) (int, error) {
	if n == 0 {
		return 0, nil
	}
	seen := 0
	for i, e := range r.Log {
		if isPoint(e, flush) {
			if seen++; seen == n {
				return i + 1, nil
			}
		}
	}
	what := "writes"
	if flush {
		what = "flushes"
	}
	return 0, fmt.Errorf("%s: has %d %s, no number %d: %w", r.Dir, seen, what, n, layout.ErrRange)
}
