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

	"zimg/image"
	"zimg/image/writelog"
	"zimg/layout"
)

// BaseName and LogName are the names in a recording's folder.
const BaseName = "base.zimg"

// LogName is the name of the write log of namespace id.
func LogName(id layout.NSID) string { return fmt.Sprintf("ns%d.log", id) }

// Prepare makes the folder dir of a recording to come: a copy of the image at path, and an empty log
// for each namespace. It returns the logs' paths.
func Prepare(dir, path string, ids []layout.NSID) (map[layout.NSID]string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o777); err != nil {
		if errors.Is(err, os.ErrExist) {
			return nil, &image.HintError{Err: err, Hint: "a recording is not overwritten: remove it, or choose another name"}
		}
		return nil, err
	}
	if err := image.Convert(path, filepath.Join(dir, BaseName), image.ConvertOptions{Layout: layout.Trailing}); err != nil {
		return nil, errors.Join(err, os.Remove(dir))
	}
	logs := map[layout.NSID]string{}
	for _, id := range ids {
		logs[id] = filepath.Join(dir, LogName(id))
		if err := os.WriteFile(logs[id], nil, 0o666); err != nil {
			return nil, err
		}
	}
	return logs, nil
}

// Only is the namespace of the only log in dir.
func Only(dir string) (layout.NSID, error) {
	names, err := filepath.Glob(filepath.Join(dir, "ns*.log"))
	if err != nil {
		return 0, err
	}
	var id layout.NSID
	switch len(names) {
	case 0:
		return 0, fmt.Errorf("%s: no write log in it; zimg run --record makes one: %w", dir, os.ErrNotExist)
	case 1:
		if _, err := fmt.Sscanf(filepath.Base(names[0]), "ns%d.log", &id); err != nil {
			return 0, fmt.Errorf("%s: %w", names[0], err)
		}
		return id, nil
	}
	return 0, fmt.Errorf("%s: logs of %d namespaces: say which one with --ns: %w", dir, len(names), layout.ErrRange)
}

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
