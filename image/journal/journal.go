// Package journal keeps what a run cannot read off the data when it dies: zones that were finished or reset, and blocks of
// zeroes that were written.
//
// While a run has an image in use two files are beside it:
//
//	IMAGE.zjournal  what is known of each zone that was used, up to some place in the trace
//	IMAGE.ztrace    QEMU's trace: lines for each command, of the run's drives together (several images: one file with
//	                several names)
//
// zimg follows the trace while QEMU writes it (follow.go), folds its lines into one record per zone (trace.go), writes
// those down from time to time, and gives the space of the lines before that back. So neither file grows with the length of
// a run. A line of the trace is one write of QEMU's, and it is whole after a SIGKILL of QEMU, of zimg or of both. After a
// crash of the host neither file is trusted with what was written, since nothing syncs them.
//
// What a journal does not know makes a repair less exact, never wrong.
package journal

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"strconv"

	"zimg/image/disk"
	"zimg/layout"
)

// Suffixes of the two files, and of a journal that is being written.
const (
	StartSuffix = ".zjournal"
	TraceSuffix = ".ztrace"
	newSuffix   = ".zjournal~"
)

const version = 2

// traceLimit bounds how much of a trace is read, in bytes: a run that left more has lost its journal.
const traceLimit = 1 << 30

// Base is the path that the names of a journal begin with: that of the image itself, not of a symbolic link to it.
func Base(image string) string {
	if name, err := filepath.EvalSymlinks(image); err == nil {
		return name
	}
	return image
}

// document is IMAGE.zjournal.
type document struct {
	Version    int      `json:"version"`
	Session    string   `json:"session"`
	Boot       string   `json:"boot"`
	Mark       int64    `json:"mark"` // the place in the trace from which on it is needed
	Namespaces []record `json:"namespaces"`
}

// record is a namespace in it. Zones are named by their number in decimal.
type record struct {
	ID        layout.NSID           `json:"id"`
	Backend   string                `json:"backend"`
	Sharers   int                   `json:"sharers"`
	FinishAll int64                 `json:"finish-all"`
	Zones     map[string]*Zone      `json:"zones"`
	Ends      map[string]layout.LBA `json:"data-ends"`
}

// Start is what is known when a run begins. Ends has for each namespace the zones whose last written blocks take no space,
// with the LBA where their data ends.
type Start struct {
	Session [16]byte
	Boot    [16]byte
	Ends    map[layout.NSID]map[uint64]layout.LBA
}

// Write replaces IMAGE.zjournal by what is known of drives, those of one image, at mark. It has the access of the image. With
// sync it is durable. It is for one goroutine at a time.
func Write(fsys disk.FS, image string, st *Start, drives []*Drive, mark int64, sync bool) (err error) {
	base := Base(image)
	doc := document{Version: version, Session: hex.EncodeToString(st.Session[:]), Boot: hex.EncodeToString(st.Boot[:]), Mark: mark}
	for _, d := range drives {
		r := record{ID: d.Namespace.ID, Backend: d.Backend, Sharers: d.Sharers, FinishAll: d.finishAll, Zones: map[string]*Zone{}, Ends: map[string]layout.LBA{}}
		for i, z := range d.zones {
			r.Zones[strconv.FormatUint(i, 10)] = z
		}
		for i, end := range st.Ends[d.Namespace.ID] {
			r.Ends[strconv.FormatUint(i, 10)] = end
		}
		doc.Namespaces = append(doc.Namespaces, r)
	}
	b, err := json.Marshal(&doc)
	if err != nil {
		return err
	}
	if err := fsys.Remove(base + newSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	like, err := disk.LikeName(fsys, base)
	if errors.Is(err, fs.ErrNotExist) {
		like, err = disk.Access{Mode: 0o600}, nil
	}
	if err != nil {
		return err
	}
	if err := writeFile(fsys, base+newSuffix, like, append(b, '\n'), sync); err != nil {
		return err
	}
	if err := fsys.Rename(base+newSuffix, base+StartSuffix); err != nil || !sync {
		return err
	}
	return fsys.SyncDir(base + StartSuffix)
}

func writeFile(fsys disk.FS, name string, like disk.Access, b []byte, sync bool) (err error) {
	file, err := disk.CreateLike(fsys, name, like)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err := file.WriteAt(b, 0); err != nil || !sync {
		return err
	}
	return file.Sync()
}

// Remove removes the files of a journal where they exist.
func Remove(fsys disk.FS, image string) error {
	base := Base(image)
	for _, suffix := range []string{TraceSuffix, newSuffix, StartSuffix} {
		if err := fsys.Remove(base + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Journal is a journal that was read.
type Journal struct {
	Torn   bool // part of it is missing
	files  []string
	drives map[layout.NSID]*Drive
	ends   map[layout.NSID]map[uint64]layout.LBA
}

// Files are the files that j was read from.
func (j *Journal) Files() []string { return j.files }

// Zone is what j knows of zone i of a namespace; active says whether it was active when the run began.
func (j *Journal) Zone(ns layout.NSID, i uint64, active bool) Zone {
	d := j.drives[ns]
	if d == nil {
		return Zone{}
	}
	z := Zone{}
	if p := d.zones[i]; p != nil {
		z = *p
	}
	if d.finishAll > z.ResetAt && (z.Since > 0 && z.Since < d.finishAll || z.Since == 0 && !z.Reset && active) {
		z.Finished = true
	}
	return z
}

// Mentions reports whether j may know something of zone i of a namespace.
func (j *Journal) Mentions(ns layout.NSID, i uint64) bool {
	d := j.drives[ns]
	return d != nil && d.zones[i] != nil
}

// DataEnd is where the data of a zone ended when the run began, if not at its write pointer.
func (j *Journal) DataEnd(ns layout.NSID, i uint64) (layout.LBA, bool) {
	end, ok := j.ends[ns][i]
	return end, ok
}

// Load reads the journal of the session beside image, which began in this boot of the host or in another; nil if there is
// none, or none of that session. A journal that cannot be understood is Torn, not an error.
func Load(fsys disk.FS, image string, session, boot [16]byte, namespaces []*layout.Namespace) (*Journal, error) {
	base := Base(image)
	b, err := readAll(fsys, base+StartSuffix)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, disk.ErrNotOwn) { // a link that is no journal of ours
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var doc document
	if err := json.Unmarshal(b, &doc); err != nil || doc.Version != version || doc.Session != hex.EncodeToString(session[:]) {
		return nil, nil //nolint:nilerr // torn, or of another run: only the data is left
	}
	j := &Journal{files: []string{base + StartSuffix}, drives: map[layout.NSID]*Drive{}, ends: map[layout.NSID]map[uint64]layout.LBA{}}
	var drives []*Drive
	for _, n := range namespaces {
		for i := range doc.Namespaces {
			if r := &doc.Namespaces[i]; r.ID == n.ID && j.drives[n.ID] == nil {
				d := r.drive(n)
				drives = append(drives, d)
				j.drives[n.ID] = d
				j.ends[n.ID] = numbered(r.Ends)
			}
		}
	}
	if doc.Boot != hex.EncodeToString(boot[:]) {
		j.Torn = true
	}
	err = j.fold(fsys, base+TraceSuffix, doc.Mark, NewFold(drives))
	if j.Torn { // what is known of writes may be of writes that the host has lost, or may lack a later reset
		for _, d := range drives {
			for _, z := range d.zones {
				z.Written = 0
			}
		}
	}
	return j, err
}

func (r *record) drive(n *layout.Namespace) *Drive {
	d := &Drive{Namespace: n, Backend: r.Backend, Sharers: max(0, r.Sharers), finishAll: r.FinishAll, zones: numbered(r.Zones)}
	for i, z := range d.zones {
		end := layout.LBA(i)*n.ZoneSize + n.ZoneSize
		if i >= n.ZoneCount || z == nil {
			delete(d.zones, i)
			continue
		}
		z.Written, z.Sent = min(z.Written, end), min(z.Sent, end)
	}
	return d
}

func numbered[T any](m map[string]T) map[uint64]T {
	out := map[uint64]T{}
	for name, v := range m {
		if i, err := strconv.ParseUint(name, 10, 64); err == nil {
			out[i] = v
		}
	}
	return out
}

// fold folds the trace from mark on.
func (j *Journal) fold(fsys disk.FS, name string, mark int64, f *Fold) (err error) {
	file, err := disk.OpenBeside(fsys, filepath.Dir(name), filepath.Base(name), disk.ReadOnly)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, disk.ErrNotOwn) {
		j.Torn = true
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	j.files = append(j.files, name)
	size, err := file.Size()
	if err != nil {
		return err
	}
	if mark < 0 || mark > size || size-mark > traceLimit {
		j.Torn = true
		return nil
	}
	r := bufio.NewReaderSize(io.NewSectionReader(file, mark, size-mark), maxLine)
	for at := mark; ; {
		line, err := r.ReadSlice('\n')
		switch {
		case err == nil:
			f.Line(string(line[:len(line)-1]), at)
		case errors.Is(err, io.EOF):
			return nil
		case !errors.Is(err, bufio.ErrBufferFull): // a piece of a long line is passed over
			return err
		}
		at += int64(len(line))
	}
}

func readAll(fsys disk.FS, name string) (_ []byte, err error) {
	file, err := disk.OpenBeside(fsys, filepath.Dir(name), filepath.Base(name), disk.ReadOnly)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	size, err := file.Size()
	if err != nil {
		return nil, err
	}
	if size > traceLimit {
		return nil, nil
	}
	b := make([]byte, size)
	n, err := file.ReadAt(b, 0)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return b[:n], err
}
