package qemu

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"zimg/image"
	"zimg/image/disk"
	"zimg/image/goroutine"
	"zimg/image/journal"
	"zimg/image/zns"
	"zimg/layout"
)

// A tracelog is the log of QEMU, and the journals that are made of it.
//
// QEMU has one log, and its trace events go there. zimg has it write to a file of zimg's own and follows that: see package
// journal. QEMU gets the name of a symbolic link in the session's folder, so it does not matter what the image is called and
// which folder QEMU runs in. Lines that the caller asked for are passed on to where the caller's own log goes: the file
// of -D, or standard error.
type tracelog struct {
	file     disk.File          // the .ztrace of the first image; other images, and a recording, have other names of it
	own      map[string]bool    // events that zimg has enabled and the caller has not
	drives   [][]*journal.Drive // of each image with zones
	starts   []*journal.Start
	follower *journal.Follower
	forward  *os.File // the caller's log, if that is a file
	stop     chan struct{}
	done     chan error
}

// newTracelog makes the log, empty, with the access of the first image, and lets QEMU find it.
func newTracelog(s *session) (_ *tracelog, err error) {
	if s.caller.ownLog {
		return nil, errors.New("QEMU writes a separate log for each thread")
	}
	if strings.Contains(s.private.dir, "%") {
		return nil, fmt.Errorf("%s: QEMU does not accept a log name with %%", s.private.dir)
	}
	var names []string
	for _, im := range s.Images {
		if err := journal.Remove(im.Files().FS, im.Path()); err != nil { // of a run long ago
			return nil, err
		}
		base, err := filepath.Abs(journal.Base(im.Path()))
		if err != nil {
			return nil, err
		}
		names = append(names, base+journal.TraceSuffix)
	}
	if s.Record != nil {
		names = append(names, s.Record.Trace)
	}
	like, err := disk.Like(s.Images[0].Files().Data[0])
	if err != nil {
		return nil, err
	}
	t := &tracelog{own: map[string]bool{}}
	if t.file, err = disk.CreateLike(disk.OS, names[0], like); err != nil {
		return nil, err
	}
	for _, name := range names[1:] {
		// On another file system there is none: then the journal of that image ends where zimg ends.
		_ = os.Link(names[0], name)
	}
	if err := os.Symlink(names[0], s.private.path("trace")); err != nil {
		return nil, errors.Join(err, t.file.Close(), os.Remove(names[0]))
	}
	return t, nil
}

// traceArgs have QEMU open its log. The event does not occur: those that matter are enabled when the guest starts.
func traceArgs(s *session) []string {
	return []string{"-trace", "pci_nvme_err_cfs", "-D", s.private.path("trace")}
}

// enable has QEMU log events from now on, and takes note of those that the caller has not asked for. Not every QEMU has every
// event.
//
// QEMU reads its monitor byte by byte, at 10 to 20 us each, and looks through all its events for each name. So it is only asked which
// events are enabled where lines may be the caller's, and about those of its controller, which are most, together.
func (t *tracelog) enable(s *session, events []string) error {
	const family = "pci_nvme_"
	off := map[string]bool{} // the events that are known, and not enabled
	asked := map[string]bool{}
	var list []string
	for _, event := range events {
		pattern := event
		if strings.HasPrefix(event, family) {
			pattern = family + "*"
		}
		switch {
		case slices.Contains(list, event):
			continue
		case !s.caller.log && s.caller.file == "": // no line goes to the caller
			off[event] = true
		case !asked[pattern]:
			asked[pattern] = true
			if err := findDisabled(s, pattern, off); err != nil {
				return err
			}
		}
		if off[event] {
			list = append(list, event)
		}
	}
	for _, event := range list {
		t.own[event] = true
	}
	refused, err := setEvents(s, list, true)
	if err != nil {
		return err
	}
	for i, event := range list {
		if refused[i] != nil {
			delete(t.own, event)
		}
	}
	return nil
}

// findDisabled adds the events to off whose names match pattern and that are disabled: none, if QEMU has no such event.
func findDisabled(s *session, pattern string, off map[string]bool) error {
	var states []struct{ Name, State string }
	err := s.qmp.Do("trace-event-get-state", map[string]any{"name": pattern}, &states)
	var refused *QMPError
	if err != nil && !errors.As(err, &refused) {
		return err
	}
	for _, e := range states {
		if e.State == "disabled" {
			off[e.Name] = true
		}
	}
	return nil
}

// disable undoes enable.
func (t *tracelog) disable(s *session) error {
	refused, err := setEvents(s, slices.Collect(maps.Keys(t.own)), false)
	if err != nil {
		return err
	}
	for _, r := range refused {
		if r != nil {
			return r
		}
	}
	clear(t.own)
	return nil
}

// setEvents enables or disables events; refused has an element for each.
func setEvents(s *session, events []string, on bool) (refused []*QMPError, err error) {
	var arguments []any
	for _, event := range events {
		arguments = append(arguments, map[string]any{"name": event, "enable": on})
	}
	if len(arguments) == 0 {
		return nil, nil
	}
	return s.qmp.doEach("trace-event-set-state", arguments)
}

// meet finds the block backend of each zoned namespace, by the line that a command of ours leaves in the trace. The
// placeholder is below it. A trace without such a line is of no use.
func (d *stock) meet() error {
	if d.trace == nil || d.trace.drives != nil {
		return nil
	}
	if err := d.trace.enable(d.session, []string{string(journal.Request)}); err != nil {
		return err
	}
	var met [][]*journal.Drive
	err := d.each(func(c *Controller, im *image.Image) error {
		var drives []*journal.Drive
		for _, n := range im.Namespaces() {
			if !n.Zoned() {
				continue
			}
			backend, err := d.backend(c, n.ID)
			if err != nil {
				return err
			}
			drives = append(drives, &journal.Drive{Namespace: n.Namespace, Backend: backend})
		}
		met = append(met, drives)
		return nil
	})
	if err != nil {
		return err
	}
	if err := d.trace.disable(d.session); err != nil {
		return err
	}
	var all []*journal.Drive
	d.trace.drives = met
	for _, drives := range met {
		all = append(all, drives...)
	}
	for _, drive := range all {
		for _, other := range all {
			if drive != other && drive.Namespace.ID == other.Namespace.ID {
				drive.Sharers++
			}
		}
		if drive.Backend == "" {
			err := d.removeJournal()
			d.withoutJournal(errors.New("QEMU's log does not show a write"))
			return err
		}
	}
	return nil
}

// backend writes a block of zeroes to zone 0 of namespace id, which it resets before and after, and returns the block backend that did it.
func (d *stock) backend(c *Controller, id layout.NSID) (string, error) {
	before, err := d.trace.file.Size()
	if err != nil {
		return "", err
	}
	commands := append([]command{zoneSend(id, zns.ActionReset, 0, false)}, writeZeroes(id, 0, 1)...)
	commands = append(commands, zoneSend(id, zns.ActionReset, 0, false))
	for _, cmd := range commands {
		if err := c.run(&c.io, []command{cmd}, 0); err != nil {
			return "", err
		}
	}
	after, err := d.trace.file.Size()
	if err != nil || after <= before {
		return "", err
	}
	b := make([]byte, after-before)
	if _, err := d.trace.file.ReadAt(b, before); err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	for line := range strings.Lines(string(b)) {
		if e, ok := journal.ParseEvent(strings.TrimSuffix(line, "\n")); ok && e.Kind == journal.Request {
			return e.Backend, nil
		}
	}
	return "", nil
}

// beginTrace writes the journals, of what is in the images now, and starts to follow the trace.
func (d *stock) beginTrace() error {
	t := d.trace
	if t == nil {
		return nil
	}
	d.endTrace()
	t.starts = nil
	var all []*journal.Drive
	k := 0
	for _, im := range d.Images {
		if !hasZones(im) {
			t.starts = append(t.starts, nil)
			continue
		}
		ends, err := zeroTails(im)
		if err != nil {
			return err
		}
		t.starts = append(t.starts, &journal.Start{Session: d.run, Boot: disk.BootID(), Ends: ends})
		for i, n := range zoned(im) {
			active := map[uint64]bool{} // a copy: the image changes while the trace is followed
			z := uint64(0)
			for zone, err := range n.All(0, n.ZoneCount) {
				if err != nil {
					return err
				}
				if zone.State.Active() {
					active[z] = true
				}
				z++
			}
			t.drives[k][i].Begin(func(i uint64) bool { return active[i] })
		}
		all = append(all, t.drives[k]...)
		k++
	}
	size, err := t.file.Size()
	if err != nil {
		return err
	}
	if err := d.saveJournals(size, true); err != nil {
		return err
	}
	f := journal.NewFollower(t.file, size, journal.NewFold(all))
	f.Save = func(mark int64) error { return d.saveJournals(mark, false) }
	f.Keep = d.Record != nil
	if f.Forward, err = d.callerLog(); err != nil {
		return err
	}
	f.Wants = t.wants
	names := journal.Events()
	if d.Record != nil {
		names = append(names, d.Record.TraceEvents...)
	}
	if err := t.enable(d.session, names); err != nil { // before the follower asks which events are zimg's own
		return err
	}
	stop, done := make(chan struct{}), make(chan error, 1)
	t.follower, t.stop, t.done = f, stop, done
	goroutine.Go(d.Panicked, func() { done <- f.Run(stop) })
	return nil
}

func (d *stock) saveJournals(mark int64, sync bool) error {
	k := 0
	for i, im := range d.Images {
		if d.trace.starts[i] == nil {
			continue
		}
		if err := journal.Write(im.Files().FS, im.Path(), d.trace.starts[i], d.trace.drives[k], mark, sync); err != nil {
			return err
		}
		k++
	}
	return nil
}

// callerLog is where QEMU's log goes that the caller asked for: the file of -D, or standard error; nil if there is none.
func (d *stock) callerLog() (io.Writer, error) {
	switch {
	case d.trace.forward != nil:
		return d.trace.forward, nil
	case d.caller.file != "":
		name := strings.Replace(d.caller.file, "%d", fmt.Sprint(d.pid), 1)
		if !filepath.IsAbs(name) {
			dir, err := workingDir(d.pid)
			if err != nil {
				return nil, fmt.Errorf("find the directory of QEMU's log %s: %w", name, err)
			}
			name = filepath.Join(dir, name)
		}
		var err error
		d.trace.forward, err = os.Create(name)
		return d.trace.forward, err
	case d.caller.log && d.Stderr != nil:
		return d.Stderr, nil
	}
	return nil, nil
}

// endTrace folds what is left of the trace, once QEMU has ended, or its guest.
func (d *stock) endTrace() {
	t := d.trace
	if t == nil || t.follower == nil {
		return
	}
	close(t.stop)
	select {
	case err := <-t.done:
		if err != nil {
			d.Log("the journal of this run is incomplete: %v", err)
		}
	case <-time.After(d.Timeout):
		d.Log("the journal of this run is incomplete")
	}
	t.follower = nil
}

// wants reports whether a line of the log that begins with the name of an event is one that the caller asked for.
func (t *tracelog) wants(event string) bool { return !t.own[event] }

// zoned are the namespaces of im that have zones.
func zoned(im *image.Image) []*image.Namespace {
	var list []*image.Namespace
	for _, n := range im.Namespaces() {
		if n.Zoned() {
			list = append(list, n)
		}
	}
	return list
}

// closeTrace ends all that has to do with the log, once QEMU has ended.
func (d *stock) closeTrace() error {
	if d.trace == nil {
		return nil
	}
	d.endTrace()
	err := d.trace.file.Close()
	if d.trace.forward != nil {
		err = errors.Join(err, d.trace.forward.Close())
	}
	d.trace = nil
	return err
}
