package qemu

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"zimg/image"
	"zimg/image/disk"
	"zimg/image/journal"
)

// A tracelog is the log of QEMU as far as it is the journal of a run: the lines about zones, which a repair after a crash
// looks for in the file IMAGE.ztrace.
//
// QEMU has one log. If the caller names a file for it (-D), IMAGE.ztrace is a symbolic link to that. If the caller has
// QEMU log without a file, its lines are meant for standard error: follow copies them there out of IMAGE.ztrace.
// With a recording IMAGE.ztrace is a link into that.
type tracelog struct {
	path   string   // IMAGE.ztrace
	events []string // that zimg has enabled, the caller not
	stop   chan struct{}
	done   sync.WaitGroup
}

// newTracelog makes IMAGE.ztrace, empty, with the access of the image, and lets QEMU find it.
func newTracelog(s *session) (*tracelog, error) {
	path, err := filepath.Abs(s.Images[0].Path())
	if err != nil {
		return nil, err
	}
	t := &tracelog{path: path + journal.TraceSuffix}
	if err := os.Remove(t.path); err != nil && !errors.Is(err, os.ErrNotExist) { // of a run long ago
		return nil, err
	}
	if s.caller.file != "" {
		return t, nil // find makes it, when it is known where that file is
	}
	name := t.path
	if s.Record != nil {
		name = s.Record.Trace
	}
	if err := createLike(name, s.Images[0]); err != nil {
		return nil, err
	}
	if s.Record != nil {
		if err := os.Symlink(name, t.path); err != nil {
			return nil, err
		}
	}
	return t, os.Symlink(t.path, s.private.path("trace"))
}

// createLike makes the empty file name with the mode, owner and group of an image.
func createLike(name string, im *image.Image) error {
	like, err := disk.Like(im.Files().Data[0])
	if err != nil {
		return err
	}
	file, err := disk.CreateLike(disk.OS, name, like)
	if err != nil {
		return err
	}
	return file.Close()
}

// traceArgs have QEMU open its log. It gets the log by a name in the folder of the sockets, since a name for -D
// cannot have a %, which IMAGE may have. The event does not occur: those that matter are enabled when the guest
// starts.
func traceArgs(s *session) []string {
	args := []string{"-trace", "pci_nvme_err_cfs"}
	if s.caller.file == "" {
		args = append(args, "-D", s.private.path("trace"))
	}
	return args
}

// find makes IMAGE.ztrace lead to the caller's log, which QEMU has opened by now.
func (t *tracelog) find(s *session) error {
	if s.caller.file == "" {
		return nil
	}
	name := strings.Replace(s.caller.file, "%d", fmt.Sprint(s.pid), 1)
	if !filepath.IsAbs(name) {
		dir, err := workingDir(s.pid)
		if err != nil {
			return fmt.Errorf("find the folder of QEMU's log %s: %w", name, err)
		}
		name = filepath.Join(dir, name)
	}
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a file", name)
	}
	return os.Symlink(name, t.path)
}

// enable has QEMU trace events from now on.
func (t *tracelog) enable(s *session, events []string) error {
	for _, event := range events {
		var states []struct{ State string }
		name := map[string]any{"name": event}
		var refused *QMPError
		// Not every QEMU has every event: what one does not trace the data must say.
		err := s.qmp.Do("trace-event-get-state", name, &states)
		if err == nil && len(states) > 0 && states[0].State == "disabled" {
			t.events = append(t.events, event)
			name["enable"] = true
			err = s.qmp.Do("trace-event-set-state", name, nil)
		}
		if err != nil && !errors.As(err, &refused) {
			return err
		}
	}
	if s.caller.log && s.caller.file == "" && s.Stderr != nil {
		t.stop = make(chan struct{})
		t.done.Go(func() { t.follow(s.Stderr) })
	}
	return nil
}

var traceLine = regexp.MustCompile(`^(?:\d+@[\d.]+:)?(pci_nvme_\w+) `)

// ours reports whether a line is there because zimg has asked for it.
func (t *tracelog) ours(line string) bool {
	m := traceLine.FindStringSubmatch(line)
	if m == nil {
		return false
	}
	for _, event := range t.events {
		if event == m[1] {
			return true
		}
	}
	return false
}

// followPoll is how often follow looks for more.
const followPoll = 100 * time.Millisecond

// follow copies the caller's lines of the log to w until it is told to stop, and then what is left.
func (t *tracelog) follow(w io.Writer) {
	file, err := os.Open(t.path)
	if err != nil {
		return
	}
	defer func() { _ = file.Close() }()
	r := bufio.NewReader(file)
	line := ""
	for last := false; ; {
		part, err := r.ReadString('\n')
		line += part
		if err == nil {
			if !t.ours(line) {
				_, _ = io.WriteString(w, line)
			}
			line = ""
			continue
		}
		if last {
			_, _ = io.WriteString(w, line)
			return
		}
		select {
		case <-t.stop:
			last = true
		case <-time.After(followPoll):
		}
	}
}

// end has follow come to its end.
func (t *tracelog) end() {
	if t.stop != nil {
		close(t.stop)
		t.done.Wait()
		t.stop = nil
	}
}
