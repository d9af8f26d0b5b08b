package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"zimg/image"
	"zimg/image/journal"
	"zimg/layout"
)

// A session is one run of QEMU:
//
//	start QEMU paused, its namespaces on nodes that swallow writes
//	drive the controllers into the saved state            restore.go
//	put the images under the nodes, reset the machine
//	mark the images as in use; let the guest go
//	... until it has shut down, and QEMU is paused again ...
//	reset the machine, read the zones                     capture.go
//	commit them, and only then let QEMU go
//
// The files of an image are opened and locked by zimg and handed to QEMU as file
// descriptors. So QEMU's locks are on zimg's own open file descriptions: the two do not
// get in each other's way, and nobody else comes in between, also if QEMU is killed.

// Config says what to run.
type Config struct {
	Images  []*image.Image // opened for writing, clean
	Command []string       // QEMU and its arguments
	// Streams of QEMU.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Log, if not nil, is told what happens.
	Log func(format string, args ...any)
	// Timeout is how long QEMU may take to answer; 0 for the default.
	Timeout time.Duration
}

// DefaultTimeout for an answer of QEMU: it answers within milliseconds, unless
// it is too old for this, or hangs.
const DefaultTimeout = 20 * time.Second

// ErrDied is wrapped by the error of a run whose QEMU ended before the zones were saved.
var ErrDied = errors.New("QEMU ended before the zones could be saved")

// ExitError is how QEMU ended: its own exit status, 128 + n for a signal n.
type ExitError struct{ Status int }

func (e *ExitError) Error() string { return fmt.Sprintf("QEMU ended with status %d", e.Status) }

type session struct {
	Config
	caller callerArgs
	dir    string
	cmd    *exec.Cmd
	exited chan struct{}
	status int
	qmp    *QMP
	qtest  *QTest
	began  bool // the images are marked as in use
	saved  bool // and their zones committed
	ids    []string
}

// CommandLine is the whole command line that Run starts QEMU with; dir is where
// its sockets are.
func CommandLine(c *Config, dir string) ([]string, error) {
	s := &session{Config: *c, dir: dir}
	return s.commandLine()
}

// Run runs QEMU until the guest has shut down and its zones are committed. It
// returns ErrDied if QEMU ended before that: then the images are still marked as in use.
// ctx asks the guest to power down; a second signal on stop saves the zones as they are and ends QEMU.
func Run(ctx context.Context, c Config, stop <-chan struct{}) (status int, err error) {
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Log == nil {
		c.Log = func(string, ...any) {}
	}
	s := &session{Config: c, exited: make(chan struct{})}
	if s.dir, err = os.MkdirTemp("", "zimg-run-"); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(s.dir)) }()
	err = s.run(ctx, stop)
	if s.cmd != nil {
		s.end()
	}
	if !s.began && s.traceFile() != "" { // QEMU has opened its log
		err = errors.Join(err, journal.Remove(c.Images[0].Files().FS, c.Images[0].Path()))
	}
	return s.status, err
}

func (s *session) run(ctx context.Context, stop <-chan struct{}) error {
	if err := s.start(ctx); err != nil {
		return s.explain(err)
	}
	if err := s.restore(); err != nil {
		return s.explain(err)
	}
	if err := s.begin(); err != nil {
		return err
	}
	if s.caller.noReboot {
		if err := s.rebootAction("shutdown"); err != nil {
			return s.died(err)
		}
	}
	if !s.caller.paused {
		if err := s.qmp.Do("cont", nil, nil); err != nil {
			return s.died(err)
		}
	}
	if err := s.wait(ctx, stop); err != nil {
		return s.died(err)
	}
	if err := s.capture(); err != nil {
		return s.died(err)
	}
	_ = s.qmp.Do("quit", nil, nil) // it may be gone before it has answered
	s.awaitExit(s.Timeout)
	return nil
}

// explain makes the error of a QEMU that did not get as far as the guest.
func (s *session) explain(err error) error {
	if errors.Is(err, ErrQEMUGone) {
		s.awaitExit(time.Second)
		select {
		case <-s.exited:
			return &image.HintError{Err: fmt.Errorf("QEMU ended at its start: %w", &ExitError{s.status}), Hint: "nothing in the image was changed; what was wrong QEMU says above"}
		default:
		}
	}
	if errors.Is(err, ErrTimeout) && s.qmp != nil {
		return &image.HintError{Err: err, Hint: fmt.Sprintf("zimg run needs QEMU 7.1 or later, this is %s; nothing in the image was changed", s.qmp.Version)}
	}
	return err
}

// died makes the error of a run that ended without its zones being saved.
func (s *session) died(err error) error {
	if s.saved {
		return err
	}
	return fmt.Errorf("%w: %w", ErrDied, err)
}

// nodes gives the arguments for images[k]: nodes that swallow writes, and devices.
func (s *session) nodes(k int, set int) []string {
	im, id := s.Images[k], fmt.Sprintf("zimg%d", k)
	s.ids = append(s.ids, id)
	var args []string
	var namespaces []*layout.Namespace
	sharers := map[uint32]int{}
	for _, n := range im.Namespaces() {
		namespaces = append(namespaces, n.Namespace)
		sharers[n.DataFile]++
	}
	for i, length := range im.Plan().DataLen {
		fd := 3 + set + i
		args = append(args, "-add-fd", fmt.Sprintf("fd=%d,set=%d", fd, fdSet(set+i)),
			"-blockdev", fmt.Sprintf("driver=null-co,node-name=%s,size=%d", nullNode(id, i), length),
			"-blockdev", fmt.Sprintf("driver=file,node-name=%s,filename=/dev/fdset/%d,discard=unmap", FileNode(id, i), fdSet(set+i)))
	}
	for _, n := range namespaces {
		args = append(args, "-blockdev", fmt.Sprintf("driver=raw,node-name=%s,file=%s,offset=%d,size=%d,discard=unmap", RawNode(id, n.ID), nullNode(id, int(n.DataFile)), n.DataOff, n.DataLen))
	}
	return append(args, Devices(namespaces, im.Header().UUID, id, func(n *layout.Namespace) bool { return sharers[n.DataFile] > 1 })...)
}

// fdSet numbers sets so that they are not the caller's.
func fdSet(i int) int { return 0x7a696d + i }

func nullNode(id string, i int) string { return fmt.Sprintf("%s-null%d", id, i) }

func (s *session) commandLine() ([]string, error) {
	var err error
	if len(s.Command) == 0 {
		return nil, errors.New("no QEMU command")
	}
	if s.caller, err = parseCallerArgs(s.Command[1:]); err != nil {
		return nil, err
	}
	args := append([]string(nil), s.Command...)
	set := 0
	for k, im := range s.Images {
		args = append(args, s.nodes(k, set)...)
		set += len(im.Files().Data)
	}
	args = append(args,
		"-S", "-action", "shutdown=pause,reboot=reset",
		"-chardev", "socket,id=zimg-qmp,path="+escape(s.socket("qmp")),
		"-mon", "chardev=zimg-qmp,mode=control",
		"-qtest", "unix:"+escape(s.socket("qtest")), "-qtest-log", "none")
	if trace := s.traceFile(); trace != "" {
		// An event that does not occur, so that QEMU opens the log; those that matter
		// are enabled when the guest starts.
		args = append(args, "-trace", "pci_nvme_err_cfs", "-D", trace)
	}
	return args, nil
}

func (s *session) socket(name string) string { return filepath.Join(s.dir, name) }

// traceFile is where QEMU is to log what the zones go through: beside the only
// image. The log of a QEMU is one file, and it does not say which controller it speaks of, so with
// several images there is none, and a repair leans on the data alone.
func (s *session) traceFile() string {
	if len(s.Images) != 1 || s.caller.log {
		return ""
	}
	return s.Images[0].Path() + journal.TraceSuffix
}

// start starts QEMU and waits until both sockets are connected.
func (s *session) start(ctx context.Context) error {
	argv, err := s.commandLine()
	if err != nil {
		return err
	}
	var listeners []net.Listener
	for _, name := range []string{"qmp", "qtest"} {
		l, err := net.Listen("unix", s.socket(name))
		if err != nil {
			return err
		}
		defer func() { _ = l.Close() }()
		listeners = append(listeners, l)
	}
	if err := s.spawn(argv); err != nil {
		return err
	}
	var conns []net.Conn
	for _, l := range listeners {
		conn, err := s.accept(ctx, l)
		if err != nil {
			return err
		}
		conns = append(conns, conn)
	}
	s.qtest = NewQTest(conns[1], s.Timeout)
	s.qmp, err = NewQMP(conns[0], s.Timeout)
	return err
}

// spawn starts QEMU, with the images' data files as its descriptors from 3 on.
func (s *session) spawn(argv []string) error {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.Stdin, s.Stdout, s.Stderr
	for _, im := range s.Images {
		for _, f := range im.Files().Data {
			fd, ok := f.(interface{ Fd() uintptr })
			if !ok {
				return fmt.Errorf("%s: not a file that can be handed to QEMU", f.Name())
			}
			dup, err := dupFile(fd.Fd(), f.Name())
			if err != nil {
				return err
			}
			defer func() { _ = dup.Close() }()
			cmd.ExtraFiles = append(cmd.ExtraFiles, dup)
		}
	}
	// If zimg is killed QEMU must not go on with nobody to save its zones.
	setParentDeathSignal(cmd)
	started := make(chan error)
	go func() {
		// The signal comes when the thread ends, not the process: keep it.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		s.status = exitStatus(cmd.Wait())
		close(s.exited)
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start QEMU: %w", err)
	}
	s.cmd = cmd
	return nil
}

// accept waits for QEMU to connect, to end, or for too long.
func (s *session) accept(ctx context.Context, l net.Listener) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	got := make(chan result, 1)
	go func() {
		conn, err := l.Accept()
		got <- result{conn, err}
	}()
	select {
	case r := <-got:
		return r.conn, r.err
	case <-s.exited:
		return nil, fmt.Errorf("start QEMU: %w", ErrQEMUGone)
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(s.Timeout):
		return nil, fmt.Errorf("start QEMU: %w", ErrTimeout)
	}
}

// rebootAction says what a reset of the machine does.
func (s *session) rebootAction(action string) error {
	return s.qmp.Do("set-action", map[string]any{"reboot": action}, nil)
}

// each opens the controller of every image in turn.
func (s *session) each(work func(c *Controller, im *image.Image) error) error {
	for k, im := range s.Images {
		if !hasZones(im) {
			continue
		}
		place, err := findPCI(s.qmp, s.ids[k])
		if err != nil {
			return err
		}
		c, err := OpenController(s.qtest, place)
		if err != nil {
			return fmt.Errorf("%s: %w", im.Path(), err)
		}
		if err := work(c, im); err != nil {
			return fmt.Errorf("%s: %w", im.Path(), err)
		}
		if err := c.close(); err != nil {
			return err
		}
	}
	return nil
}

func hasZones(im *image.Image) bool {
	for _, n := range im.Namespaces() {
		if n.Zoned() {
			return true
		}
	}
	return false
}

// restore brings the zones into the saved state and the images under the nodes.
func (s *session) restore() error {
	if err := s.each((*Controller).Restore); err != nil {
		return err
	}
	var options []any
	for k, im := range s.Images {
		for _, n := range im.Namespaces() {
			options = append(options, map[string]any{
				"driver": "raw", "node-name": RawNode(s.ids[k], n.ID), "file": FileNode(s.ids[k], int(n.DataFile)),
				"offset": n.DataOff, "size": n.DataLen, "discard": "unmap",
			})
		}
	}
	if err := s.qmp.Do("blockdev-reopen", map[string]any{"options": options}, nil); err != nil {
		return err
	}
	return s.qmp.Do("system_reset", nil, nil)
}

// begin writes the journals and marks the images as in use; from here on a
// crash needs a repair.
func (s *session) begin() error {
	id := image.NewUUID()
	for _, im := range s.Images {
		if err := s.beginImage(im, id); err != nil {
			return errors.Join(err, s.abort())
		}
	}
	s.began = true
	if s.traceFile() == "" {
		return nil
	}
	zoned := 0
	for _, n := range s.Images[0].Namespaces() {
		if n.Zoned() {
			zoned++
		}
	}
	for _, event := range journal.TraceEvents(zoned) {
		// Not every QEMU has every event: what one does not trace the data must tell.
		err := s.qmp.Do("trace-event-set-state", map[string]any{"name": event, "enable": true, "ignore-unavailable": true}, nil)
		var refused *QMPError
		if err != nil && !errors.As(err, &refused) {
			return errors.Join(err, s.abort())
		}
	}
	return nil
}

func (s *session) beginImage(im *image.Image, id [16]byte) error {
	if s.traceFile() != "" {
		ends, err := zeroTails(im)
		if err != nil {
			return err
		}
		if err := journal.Write(im.Files().FS, im.Path(), id, ends); err != nil {
			return err
		}
	}
	return im.BeginSession(layout.Session{ID: id, BootID: bootID(), PID: uint32(os.Getpid()), Start: time.Now().UTC()})
}

// abort takes the mark off again before the guest has run.
func (s *session) abort() error {
	var errs []error
	for _, im := range s.Images {
		errs = append(errs, im.EndSession())
		if s.traceFile() != "" {
			errs = append(errs, journal.Remove(im.Files().FS, im.Path()))
		}
	}
	return errors.Join(errs...)
}

// zeroTails are the zones that end in zeroes which take no space, with the end of
// their data: a journal tells them from zones that were reset.
func zeroTails(im *image.Image) (map[layout.NSID]map[uint64]layout.LBA, error) {
	tails := map[layout.NSID]map[uint64]layout.LBA{}
	for _, n := range im.Namespaces() {
		if !n.Zoned() {
			continue
		}
		i := uint64(0)
		for z, err := range n.All(0, n.ZoneCount) {
			if err != nil {
				return nil, err
			}
			if z.Written > z.Start {
				end, err := image.ZoneDataEnd(n.File(), n.Namespace, i)
				if err != nil {
					return nil, err
				}
				if end < z.Written {
					if tails[n.ID] == nil {
						tails[n.ID] = map[uint64]layout.LBA{}
					}
					tails[n.ID][i] = end
				}
			}
			i++
		}
	}
	return tails, nil
}

// wait returns when the guest has shut down and QEMU is paused. The first
// request to stop is passed on to the guest as the power button, the second ends it.
func (s *session) wait(ctx context.Context, stop <-chan struct{}) error {
	down := ctx.Done()
	for {
		select {
		case e, ok := <-s.qmp.Events:
			if !ok {
				s.awaitExit(s.Timeout)
				return fmt.Errorf("%w: %w", ErrQEMUGone, &ExitError{s.status})
			}
			if e.Name != "SHUTDOWN" {
				continue
			}
			if quits(e) { // it will not wait for us
				s.awaitExit(s.Timeout)
				return fmt.Errorf("it was told to quit: %w", ErrQEMUGone)
			}
			return nil
		case <-down:
			down = nil
			s.Log("asking the guest to power down; once more ends it as it is")
			if err := s.qmp.Do("system_powerdown", nil, nil); err != nil {
				return err
			}
		case <-stop:
			s.Log("ending the guest as it is")
			return s.qmp.Do("stop", nil, nil)
		}
	}
}

// quits tells a shutdown after which QEMU exits whatever its -action says.
func quits(e Event) bool {
	var data struct{ Reason string }
	if json.Unmarshal(e.Data, &data) != nil {
		return false
	}
	return data.Reason == "host-qmp-quit" || data.Reason == "host-signal"
}

// capture saves the zones of every image. Data is synced first: a write pointer
// must not be ahead of what it speaks of.
func (s *session) capture() error {
	// Until it is stopped the machine may still be writing.
	if err := s.qmp.Do("stop", nil, nil); err != nil {
		return err
	}
	if err := s.rebootAction("reset"); err != nil {
		return err
	}
	if err := s.qmp.Do("system_reset", nil, nil); err != nil {
		return err
	}
	if err := s.each((*Controller).Capture); err != nil {
		return err
	}
	for _, im := range s.Images {
		if err := im.SyncData(); err != nil {
			return err
		}
		if err := im.EndSession(); err != nil {
			return err
		}
		if s.traceFile() != "" {
			if err := journal.Remove(im.Files().FS, im.Path()); err != nil {
				return err
			}
		}
	}
	s.saved = true
	return nil
}

// awaitExit waits for QEMU to end by itself.
func (s *session) awaitExit(patience time.Duration) {
	select {
	case <-s.exited:
	case <-time.After(patience):
	}
}

// end makes sure that QEMU is gone.
func (s *session) end() {
	if s.qmp != nil {
		_ = s.qmp.Close()
	}
	if s.qtest != nil {
		_ = s.qtest.Close()
	}
	select {
	case <-s.exited:
		return
	default:
	}
	_ = s.cmd.Process.Kill()
	<-s.exited
}

// exitStatus is a shell's view of how a process ended.
func exitStatus(err error) int {
	if err == nil {
		return 0
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return 1
	}
	if code := exit.ExitCode(); code >= 0 {
		return code
	}
	return 128 + signalOf(exit)
}

// bootID is the identity of this boot of the host's kernel, zero where there is none.
func bootID() [16]byte {
	var id [16]byte
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return id
	}
	text := strings.ReplaceAll(strings.TrimSpace(string(b)), "-", "")
	if len(text) != 32 {
		return id
	}
	for i := range id {
		_, _ = fmt.Sscanf(text[2*i:2*i+2], "%02x", &id[i])
	}
	return id
}
