// Package journal keeps what a run cannot read off the data when it dies.
//
// While zimg run has an image in use two files lie beside it:
//
//	IMAGE.zjournal  written by zimg before the guest starts, once: the session,
//	                and for each zone that ends in zeroes where its data ends
//	IMAGE.ztrace    written by QEMU as it goes: a line for each command that manages
//	                a zone, and for each Write Zeroes
//
// The trace comes from QEMU's own trace events (hw/nvme/trace-events). Its lines are
// whole after a SIGKILL of QEMU, since each is one write; after a crash of the host
// the last may be torn or missing. What a journal does not know makes a repair less
// exact, never wrong.
package journal

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"zimg/image/disk"
	"zimg/layout"
)

// Suffixes of the two files.
const (
	StartSuffix = ".zjournal"
	TraceSuffix = ".ztrace"
)

// TraceEvents lists the events that QEMU is to log for an image with so many
// zoned namespaces. With more than one pci_nvme_io_cmd tells which of them the others
// mean: a line for each I/O, so only where it is needed. QEMU 7.2 does not have
// pci_nvme_write_zeroes.
func TraceEvents(zoned int) []string {
	events := []string{"pci_nvme_finish_zone", "pci_nvme_reset_zone", "pci_nvme_zd_extension_set", "pci_nvme_write_zeroes"}
	if zoned > 1 {
		events = append(events, "pci_nvme_io_cmd")
	}
	return events
}

// Start is what zimg writes down before the guest starts.
type Start struct {
	Version int    `json:"version"`
	Session string `json:"session"`
	// Ends has for each namespace (its id as a decimal string) the zones whose last written
	// blocks are zeroes that take no space: by number the LBA where their data ends.
	Ends map[string]map[string]uint64 `json:"data-ends"`
}

// Write makes IMAGE.zjournal, durable, with the access of the image. The trace is QEMU's, which has it open by now.
func Write(fsys disk.FS, image string, session [16]byte, ends map[layout.NSID]map[uint64]layout.LBA) (err error) {
	if err := fsys.Remove(image + StartSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	st := Start{Version: 1, Session: hex.EncodeToString(session[:]), Ends: map[string]map[string]uint64{}}
	for ns, zones := range ends {
		m := map[string]uint64{}
		for i, end := range zones {
			m[strconv.FormatUint(i, 10)] = uint64(end)
		}
		st.Ends[strconv.FormatUint(uint64(ns), 10)] = m
	}
	b, err := json.Marshal(&st)
	if err != nil {
		return err
	}
	like, err := disk.LikeName(fsys, image)
	if errors.Is(err, fs.ErrNotExist) {
		like, err = disk.Access{Mode: 0o600}, nil
	}
	if err != nil {
		return err
	}
	file, err := disk.CreateLike(fsys, image+StartSuffix, like)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err := file.WriteAt(append(b, '\n'), 0); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	return fsys.SyncDir(image + StartSuffix)
}

// Remove removes both files where they exist.
func Remove(fsys disk.FS, image string) error {
	for _, suffix := range []string{TraceSuffix, StartSuffix} {
		if err := fsys.Remove(image + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Zone is what happened to a zone, as far as it still matters.
type Zone struct {
	Reset        bool       // it was reset; the rest happened since
	Finished     bool       // it was finished
	Written      bool       // zeroes were written
	Zeroes       layout.LBA // the end of the last Write Zeroes
	ExtensionSet bool       // a descriptor extension was set
}

// Journal is a journal that was read.
type Journal struct {
	Torn  bool // part of it is missing
	files []string
	ends  map[layout.NSID]map[uint64]layout.LBA
	zones map[layout.NSID]map[uint64]*Zone
}

// Files are the files that j was read from.
func (j *Journal) Files() []string { return j.files }

// Zone is what j knows of zone i of a namespace.
func (j *Journal) Zone(ns layout.NSID, i uint64) Zone {
	if z := j.zones[ns][i]; z != nil {
		return *z
	}
	return Zone{}
}

// Zones are the zones of a namespace that j speaks of.
func (j *Journal) Zones(ns layout.NSID) map[uint64]*Zone { return j.zones[ns] }

// DataEnd is where the data of a zone ended when the run began, if not at its
// write pointer.
func (j *Journal) DataEnd(ns layout.NSID, i uint64) (layout.LBA, bool) {
	end, ok := j.ends[ns][i]
	return end, ok
}

// Load reads the journal of the session beside image; nil if there is none, or
// none of that session.
func Load(fsys disk.FS, image string, session [16]byte, namespaces []*layout.Namespace) (*Journal, error) {
	b, err := readAll(fsys, image+StartSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	j := &Journal{files: []string{image + StartSuffix}, ends: map[layout.NSID]map[uint64]layout.LBA{}, zones: map[layout.NSID]map[uint64]*Zone{}}
	var st Start
	if err := json.Unmarshal(b, &st); err != nil || st.Version != 1 || st.Session != hex.EncodeToString(session[:]) {
		return nil, nil //nolint:nilerr // torn, or of another run: the data alone must tell
	}
	for ns, zones := range st.Ends {
		id, err := strconv.ParseUint(ns, 10, 32)
		if err != nil {
			return nil, nil //nolint:nilerr // as above
		}
		m := map[uint64]layout.LBA{}
		for i, end := range zones {
			if n, err := strconv.ParseUint(i, 10, 64); err == nil {
				m[n] = layout.LBA(end)
			}
		}
		j.ends[layout.NSID(id)] = m
	}
	trace, err := readAll(fsys, image+TraceSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		j.Torn = true
		return j, nil
	}
	if err != nil {
		return nil, err
	}
	j.files = append(j.files, image+TraceSuffix)
	j.parse(bytes.NewReader(trace), namespaces)
	return j, nil
}

// traceLimit bounds how much of a trace is read: a run long enough for more
// has lost its journal.
const traceLimit = 1 << 30

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
		return nil, fmt.Errorf("%s: %d bytes, too long for a journal", name, size)
	}
	b := make([]byte, size)
	n, err := file.ReadAt(b, 0)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return b[:n], err
}

// parse reads QEMU's trace. Lines of other events, or that are not understood,
// are passed over.
func (j *Journal) parse(r io.Reader, namespaces []*layout.Namespace) {
	byID := map[layout.NSID]*layout.Namespace{}
	for _, n := range namespaces {
		byID[n.ID] = n
	}
	var current *layout.Namespace
	if len(namespaces) == 1 {
		current = namespaces[0]
	}
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), 1<<20)
	for lines.Scan() {
		_, line, ok := strings.Cut(lines.Text(), "pci_nvme_")
		if !ok {
			continue
		}
		event, rest, _ := strings.Cut(line, " ")
		switch event {
		case "io_cmd":
			if id, ok := field(rest, "nsid "); ok {
				current = byID[layout.NSID(id)]
			}
		case "write_zeroes":
			j.writeZeroes(rest, byID)
		default:
			if current != nil {
				j.manage(current, event, rest)
			}
		}
	}
	if lines.Err() != nil {
		j.Torn = true
	}
}

// field is the number behind key.
func field(s, key string) (uint64, bool) {
	_, rest, ok := strings.Cut(s, key)
	if !ok {
		return 0, false
	}
	end := strings.IndexAny(rest, " ,\n")
	if end < 0 {
		end = len(rest)
	}
	n, err := strconv.ParseUint(rest[:end], 0, 64)
	return n, err == nil
}

func (j *Journal) zone(n *layout.Namespace, i uint64) *Zone {
	if j.zones[n.ID] == nil {
		j.zones[n.ID] = map[uint64]*Zone{}
	}
	z := j.zones[n.ID][i]
	if z == nil {
		z = &Zone{}
		j.zones[n.ID][i] = z
	}
	return z
}

// writeZeroes: "cid 1 nsid 1 slba 2048 nlb 16".
func (j *Journal) writeZeroes(rest string, byID map[layout.NSID]*layout.Namespace) {
	id, ok1 := field(rest, "nsid ")
	slba, ok2 := field(rest, "slba ")
	nlb, ok3 := field(rest, "nlb ")
	n := byID[layout.NSID(id)]
	if !ok1 || !ok2 || !ok3 || n == nil || slba >= uint64(n.Blocks) || nlb > uint64(n.Blocks)-slba {
		return
	}
	z := j.zone(n, slba/uint64(n.ZoneSize))
	z.Written = true
	z.Zeroes = max(z.Zeroes, layout.LBA(slba+nlb))
}

// manage: "reset zone, slba=2048, idx=1, all=0".
func (j *Journal) manage(n *layout.Namespace, event, rest string) {
	idx, ok := field(rest, "idx=")
	if !ok || idx >= n.ZoneCount {
		return
	}
	all, _ := field(rest, "all=")
	first, last := idx, idx
	if all == 1 {
		first, last = 0, n.ZoneCount-1
	}
	for i := first; i <= last; i++ {
		switch event {
		case "reset_zone":
			*j.zone(n, i) = Zone{Reset: true}
		case "finish_zone":
			// Finishing all takes only zones that are active; which were is not in the trace.
			if all != 1 {
				j.zone(n, i).Finished = true
			}
		case "zd_extension_set":
			j.zone(n, i).ExtensionSet = true
		}
	}
}
